"""ClimODE's parts by hand, on unlike channels: what it emits, where it slows, its clock."""

import math

import pytest
import torch
from climode import GRIDS, make_climode, make_solver, smooth_states
from generic_weather import CHANGE, with_unlike_channels

from climate.models.climode.layers import Emission, Emitted
from climate.training.likelihood import GaussianLikelihood

GRID = GRIDS["small"]


@pytest.fixture(scope="module")
def model():
    return make_climode(GRID, alter=with_unlike_channels, solver=make_solver("euler", substeps=2))


def random(seed, *shape, size=1.0):
    return size * torch.randn(shape, generator=torch.manual_seed(seed))


@pytest.mark.parametrize("size", [0.0, 0.5, 50.0])
def test_what_is_emitted_is_corrected_and_as_wide_as_changes(size):
    """Mean x + a tanh(o/a) c and width (0.02 + 0.98 softplus(p + log(e - 1))) c."""
    emission = Emission(2, 3, 16, 1, 4.0, poles=False, vector_inputs=())
    out, x = random(0, 1, 4, 16, 32, size=size), random(1, 1, 2, 16, 32)
    change = torch.tensor([0.3, 1.7])[:, None, None]
    emission.trunk.forward = lambda features: out
    got = emission(x, torch.zeros(1, 3, 16, 32), change)
    assert torch.allclose(got.mean, x + 4 * torch.tanh(out[:, :2] / 4) * change, atol=1e-5)
    softplus = torch.log1p(torch.exp(out[:, 2:].double() + math.log(math.e - 1)))
    want = (0.02 + 0.98 * softplus) * change
    assert torch.allclose(got.std.double(), want, rtol=1e-5)


@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_a_variable_that_moves_too_fast_is_slowed_by_its_own_factor(model, size):
    """(1 + (mean square / (5 c)²)²)^(-1/4), c the rms of the changes of its channels."""
    state = model.resolve(model.standardise(smooth_states(model))[:, -1])
    count = state.smooth.shape[1]
    assert count == 5  # two scalars and the three components of a vector
    fields = model.transport.spectral.project(random(2, 2, count, 16, 32, size=size))
    moved = model.transport.spectral.analysis(fields)
    square = (fields.double().square() * model.area).mean((2, 3))
    total = torch.stack((square[:, 0], square[:, 1], square[:, 2:].sum(1)), 1)
    z, t, u, v = (change**2 for change in CHANGE)
    unit = torch.tensor([z, t, (u + v) / 2]).double()
    factor = (1 + (total / (unit * 25)) ** 2) ** -0.25
    want = fields * factor[:, [0, 1, 2, 2, 2], None, None]
    slowed = model.transport.spectral.synthesis(moved * model.slowing(moved, state))
    assert torch.allclose(slowed.view_as(fields), want.float(), rtol=1e-3, atol=1e-4 * size)


def test_a_prediction_is_emitted_at_the_clock_of_each_of_its_steps(model, monkeypatch):
    seen = []

    def emission(states, around, change):
        seen.append((states, around, change))
        return Emitted(states, states + 1)

    monkeypatch.setattr(model.emission, "forward", emission)
    history = model.standardise(smooth_states(model))
    times = torch.tensor([3600, 86400 * 100])
    with torch.no_grad():
        answer = model.predict(history[:, -1], model.fit_wind(history), times, 3)
    assert answer.mean.shape == (2, 3, 4, 16, 32)
    clock = torch.stack([times + 21600 * k for k in (1, 2, 3)], 1).flatten()
    states, around, change = seen[0]
    assert torch.allclose(around, model.surroundings(clock))
    assert torch.equal(change, model.change)
    assert torch.equal(answer.mean.flatten(0, 1), states)
    assert torch.equal(answer.std, answer.mean + 1)


def test_what_is_reported_of_errors_is_in_units_of_the_changes(model):
    class Batch:
        states = smooth_states(model, frames=6)
        times = torch.tensor([0, 86400])

    frames = model.standardise(Batch.states)
    Batch.aside = model.fit_wind(frames[:, :4])
    with torch.no_grad():
        terms = GaussianLikelihood(2)(model, Batch, {"prior": 0.5})
        answer = model.predict(frames[:, 3], Batch.aside, Batch.times, 2)
    error = (frames[:, 4:] - answer.mean).double()
    area = torch.from_numpy(GRID.area_weights)[:, None]
    change = torch.tensor(CHANGE)[:, None, None]
    want = ((error / change) ** 2 * area).mean((1, 2, 3, 4))
    assert torch.allclose(terms["distance"].double(), want, rtol=1e-4)
    assert torch.allclose(terms["prior"], model.theta.penalty().expand(2))
    speed = model.wind(model.fit.potentials(Batch.aside))
    largest = (speed.east**2 + speed.north**2).amax((1, 2, 3)).sqrt()
    sphere = model.transport.spectral
    want = largest * 21600 / 2 * sphere.truncation / sphere.radius
    assert torch.allclose(terms["courant"], want, rtol=1e-5)
