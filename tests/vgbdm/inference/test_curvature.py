"""Widths where the misfit is no parabola."""

import pytest
import torch

from vgbdm.inference.curvature import bent
from vgbdm.inference.laplace import laplace
from vgbdm.inference.refinement import jacobian_of


def found_of(residuals, means, latents):
    values = residuals(means)
    linear = laplace(jacobian_of(residuals, means), values, means, latents)
    return linear, bent(linear, residuals, values)


def test_linear_residuals_are_left_as_laplace_has_them():
    design = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    design[:, 1] *= 1e-3  # hardly seen at all

    def residuals(u):
        return u @ design.T + 0.3 * torch.sin(torch.arange(40.0))

    linear, curved = found_of(residuals, torch.zeros(4, 3), 2)
    assert torch.allclose(linear.precision, curved.precision, rtol=1e-6)


@pytest.mark.parametrize("bend", [3.0, 30.0, 300.0])
def test_a_direction_without_slope_is_as_wide_as_the_misfit_allows(bend):
    """r = 1 everywhere but bend · ζ₂² in one: by Laplace ζ₂ is as wide as its prior."""

    def residuals(u):
        flat = torch.ones(len(u), 20)
        return torch.cat((flat, u[:, :1] * 4, bend * u[:, 1:2] ** 2), 1)

    linear, curved = found_of(residuals, torch.zeros(2, 2), 2)
    assert linear.precision[0, 1, 1] == pytest.approx(0.0, abs=1e-9)
    assert torch.allclose(curved.precision[:, 0, 0], linear.precision[:, 0, 0], rtol=1e-5)
    width = float((curved.precision[0, 1, 1] + 1) ** -0.5)
    rise = (bend * width**2) ** 2 / float(linear.variance[0]) + width**2
    assert 0.05 < rise < 1.3, rise


def test_only_zeta_is_bent():
    def residuals(u):
        return torch.cat((torch.ones(len(u), 9), 50 * u[:, :1] ** 2, u[:, 1:] + u[:, :1]), 1)

    linear, curved = found_of(residuals, torch.zeros(1, 2), 1)
    assert torch.equal(linear.precision[:, 1], curved.precision[:, 1])
    assert torch.equal(linear.precision[:, 0, 1], curved.precision[:, 0, 1])
    assert curved.precision[0, 0, 0] > 2 * linear.precision[0, 0, 0]


def test_a_window_that_is_not_finite_is_left_alone_and_spoils_no_other():
    def residuals(u):
        return torch.cat((torch.ones(len(u), 9), 50 * u[:, :1] ** 2), 1)

    values = residuals(torch.zeros(2, 1))
    values[1] = torch.inf
    jacobian = jacobian_of(residuals, torch.zeros(2, 1))
    jacobian[1] = torch.nan
    curved = bent(laplace(jacobian, values, torch.zeros(2, 1), 1), residuals, values)
    alone = found_of(residuals, torch.zeros(1, 1), 1)[1]
    assert torch.equal(curved.precision[:1], alone.precision)
    assert not curved.precision[1].isfinite().any()
