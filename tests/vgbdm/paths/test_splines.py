"""Quintic smoothing splines against a minimiser that knows nothing of them, and their limits."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.splines import smooth


def clocks(count, rows=2, spacing=1.0):
    """A regular clock, and irregular ones."""
    frame, row = torch.arange(count).double(), torch.arange(rows).double()[:, None]
    return spacing * (frame + 0.35 * torch.sin(2.0 * frame + row) * (row > 0)) + row


def wave(t):
    """(..., 2) a smooth curve, its slope and its second derivative."""
    value = torch.stack((t.sin(), (-t / 2).exp() * (2 * t).cos()), -1)
    slope = torch.stack((t.cos(), (-t / 2).exp() * (-0.5 * (2 * t).cos() - 2 * (2 * t).sin())), -1)
    bend = torch.stack((-t.sin(), (-t / 2).exp() * (-3.75 * (2 * t).cos() + 2 * (2 * t).sin())), -1)
    return value, slope, bend


def minimiser(t, x, alpha, asked):
    """The f of least Σ (x - f)² + α Δ⁵ ∫ f'''² among all quintic splines, and its derivatives."""
    knots = np.r_[[t[0]] * 5, t, [t[-1]] * 5]
    basis = BSpline(knots, np.eye(len(knots) - 6), 5)
    points, weights = np.polynomial.legendre.leggauss(4)
    half = np.diff(t)[:, None] / 2
    places, sizes = (t[:-1, None] + half * (points + 1)).ravel(), (half * weights).ravel()
    root = np.sqrt(alpha * np.diff(t).mean() ** 5 * sizes)[:, None]
    design = np.vstack([basis(t), root * basis.derivative(3)(places)])
    wanted = np.vstack([x, np.zeros((len(places), x.shape[1]))])
    weights = np.linalg.lstsq(design, wanted, rcond=None)[0]
    return [basis.derivative(k)(asked) @ weights if k else basis(asked) @ weights for k in range(3)]


@pytest.mark.parametrize("spacing", [0.05, 3.0])
@pytest.mark.parametrize("alpha", [1e-3, 0.7, 200.0])
def test_it_is_the_minimiser_at_frames_and_between_them(alpha, spacing):
    times, numbers = clocks(13, spacing=spacing), torch.Generator().manual_seed(1)
    x = torch.randn((2, 13, 2), generator=numbers, dtype=torch.float64)
    path = HermitePath(smoothing=alpha)
    nodes = path.nodes(x, times)
    assert torch.equal(nodes[:, :, 0], x)  # the frames themselves stay what they are
    for row in range(2):
        t, s = times[row], torch.full((12,), 0.3).double()
        middle = torch.lerp(t[:-1], t[1:], s)
        between = path(nodes[row, :-1], nodes[row, 1:], t.diff(), s)
        found = (path.at_frames(nodes, times), between)
        for point, asked in zip(found, (t, middle), strict=True):
            exact = minimiser(t.numpy(), x[row].numpy(), alpha, asked.numpy())
            for mine, right in zip(point, exact, strict=True):
                mine = mine[row] if mine.dim() == 3 else mine
                assert np.allclose(mine, right, rtol=0, atol=1e-7 * abs(right).max())


def test_little_smoothing_interpolates_with_the_order_of_a_quintic_spline_inside():
    errors = []
    for count in (60, 120):
        times = 0.2 + clocks(count, spacing=3.0 / count)
        found, right = smooth(wave(times)[0], times, 1e-12), wave(times)
        inside = slice(count // 3, 2 * count // 3)
        errors.append(
            [float((a - b)[:, inside].abs().max()) for a, b in zip(found, right, strict=True)]
        )
    assert errors[1][0] < 1e-10
    assert math.log2(errors[0][1] / errors[1][1]) > 4.8
    assert math.log2(errors[0][2] / errors[1][2]) > 3.8


def test_at_the_ends_a_derivative_less_is_right():
    """A natural spline: no third derivative there, so slopes are of second order."""
    errors = []
    for count in (40, 80):
        times = 0.2 + clocks(count, spacing=3.0 / count)
        found, right = smooth(wave(times)[0], times, 1e-12), wave(times)
        errors.append(
            [float((a - b)[:, [0, -1]].abs().max()) for a, b in zip(found, right, strict=True)]
        )
    assert math.log2(errors[0][1] / errors[1][1]) > 1.8
    assert math.log2(errors[0][2] / errors[1][2]) > 0.8


def test_much_smoothing_is_the_least_squares_parabola():
    times = clocks(15)
    x = wave(times)[0]
    for row in range(2):
        design = torch.stack([times[row] ** k for k in range(3)], 1)
        fit = torch.linalg.lstsq(design, x[row]).solution
        value, slope, bend = smooth(x, times, 1e9)[:, row]
        assert torch.allclose(value, design @ fit, atol=1e-5)
        assert torch.allclose(slope, fit[1] + 2 * times[row][:, None] * fit[2], atol=1e-5)
        assert torch.allclose(bend, (2 * fit[2]).expand_as(bend), atol=1e-5)


@pytest.mark.parametrize(
    ("alpha", "inside", "end"), [(0.01, 1.3, 3.1), (0.3, 0.5, 1.6), (10.0, 0.2, 0.8)]
)
def test_noise_is_amplified_by_no_more_than_this(alpha, inside, end):
    """Of a slope, in σ/Δ; interpolation through 11 frames has 2 inside and 92 at the ends."""
    times = clocks(60)
    slope = smooth(torch.eye(60).double().expand(2, -1, -1), times, alpha)[1].norm(dim=2)
    scale = times.diff(dim=1).mean(1)
    assert float((slope[0, 10:-10] * scale[0]).max()) < inside
    assert float((slope[0] * scale[0]).max()) < end
    assert float((slope[1] * scale[1]).max()) < 1.6 * end


@pytest.mark.parametrize("count", [4, 5, 7])
def test_few_frames_are_smoothed_too_and_grids_are_columns(count):
    times = clocks(count)
    x = torch.randn((2, count, 2, 3, 4), generator=torch.Generator().manual_seed(3)).double()
    found = smooth(x, times, 0.5)
    assert found.shape == (3, *x.shape)
    alone = smooth(x[..., 1, 2], times, 0.5)
    assert torch.allclose(found[..., 1, 2], alone, atol=1e-12)


def test_float32_frames_lose_nothing_beside_their_own_rounding():
    """Times far from zero, as of a long record, and frames far from it."""
    times = clocks(200, spacing=0.01) + 1e4
    x = wave(times - 1e4)[0] + 1e3
    found, right = smooth(x.float(), times, 1e-4), smooth(x, times, 1e-4)
    assert found.dtype == torch.float32
    assert float((found[0] - right[0]).abs().max()) < 2e-4
    assert float((found[1] - right[1]).abs().max()) < 2e-4 / 0.01


def test_rows_of_a_regular_clock_are_what_they_are_alone():
    """However the batch is cut, and though its clocks are equal but for rounding."""
    times = 0.1 * torch.arange(30).double() + torch.tensor([[0.0], [0.3], [7.7]]).double()
    x = wave(times)[0].float()
    together = smooth(x, times, 0.2)
    for row in range(3):
        assert torch.allclose(smooth(x[row : row + 1], times[row : row + 1], 0.2)[:, 0],
                              together[:, row], rtol=1e-6, atol=1e-6)  # fmt: skip
