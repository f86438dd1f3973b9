"""Every weather model and ablation: gradients, sizes, ensembles, long free runs, fine-tuning."""

import pytest
import torch
from weather import (
    GRIDS,
    SCALES,
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

from climate.operators.sphere import FiniteDifferenceOperators
from climate.training.run import freeze
from vgbdm.objectives.rollouts import RolloutMatching
from vgbdm.paths.linear import LinearPath

VARIANTS = {
    "gbdm": {},
    "vgbdm": {"latents": make_latents()},
    "blackbox": {"physics": False},
    "stochastic blackbox": {"physics": False, "latents": make_latents()},
    "no source": {"source": False},
    "finite difference": {"operators": FiniteDifferenceOperators, "latents": make_latents()},
    "no history": {"history": 0, "latents": make_latents()},
    "no wind": {"channels": ("z", "t2m"), "latents": make_latents()},
}
TUNING = {"horizon": 2.0, "prior": 1e-3}


def make(name):
    return make_model(GRIDS["coarse"], **VARIANTS[name])


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_gets_a_gradient_after_three_steps(name):
    model, objective = make(name), matching(LinearPath(), 0)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        terms = objective(model, Batch(states(model, frames=model.history + 2)), VALUES)
        assert all(term.shape == (2,) for term in terms.values())
        terms["loss"].mean().backward()
        optimiser.step()
    assert silent_parameters(model) == []


@pytest.mark.parametrize("name", VARIANTS)
def test_fine_tuning_reaches_every_parameter_that_is_not_frozen(name):
    model, objective = make(name), RolloutMatching(2, 0, None, 2, True)
    freeze(model, ["latents.posterior"])
    shake(model)
    window = states(model, frames=model.history + 3)
    objective(model, Batch(window), TUNING)["loss"].mean().backward()
    assert silent_parameters(model) == []
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert bool(frozen) == model.stochastic
    assert all(name.startswith("latents.posterior.") for name in frozen)


def test_without_physics_or_source_no_part_of_them_exists():
    names = {name: dict(make(name).named_parameters()) for name in VARIANTS}
    assert not any(key.startswith("theta") for key in names["blackbox"])
    assert names["no source"]["trunk.last.bias"].shape == (2 * 3,)
    assert names["gbdm"]["trunk.last.bias"].shape == (2 * 3 + 4,)
    assert not any("attention" in key or "history" in key for key in names["no history"])
    terms = matching(LinearPath(), 0)(make("blackbox"), Batch(states(make("blackbox"))), VALUES)
    assert set(terms) == {"loss", "matching"}


def test_training_noise_is_measured_in_changes_per_step():
    """A slow channel gets as little of it as it changes: in its own spread it would drown."""
    model, seen = make("blackbox"), []
    model.change[:] = torch.tensor([0.05, 0.1, 0.4, 0.4])[:, None, None]
    past, objective = model.past, matching(LinearPath(), 0)
    model.past = lambda history: seen.append(history) or past(history)
    for noise in (0.0, 0.5):
        objective(model, Batch(states(model)), VALUES | {"noise": noise})
    spread = (seen[1] - seen[0]).std((0, 1, 3, 4)) / model.change.flatten()
    assert torch.allclose(spread, torch.full((4,), 0.5), rtol=0.05)


def test_the_black_box_answers_with_its_network_alone():
    model = make("blackbox")
    history = model.standardise(states(model)[:, :4])
    answer = model(history[:, -1], torch.zeros(2), mean_context(model, history))
    assert float(answer.total.abs().max()) == 0.0
    shake(model)
    total = model(history[:, -1], torch.zeros(2), mean_context(model, history)).total
    assert 0 < float(model.rate_units(total).abs().max()) <= 5.0


@pytest.mark.parametrize("name", ["vgbdm", "stochastic blackbox"])
def test_ensembles_do_not_depend_on_how_they_are_batched(name):
    model = make(name)
    shake(model)
    window, times = states(model, frames=4), torch.tensor([0, 86400])
    whole = model.forecast_ensemble(window, times, 2, 3, seed=1)
    assert whole.shape == (2, 3, 2, 4, 16, 32)
    part = model.forecast_ensemble(window[1:], times[1:], 2, 2, seed=1)
    scale = torch.tensor(SCALES).float()[:, None, None]
    assert torch.allclose(whole[1:, :2] / scale, part / scale, atol=1e-4)
    other = model.forecast_ensemble(window[1:], times[1:], 2, 2, seed=2)
    assert float(((other - part) / scale).abs().max()) > 1e-3
    spread = (whole / scale).std(1).mean((0, 2, 3, 4))
    assert 0 < float(spread[0]) < float(spread[1])


def test_the_forecast_is_that_of_the_prior_mean():
    """Members whose numbers are all zero are the forecast."""
    model = make("vgbdm")
    shake(model)
    window, times = states(model, frames=4), torch.tensor([0, 86400])
    member = model.members(0, times, range(1))
    member._normal = lambda name, count: torch.zeros(2, count)
    zero = torch.stack(list(model.simulate(window, times, 2, member)), 1)
    assert torch.allclose(model.standardise(model.forecast(window, times, 2)), zero, atol=1e-5)
    assert not make("gbdm").stochastic and make("gbdm").members(0, times, range(1)) is None


@pytest.mark.parametrize("name", ["vgbdm", "blackbox", "no source", "no history"])
def test_thirty_day_free_runs_with_random_last_layers_stay_finite(name):
    model = make(name)
    shake(model)
    window = states(model, batch=1, frames=model.history + 1)
    if model.stochastic:
        forecast = model.forecast_ensemble(window, torch.zeros(1).long(), 120, 2, 0)
    else:
        forecast = model.forecast(window, torch.zeros(1), 120)
    assert bool(forecast.isfinite().all())
    size = (forecast[..., -1, :, :, :] / torch.tensor(SCALES)[:, None, None].float()).std()
    # without source everything is damped towards the training mean
    assert (0.0 if name == "no source" else 0.05) < float(size) < 500


# --- fine-tuning ---------------------------------------------------------------------------------


def test_the_tuning_loss_is_the_fair_crps_by_brute_force():
    model, members = make("vgbdm"), 3
    shake(model)
    batch = Batch(states(model, frames=6), [3, 9])
    got = RolloutMatching(2, 4, None, members, True)(model, batch, TUNING)["rollout"]
    runs = []
    for number in range(members):
        run = model.simulate(
            batch.states[:, :4],
            batch.times,
            2,
            model.members(4, batch.ids, range(number, number + 1)),
        )
        runs.append(torch.stack(list(run), 1).detach())
    truth = model.standardise(batch.states[:, 4:])
    score = torch.zeros(())
    for i in range(members):
        score = score + (runs[i] - truth).abs() / members
        for j in range(members):
            if i != j:
                score = score - (runs[i] - runs[j]).abs() / (2 * members * (members - 1))
    area = torch.from_numpy(GRIDS["coarse"].area_weights).float()[:, None]
    want = (score / 0.4 * area).mean((1, 2, 3, 4))
    assert torch.allclose(got.detach(), want, rtol=1e-4)


def test_the_tuning_loss_of_a_deterministic_model_is_its_mean_square_error():
    model = make("gbdm")
    shake(model)
    batch = Batch(states(model, frames=7))
    for horizon, steps in ((1.0, 1), (2.4, 2), (9.0, 3)):
        values = {"horizon": horizon, "prior": 0.0}
        got = RolloutMatching(3, 4, None, 2, False)(model, batch, values)["loss"]
        forecast = model.forecast(batch.states[:, :4], batch.times, steps)
        error = (forecast - batch.states[:, 4 : 4 + steps]) / torch.tensor(SCALES * 0.4)[
            :, None, None
        ]
        area = torch.from_numpy(GRIDS["coarse"].area_weights)[:, None]
        want = (error.double().square() * area).mean((1, 2, 3, 4)).float()
        assert torch.allclose(got.detach(), want, rtol=1e-3)


@pytest.mark.parametrize("name", ["gbdm", "vgbdm"])
def test_recomputing_changes_no_gradient_and_batches_no_loss(name):
    gradients = []
    for checkpoint in (True, False):
        model = make(name)
        shake(model)
        window = states(model, batch=3, frames=6)
        objective = RolloutMatching(2, 0, None, 2, checkpoint)
        loss = objective(model, Batch(window), TUNING)["loss"]
        loss.mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        part = objective(model, Batch(window[1:], [1, 2]), TUNING)["loss"]
        assert torch.allclose(loss[1:], part, rtol=1e-4)
    assert gradients[0].keys() == gradients[1].keys()
    for key, value in gradients[0].items():
        assert torch.allclose(value, gradients[1][key], rtol=1e-3, atol=1e-6), key


@pytest.mark.parametrize("name", ["gbdm", "vgbdm"])
def test_fine_tuning_lowers_its_own_loss(name):
    model, objective = make(name), RolloutMatching(2, 0, None, 2, False)
    freeze(model, ["latents.posterior"])
    still = states(model, frames=1).expand(-1, 6, -1, -1, -1).clone()
    still[:, 4:] = 0.8 * still[:, 4:]
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = objective(model, Batch(still), TUNING)["rollout"].mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < 0.9 * losses[0]
