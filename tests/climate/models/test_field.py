"""Units of a weather model whose channels are unlike: states, changes, errors, features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from generic_weather import CHANGE, CLIMATE, SCALE, with_unlike_channels
from weather import (
    GRIDS,
    make_latents,
    make_model,
    mean_context,
    states,
)

from vgbdm.fields.grey_box import Past
from vgbdm.latents.distributions import DiagonalGaussian
from vgbdm.latents.latents import LatentDistribution

GRID = GRIDS["coarse"]
SHAPE = (2, 4, 16, 32)


@pytest.fixture(scope="module")
def model():
    return make_model(GRID, alter=with_unlike_channels)


def column(values):
    return torch.tensor(values)[:, None, None]


def fields(seed, *leading):
    return torch.randn((*leading, *SHAPE), generator=torch.manual_seed(seed))


def test_states_are_standardised_channel_by_channel_and_come_back(model):
    physical = fields(0) * 10
    standard = model.standardise(physical)
    assert torch.allclose(standard, (physical - column(CLIMATE)) / column(SCALE), atol=1e-5)
    assert torch.allclose(model.unstandardise(standard), physical, atol=1e-4)


def test_changes_are_in_units_of_each_channel_s_own(model):
    difference = fields(1)
    assert torch.allclose(model.rate_units(difference), difference / column(CHANGE), rtol=1e-6)
    assert torch.allclose(model.from_changes(difference), difference * column(CHANGE), rtol=1e-6)


def test_errors_are_squares_of_changes_averaged_by_area(model):
    difference = fields(2, 3)
    area = np.cos(np.deg2rad(GRID.lat))[:, None]
    square = (difference.double().numpy() / np.array(CHANGE)[:, None, None]) ** 2
    want = (square * area).mean((-3, -2, -1)) / area.mean()
    assert model.mean_square(difference).numpy() == pytest.approx(want, rel=1e-5)
    plain = (difference.double().numpy() * area).mean((-3, -2, -1)) / area.mean()
    assert model.average(difference).numpy() == pytest.approx(plain, abs=1e-6)


def with_land(domain):
    """z has no values on a patch that is not symmetric, t2m on one row."""
    mask = np.zeros((4, 16, 32), bool)
    mask[0, 2:5, 7:20], mask[1, 12] = True, True
    domain = with_unlike_channels(domain)
    return replace(domain, mask="z, t2m", arrays=domain.arrays | {"mask": mask})


def test_masked_points_are_0_to_the_model_nan_in_forecasts_and_count_nowhere():
    model, values = make_model(GRID, alter=with_land), fields(3)
    hidden = model.mask.expand(2, -1, -1, -1)
    standard = model.standardise(values)
    assert not standard[hidden].any() and bool((standard[~hidden] != 0).all())
    back = model.unstandardise(standard)
    assert bool(back[hidden].isnan().all())
    assert torch.allclose(back[~hidden], values[~hidden], atol=1e-4)
    kept = ~model.mask.numpy()
    area = np.cos(np.deg2rad(GRID.lat))[:, None] * kept
    means = (values.double().numpy() * area).sum((-2, -1)) / area.sum((-2, -1))
    assert model.average(values).numpy() == pytest.approx(means.mean(-1), abs=1e-5)
    share = 1 / kept.mean((1, 2))
    assert model.score_share.flatten().tolist() == pytest.approx(share.tolist())
    want = (values.double().numpy() ** 2 * kept).sum((-2, -1)) / kept.sum((-2, -1))
    assert model.effort(values)[:, 0].mean((-2, -1)).numpy() == pytest.approx(want, rel=1e-5)


def test_forecasts_are_what_simulate_yields_in_physical_units(model):
    history = states(model)[:, :4]
    times = torch.tensor([0, 86400])
    steps = torch.stack(list(model.simulate(history, times, 2)), 1)
    with torch.no_grad():
        got = model.forecast(history, times, 2)
    want = steps * column(SCALE) + column(CLIMATE)
    assert torch.allclose(got, want, rtol=1e-5, atol=1e-4)


def test_the_rows_of_an_ensemble_are_samples_by_members():
    model = make_model(GRID, latents=make_latents(), alter=with_unlike_channels)
    history, times = states(model)[:, :4], torch.tensor([0, 86400])
    drawn = model.forecast_ensemble(history, times, 1, 3, seed=2)
    assert drawn.shape == (2, 3, 1, 4, 16, 32)
    alone = model.forecast_ensemble(history[1:], times[1:], 1, 2, seed=2)
    assert torch.allclose(drawn[1:, :2], alone, rtol=1e-4, atol=1e-3)


def test_the_network_sees_state_slopes_history_surroundings_and_latents():
    model = make_model(GRID, latents=make_latents(channels=3), alter=with_unlike_channels)
    x = model.standardise(states(model)[:, 3])
    context = mean_context(model, model.standardise(states(model)[:, :4]))
    seen = []
    model.trunk.forward = lambda *features, drawn: seen.extend([*features, drawn]) or torch.zeros(1)
    seconds = torch.tensor([0.0, 21600.0])
    model.network(x, seconds, context)
    joined = torch.cat(seen, 1)
    own, drawn = (layer.conv.in_channels for layer in (model.trunk.embed, model.trunk.drawn))
    assert (own, drawn, joined.shape[1]) == (4 + 6 + 8 + 5 + 3 + 2, 3, 31)
    assert torch.equal(joined[:, :4], x)
    state = model.transport.resolve(x - model.climate, model.climate_modes)
    assert torch.allclose(joined[:, 4:10], model.transport.slopes(state))
    assert torch.allclose(joined[:, 18:28], model.surroundings(seconds))
    assert torch.equal(joined[:, 28:], context.zeta)


def test_what_a_history_says_is_repeated_sample_by_sample():
    values = iter(torch.arange(14.0).reshape(7, 2, 1))
    pair = tuple(DiagonalGaussian(next(values), next(values)) for _ in range(2))
    past = Past(2, (next(values), next(values)), (next(values),), LatentDistribution(*pair))
    found = past.repeat(3)
    assert found.rows == 6
    parts = [(past.history, found.history), (past.seen, found.seen)]
    parts += [(past.prior.zeta, found.prior.zeta), (past.prior.theta, found.prior.theta)]
    for whole, many in parts:
        for one, again in zip(whole, many, strict=True):
            assert again.flatten().tolist() == [float(v) for v in one for _ in range(3)]
    assert Past(2, (), (), None).repeat(2) == Past(4, (), (), None)


@pytest.mark.parametrize("checkpoint", [None, False, True])
def test_a_rollout_is_computed_again_backwards_only_where_that_is_asked(model, checkpoint):
    told = {} if checkpoint is None else {"checkpoint": checkpoint}
    calls, history = [], states(model)[:, :4]
    hook = model.trunk.register_forward_hook(lambda *_: calls.append(1))
    last = list(model.simulate(history, torch.tensor([0, 86400]), 2, **told))[-1]
    forwards = len(calls)
    last.square().mean().backward()
    hook.remove()
    model.zero_grad()
    assert (len(calls) > forwards) == bool(checkpoint)
