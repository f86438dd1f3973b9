"""States after a model step have one value at each pole."""

from dataclasses import replace

import climode
import numpy as np
import pytest
import torch
from poles import in_the_plane, pole_spread
from weather import GRIDS, Batch, make_latents, make_model, shake, states

from climate.grids.grid import Grid
from climate.operators.sphere import FiniteDifferenceOperators
from vgbdm.objectives.rollouts import RolloutMatching

GRID = Grid(np.linspace(-90, 90, 17), 11.25 * np.arange(32))
PAIRS = ((2, 3),)
KINDS = {
    "gbdm": {},
    "network at each stage": {"network_calls": None},
    "finite differences": {"operators": FiniteDifferenceOperators},
    "vgbdm": {"latents": make_latents()},
    "black box": {"physics": False},
}


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def with_land(domain):
    """The first channel has no values on the south pole and some longitudes beside the other."""
    mask = np.zeros((4, 17, 32), bool)
    mask[0, :3], mask[0, -2, 4:9] = True, True
    return replace(domain, mask="z", arrays=domain.arrays | {"mask": mask})


def test_a_scalar_takes_its_zonal_mean_and_a_vector_that_of_its_cartesian_parts():
    x, model = random(2, 3, 4, 17, 32), make_model(GRID)
    got = model.at_step_end(x)
    assert torch.equal(got[..., 1:-1, :], x[..., 1:-1, :])
    scalars = x[..., :2, [0, -1], :].mean(-1, keepdim=True).expand(2, 3, 2, 2, 32)
    assert torch.allclose(got[..., :2, [0, -1], :], scalars, atol=1e-6)
    before, after = (in_the_plane(each, GRID.lon, PAIRS) for each in (x, got))
    assert torch.allclose(after, before.mean(-1, keepdim=True).expand_as(after), atol=1e-6)
    assert float(before.mean(-1).abs().min()) > 1e-2
    assert torch.allclose(model.at_step_end(got), got, atol=1e-6)


def test_smooth_fields_have_one_value_there_already():
    model = make_model(GRID)
    x = model.transport.spectral.project(model.transport.from_channels(random(2, 4, 17, 32)))
    x = model.transport.to_channels(x)
    assert torch.allclose(model.at_step_end(x), x, atol=1e-5)


def test_a_grid_without_rows_at_the_poles_is_left_alone():
    x = random(1, 4, 16, 32)
    assert make_model(GRIDS["coarse"]).at_step_end(x) is x


def test_a_row_with_masked_points_stays_as_it_is():
    x, model = random(1, 4, 17, 32), make_model(GRID, alter=with_land)
    x = model.present(x)
    got = model.at_step_end(x)
    assert torch.equal(got[:, 0, :-1], x[:, 0, :-1])
    assert not got[:, 0, 0].any()
    assert float(got[:, 0, -1].std()) == 0 < float(x[:, 0, -1].std())
    assert torch.equal(got[:, 1:], make_model(GRID).at_step_end(x)[:, 1:])


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_of_a_forecast_has_one_value_at_each_pole(kind):
    model = make_model(GRID, **KINDS[kind])
    shake(model)
    members = range(2) if model.stochastic else None
    window, times = states(model, batch=2, frames=4), torch.zeros(2).long()
    forecast = torch.stack(list(model.forecast_steps(window, times, 4, members)))
    assert bool((forecast[0, ..., 1:-1, :].std((0, -2, -1)) > 0).all())
    assert pole_spread(forecast / model.scale, GRID.lon, PAIRS) < 1e-5


def test_the_states_that_tuning_scores_have_one_value_there_and_pass_gradients():
    model = make_model(GRID)
    shake(model)
    seen, score = [], model.mean_square_state
    model.mean_square_state = lambda frames: seen.append(frames) or score(frames)
    batch = Batch(states(model, batch=1, frames=6))
    loss = RolloutMatching(2, 0)(model, batch, {"prior": 0.0})["loss"].mean()
    truth = model.standardise(batch.states[:, 4:])
    assert pole_spread(seen[0].detach() + truth, GRID.lon, PAIRS) < 1e-5
    loss.backward()
    assert float(model.trunk.last.weight.grad.abs().max()) > 0


@pytest.mark.parametrize("gradient", ["direct", "checkpoint", "adjoint"])
@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_climode_keeps_one_value_in_solutions_and_in_what_is_emitted(method, gradient):
    solver = climode.make_solver(method, gradient, substeps=2, tolerance=0.1)
    model = climode.make_climode(GRID, solver=solver)
    climode.shake(model.trunk.last, model.attention.mix, model.emission.trunk.last)
    window, times = climode.smooth_states(model, batch=1), torch.zeros(1)
    past = model.standardise(window)
    fitted = model.fit_wind(past).detach()
    start = torch.cat((past[:, -1], model.fit.potentials(fitted)), 1)
    with torch.no_grad():
        solved = model.integrate(start, times, 3)
        emitted = model.predict(past[:, -1], fitted, times, 3).mean
    assert solved.shape == (1, 3, 4 + 2 * 3, 17, 32)
    assert pole_spread(solved[:, :, :4], GRID.lon, PAIRS) < 1e-5
    assert pole_spread(emitted, GRID.lon, PAIRS) < 1e-5
    forecast = model.standardise(model.forecast(window, times, 3))
    assert torch.allclose(forecast, emitted, atol=1e-4)
    model.predict(past[:, -1], fitted, times, 2).mean.square().mean().backward()
    assert float(model.trunk.last.weight.grad.abs().max()) > 0
