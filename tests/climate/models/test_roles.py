"""Channels that are known ahead, and channels that are predicted and not fed back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from climode import GRIDS as CLIMODE_GRIDS
from climode import make_climode
from refusals import refused
from weather import (
    GRIDS,
    VALUES,
    Batch,
    make_latents,
    make_model,
    matching,
    mean_context,
    shake,
    silent_parameters,
    states,
)

from climate.models.domain import identical
from climate.models.roles import read_roles
from climate.training.run import freeze
from vgbdm.objectives.rollouts import RolloutMatching
from vgbdm.paths.bridge import BridgePath
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.linear import LinearPath

CHANNELS = ("tp", "z", "sst", "u10", "v10")
TP, Z, SST, U, V = range(5)
SCALE = np.array([2e-3, 3000.0, 8.0, 5.0, 5.0])
VARIANTS = {
    "gbdm": {},
    "vgbdm": {"latents": make_latents()},
    "stochastic blackbox": {"physics": False, "latents": make_latents()},
    "no source": {"source": False},
    "no history": {"history": 0},
    "calls at each stage": {"network_calls": None},
}
TUNING = {"horizon": 2.0, "prior": 1e-3}


def with_roles(domain, forcing=("sst",), diagnostic=("tp",)):
    count, shape = len(CHANNELS), domain.arrays["climate"].shape[1:]
    generator = np.random.default_rng(3)
    change = np.full(count, 0.4)
    change[TP] = 1.0
    arrays = domain.arrays | {
        "mean": 0.1 * SCALE * (np.arange(count) < 3),
        "scale": SCALE,
        "change": change,
        "climate": 0.3 * generator.normal(size=(count, *shape)),
    }
    return replace(domain, channels=CHANNELS, arrays=arrays, forcing=forcing, diagnostic=diagnostic)


def make(name="gbdm", **options):
    model = make_model(GRIDS["coarse"], alter=with_roles, **VARIANTS[name] | options)
    shake(model)
    return model


def ahead_of(window, first, steps):
    """The forcing of the frames after some, one at a time."""
    return iter(window[:, first : first + steps, None, SST : SST + 1].unbind(1))


def forecast(model, window, steps=3, given=None):
    """Of windows whose last frames come after the start; (B, steps, C, H, W)."""
    past = model.history + 1
    given = window if given is None else given
    times = torch.arange(len(window)) * 86400
    return model.forecast(window[:, :past], times, steps, ahead_of(given, past, steps))


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_gets_a_gradient(name):
    model = make(name)
    window = states(model, frames=model.history + 2)
    matching(LinearPath(), 0)(model, Batch(window), VALUES)["loss"].mean().backward()
    assert silent_parameters(model) == []
    model.zero_grad()
    freeze(model, ["latents.posterior"])
    window = states(model, frames=model.history + 3)
    loss = RolloutMatching(2, 0, None, 2, True)(model, Batch(window), TUNING)["loss"]
    loss.mean().backward()
    assert silent_parameters(model) == []


def test_losses_and_means_are_over_the_channels_that_are_forecast():
    model = make()
    error = torch.randn((2, 5, 16, 32), generator=torch.manual_seed(0))
    area = torch.from_numpy(GRIDS["coarse"].cell_weights).float()[:, None]
    squares = ((error / model.change).square() * area).mean((2, 3))
    want = squares[:, [TP, Z, U, V]].mean(1)
    assert torch.allclose(model.mean_square(error), want, rtol=1e-5)
    assert torch.allclose(
        model.average(error), (error * area).mean((2, 3))[:, [TP, Z, U, V]].mean(1), atol=1e-6
    )


@pytest.mark.parametrize("path", [LinearPath(), BridgePath(0.3), HermitePath(3)])
def test_on_every_path_they_go_straight_without_noise(path):
    model = make()
    frames = model.trajectory(Batch(states(model)), path)
    ends = frames.nodes[:, 3], frames.nodes[:, 4]
    noise = torch.randn(ends[0][:, 0].shape, generator=torch.manual_seed(2))
    s = torch.tensor([0.25, 0.7])
    state, rate = model.along(path, ends, torch.ones(2), s, noise)
    begin, end, part = ends[0][:, 0], ends[1][:, 0], s[:, None, None]
    assert torch.allclose(rate[:, TP], end[:, TP])
    assert torch.allclose(state[:, TP], part * end[:, TP], atol=1e-6)
    assert torch.allclose(rate[:, SST], end[:, SST] - begin[:, SST])
    assert torch.allclose(state[:, SST], torch.lerp(begin, end, part[:, None])[:, SST], atol=1e-6)
    own, speed = model.at(path(*ends, torch.ones(2), s, noise))
    assert torch.equal(state[:, [Z, U, V]], own[:, [Z, U, V]])
    assert torch.equal(rate[:, [Z, U, V]], speed[:, [Z, U, V]])


def test_they_take_no_noise_of_training():
    model = make()
    noise = model.from_changes(torch.ones(2, 5, 16, 32))
    assert (noise[:, [TP, SST]] == 0).all() and (noise[:, [Z, U, V]] == 0.4).all()


def test_a_diagnostic_channel_is_learned_from_the_others():
    """The loss falls for its value at the step's end, whatever it was before."""
    model, objective = make(), matching(LinearPath(), 0)
    window = states(model)
    other = window.clone()
    other[:, :-1, TP] += SCALE[TP]
    one, two = (objective(model, Batch(w), VALUES) for w in (window, other))
    assert all(torch.equal(one[name], two[name]) for name in one)
    other[:, -1, TP] += SCALE[TP]
    assert not torch.equal(objective(model, Batch(other), VALUES)["loss"], one["loss"])


def test_fine_tuning_takes_the_forcing_from_the_frames_that_follow():
    model, objective = make("vgbdm"), RolloutMatching(2, 0, None, 2, True)
    window = states(model, frames=6)
    wanted = objective(model, Batch(window), TUNING)["loss"]
    other = window.clone()
    other[:, 4, SST] += SCALE[SST]
    assert not torch.equal(objective(model, Batch(other), TUNING)["loss"], wanted)
    diagnosed = window.clone()
    diagnosed[:, :4, TP] += SCALE[TP]
    assert torch.equal(objective(model, Batch(diagnosed), TUNING)["loss"], wanted)


# --- forecasts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_what_was_diagnosed_has_no_influence_and_what_is_known_has(name):
    model = make(name)
    window = states(model, frames=model.history + 4)
    made, other = forecast(model, window), window.clone()
    other[:, :, TP] = 7 * other[:, :, TP] + SCALE[TP]
    assert torch.equal(forecast(model, other), made)
    given = window.clone()
    given[:, model.history + 2, SST] += SCALE[SST]  # at the second step
    changed = forecast(model, window, given=given)
    assert torch.equal(changed[:, 0], made[:, 0])
    moved = ((changed - made)[:, 1:] / model.scale).abs().amax((0, 1, 3, 4))
    assert (moved > 1e-4).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_forecast_s_forcing_is_what_was_given(name):
    model = make(name)
    window = states(model, frames=model.history + 4)
    made = forecast(model, window)[:, :, SST]
    assert torch.allclose(made, window[:, model.history + 1 :, SST], atol=1e-4)


def test_members_are_given_the_same_and_differ_elsewhere():
    model = make("vgbdm")
    window = states(model, frames=6)
    drawn = model.forecast_ensemble(window[:, :4], torch.arange(2), 2, 3, 0, ahead_of(window, 4, 2))
    spread = (drawn / model.scale).std(1).amax((0, 1, 3, 4))
    assert spread[SST] < 1e-5 and (spread[[TP, Z, U, V]] > 1e-3).all()


def test_within_a_step_it_moves_linearly_and_nothing_diagnosed_is_seen():
    model, seen = make(), []
    model.trunk.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0]))
    window = states(model, frames=6)
    forecast(model, window, steps=2)
    sst = model.standardise(window)[:, 3:, SST]
    want = [sst[:, 0], (sst[:, 0] + sst[:, 1]) / 2, sst[:, 1], (sst[:, 1] + sst[:, 2]) / 2]
    assert len(seen) == 4 and all(x.shape[1] == 4 for x in seen)
    for x, value in zip(seen, want, strict=True):
        assert torch.allclose(x[:, 1], value, atol=1e-5)


@pytest.mark.parametrize("name", ["gbdm", "no source", "stochastic blackbox"])
def test_a_diagnosed_value_is_the_network_s_own_unbounded_and_not_added_up(name):
    model = make(name)
    with torch.no_grad():
        model.trunk.last.weight[-1] = 0.0
        model.trunk.last.bias[-1] = 40.0
    made = forecast(model, states(model, frames=model.history + 4))[:, :, TP]
    want = 40.0 * SCALE[TP] + 0.1 * SCALE[TP]
    assert torch.allclose(made, torch.full_like(made, want), rtol=1e-4)


def test_physics_leave_them_alone():
    """Neither advected nor damped."""
    model = make()
    history = model.standardise(states(model, frames=4))
    with torch.no_grad():
        model.trunk.last.weight.zero_()
        model.trunk.last.bias.zero_()
    total = model(history[:, -1], torch.zeros(2), mean_context(model, history)).total
    assert (total[:, [TP, SST]] == 0).all()
    assert (total[:, [Z, U, V]].abs().amax((0, 2, 3)) > 1e-3).all()
    assert len(model.theta().popitem()[1].flatten()) == 2  # of z and of the wind


def test_a_forecast_without_what_is_to_be_known_is_refused():
    model = make()
    window = states(model, frames=5)
    times = torch.arange(2) * 86400
    refused(lambda: model.forecast(window[:, :4], times, 1), "the model is to be given sst")


# --- what may have which role ---------------------------------------------------------------------


def test_roles_are_in_the_order_of_the_state():
    told = read_roles({"forcing": ["sst", "tisr"]}, ("tisr", "z", "sst"), (), "store s")
    assert told == {"forcing": ("tisr", "sst"), "diagnostic": ()}


@pytest.mark.parametrize(
    ("forcing", "diagnostic", "words"),
    [
        (["sts"], [], ("roles.forcing: sts is no channel of store s", "did you mean sst?")),
        (["sst"], ["sst"], ("roles.diagnostic: sst is named in roles.forcing too",)),
        ([], ["v10"], ("roles.diagnostic: v10 is a part of the vector [u10, v10]",)),
    ],
)
def test_what_has_no_such_role_is_refused(forcing, diagnostic, words):
    roles = {"forcing": forcing, "diagnostic": diagnostic}
    refused(lambda: read_roles(roles, CHANNELS, [("u10", "v10")], "store s"), *words)


def test_something_must_be_prognostic():
    roles = {"forcing": ["sst"], "diagnostic": ["tp"]}
    refused(lambda: read_roles(roles, ("sst", "tp"), (), "s"), "no channel is prognostic")


def test_climode_has_none():
    for roles in ({"forcing": ("z",)}, {"diagnostic": ("z",)}):
        refused(
            lambda roles=roles: make_climode(
                CLIMODE_GRIDS["small"], alter=lambda domain: replace(domain, **roles)
            ),
            f"roles.{next(iter(roles))}: model=climode", "choose gbdm, vgbdm or blackbox",
        )  # fmt: skip


def test_data_without_roles_are_those_of_before():
    model = make()
    facts = model.domain.describe()
    assert facts["forcing"] == ["sst"] and {"forcing", "diagnostic"} <= set(identical(facts))
    none = replace(model.domain, forcing=(), diagnostic=()).describe()
    assert not {"forcing", "diagnostic"} & set(identical(none))


# --- beside poles and weights ---------------------------------------------------------------------


def test_what_is_known_stays_as_it_is_at_the_poles():
    model = make_model(GRIDS["poles"], alter=with_roles)
    shake(model)
    window = states(model, frames=6)
    window[..., SST, 0, :] += SCALE[SST] * torch.arange(64) / 64
    made = forecast(model, window, steps=2)
    ends = (made / model.scale)[..., [0, -1], :]
    assert (ends[:, :, [TP, Z]].std(-1) < 1e-4).all()
    assert torch.allclose(made[:, :, SST], window[:, 4:, SST], atol=1e-4)


def test_weights_are_of_the_channels_that_are_forecast():
    model = make()
    error = torch.ones((1, 5, 16, 32))
    weights = [2.0, 1.0, 7.0, 0.5, 0.5]
    model.weigh(weights)
    assert float(model.average(error)) == pytest.approx(1.0, abs=1e-5)
    error[:, [Z, SST, U, V]] = 0.0
    assert float(model.average(error)) == pytest.approx(0.5, abs=1e-5)
