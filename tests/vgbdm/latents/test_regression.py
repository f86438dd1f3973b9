"""Coefficients of a window against numpy's least squares."""

import functools

import numpy as np
import pytest
import torch
from system_fields import make_field, parameters, trajectories

from vgbdm.errors import InputError
from vgbdm.fields.grey_box import Window
from vgbdm.latents.regression import (
    WindowRates,
    WindowRegression,
    alone_coefficients,
    ridge,
    smallest_fit,
)

B, T, C, S, P = 3, 7, 2, 2, 2
RIDGES = (1e-3, 1e-6)


def rates(*grid):
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn((*shape, *grid), generator=generator)

    missing = numbers(B, T, C) * torch.tensor([1.0, 20.0]).reshape(C, *[1] * len(grid))
    return WindowRates(missing, 3 * numbers(B, T, S), 0.1 + numbers(B, T, P, C))


def by_numpy(window, row, component):
    """Of one window and component: alone (P,), and both ridges of all regressors (R,)."""
    missing = window.missing[row, :, component].double().numpy().ravel()
    answers = [window.sensitivity[row, :, p, component].double().numpy().ravel() for p in range(P)]
    seen = [window.seen[row, :, s].double().numpy().ravel() for s in range(S)]
    pairs = [seen[0] * seen[0], seen[0] * seen[1], seen[1] * seen[1]]
    regressors = np.stack([*answers, np.ones_like(missing), *seen, *pairs])
    size = np.sqrt((regressors**2).mean(1))
    unit = regressors / size[:, None]
    count = len(missing)
    gram, moments = unit @ unit.T / count, unit @ missing / count
    both = [np.linalg.solve(gram + weight * np.eye(8), moments) / size for weight in (1e-3, 1e-6)]
    return [float((a * missing).sum() / (a * a).sum()) for a in answers], both


@pytest.mark.parametrize("grid", [(), (3, 2)])
def test_coefficients_are_those_of_ridge_regression_in_units_of_each_window(grid):
    window, regression = rates(*grid), WindowRegression(C, S, P)
    found = regression.coefficients(window)
    assert found.shape == (B, regression.outputs) == (B, C * P + 2 * C * 8)
    alone = found[:, : C * P].reshape(B, P, C)
    together = found[:, C * P :].reshape(B, 2, C, 8)
    for row in range(B):
        for component in range(C):
            single, both = by_numpy(window, row, component)
            assert alone[row, :, component].tolist() == pytest.approx(single, rel=1e-4)
            for k in range(2):
                exact = pytest.approx(both[k], rel=2e-3, abs=1e-5)
                assert together[row, k, component].tolist() == exact


def test_ridges_are_relative_to_the_mean_square_of_a_regressor():
    """One regressor: its coefficient is that of least squares over 1 + the ridge."""
    x = torch.linspace(1, 2, 50).double()
    for size in (1e-3, 1e3):
        small = ridge((size * x)[None, None, None], 3 * x[None, None], RIDGES)
        exact = [3 / size / (1 + weight) for weight in RIDGES]
        assert [float(c) for c in small] == pytest.approx(exact, rel=1e-6)
    tiny = float((1e-18 * x.square()).mean())  # beside it the least mean square counts, 1e-18
    share = tiny / (tiny + 1e-18)
    exact = [3e9 * share / (share + weight) for weight in RIDGES]
    small = ridge((1e-9 * x)[None, None, None], 3 * x[None, None], RIDGES)
    assert [float(c) for c in small] == pytest.approx(exact, rel=1e-6)
    none = ridge(torch.zeros(1, 1, 1, 50).double(), x[None, None], RIDGES)
    assert [float(c) for c in none] == [0.0, 0.0]


def test_a_parameter_that_moves_nothing_has_no_coefficient():
    assert alone_coefficients(torch.zeros(1, 1, 1, 5), torch.ones(1, 1, 5)).tolist() == [[[0.0]]]


def test_centre_and_width_are_medians_and_outliers_are_drawn_in():
    regression = WindowRegression(1, 1, 1)
    coefficients = torch.randn((9, 9), generator=torch.Generator().manual_seed(0))
    coefficients[0] = 1e6  # does not count
    coefficients[:, 3] = 5.0
    regression.fit_scale(coefficients)
    middle = np.median(coefficients.numpy(), 0)
    width = 1.4826 * np.median(np.abs(coefficients.numpy() - middle), 0)
    assert regression.center.tolist() == pytest.approx(middle)
    assert regression.width.tolist() == pytest.approx(np.maximum(width, 1e-6))
    assert regression.width[3] == pytest.approx(1e-6)
    given = coefficients[:2].clone()
    scaled = ((given.numpy() - middle) / np.maximum(width, 1e-6)).T
    exact = np.concatenate(
        (scaled[:1] / (1 + np.abs(scaled[:1]) / 30), 3 * np.tanh(scaled[1:] / 3))
    )
    assert np.allclose(regression(given), exact.T, rtol=1e-4, atol=1e-5)
    wider = WindowRegression(1, 1, 1, (0.1, 0.2, 0.3), together_bound=6.0, alone_bound=60.0)
    assert wider.outputs == 1 + 3 * 4
    one = torch.full((1, 13), 9.0)
    assert wider(one)[0, :2].tolist() == pytest.approx([9 / (1 + 9 / 60), 6 * np.tanh(1.5)])


@pytest.mark.parametrize("ridges", [(), (0.0,), (1e-3, -1.0)])
def test_ridges_must_be_some_and_positive(ridges):
    with pytest.raises(InputError, match="ridges="):
        WindowRegression(1, 1, 1, ridges)


def test_a_black_box_has_nothing_alone():
    regression = WindowRegression(2, 3, 0)
    assert (regression.alone, regression.outputs) == (0, 2 * 10 * 2)
    window = WindowRates(torch.randn(2, 7, 2), torch.randn(2, 7, 3), torch.zeros(2, 7, 0, 2))
    assert regression(regression.coefficients(window)).shape == (2, 40)


def test_a_window_of_fewer_numbers_than_components_has_all_coefficients():
    """Six components at three times: a pair of them for each of 21."""
    regression = WindowRegression(1, 6, 1)
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 1), (2, 3, 6), (2, 3, 1, 1))
    window = WindowRates(*(torch.randn(shape, generator=generator) for shape in shapes))
    found = regression.coefficients(window)
    assert found.shape == (2, regression.outputs) == (2, 1 + 2 * (1 + 1 + 6 + 21))
    assert torch.isfinite(found).all()


def exact_window(rows=3, samples=400):
    """One parameter that alone explains a component, one beside what the network says too."""
    numbers = torch.Generator().manual_seed(1)
    seen = torch.randn(rows, 2, samples, generator=numbers).double()
    other = torch.randn(rows, samples, generator=numbers).double()
    answers = torch.zeros(rows, 2, 2, samples).double()
    answers[:, 0, 0], answers[:, 1, 1] = seen[:, 0], other
    y = torch.randn(rows, 2, generator=numbers).double()
    missing = (y[..., None, None] * answers).sum(1)
    missing[:, 1] += 3 * seen[:, 0] * seen[:, 1] - 1
    rows_, columns = torch.triu_indices(2, 2)
    own = torch.cat((torch.ones_like(seen[:, :1]), seen, seen[:, rows_] * seen[:, columns]), 1)
    return answers, own, missing, y


def test_what_physics_can_explain_is_not_left_to_the_network():
    """The network could say all that the first parameter does; the second it cannot undo."""
    answers, own, missing, y = exact_window()
    found = smallest_fit(answers, own, missing, 1e-3)
    assert torch.allclose(found, y, atol=0.01)


def test_a_parameter_that_does_nothing_is_estimated_at_its_prior_mean():
    answers, own, missing, y = exact_window()
    answers[:, 1] = 0.0
    found = smallest_fit(answers, own, missing, 1e-3)
    assert (found[:, 1] == 0).all() and torch.allclose(found[:, 0], y[:, 0], atol=0.01)


@pytest.mark.parametrize("name", ["rlc", "pendulum", "reaction_diffusion"])
def test_an_untrained_posterior_is_counted_from_the_estimate(name):
    """It began at the prior's mean, and a grid's run of a minute ended near there or beyond."""
    regression = functools.partial(WindowRegression, estimate=1e-3)
    field = make_field(name, regression=regression)
    data = trajectories(name, 12)
    frames, times = data.x[:, : field.window], data.t[:, : field.window]
    found = field.physical(field.infer(Window(frames, times))[0].mean)
    true = torch.stack([parameters(name)[p] for p in field.parameter_names], 1)
    guess = field.prior.mean.expand_as(true)
    nearer = (found - true).square().mean(0) / (guess - true).square().mean(0)
    assert (nearer < 0.6).all(), nearer


def test_an_estimate_far_beyond_the_prior_is_drawn_in():
    plain, bent = (WindowRegression(1, 1, 1, estimate=e) for e in (None, 1e-3))
    assert plain.estimated(torch.zeros(1, plain.outputs)) == 0.0
    wild = torch.zeros(3, bent.outputs + 1)
    wild[:, -1] = torch.tensor([0.5, -3.0, 1e4])
    assert bent.estimated(wild)[:, 0].tolist() == pytest.approx([0.5, -3.0, 10.0], rel=0.01)
    assert torch.equal(bent(wild), bent(wild[:, :-1]))


def test_a_window_s_numbers_are_as_many_as_it_says():
    for estimate in (None, 1e-3):
        module = WindowRegression(C, S, P, estimate=estimate)
        assert module.coefficients(rates()).shape == (B, module.numbers)
        assert list(module.parameters()) == []
