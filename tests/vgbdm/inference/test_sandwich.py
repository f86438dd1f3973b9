"""Widths of parameters where the residuals of a window err together, against what they err."""

import pytest
import torch

from vgbdm.inference.sandwich import sandwich_factor

WINDOWS, RESIDUALS = 2000, 40


def windows(memory, latents=0, seed=0):
    """Linear windows with errors of a memory, fitted; and how far θ errs in widths of Laplace.

    Windows differ in what they see of the unknowns: else the fits take away from all of them what
    would tell of the errors along it. Of the latents the prior holds, of θ nothing does.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    unknowns = latents + 2
    time = torch.linspace(0, 1, RESIDUALS, dtype=torch.float64)
    shape = (2, WINDOWS, 1, unknowns)
    phase, rate = torch.rand(shape, generator=generator, dtype=torch.float64)
    jacobian = 5 * torch.cos(6.3 * phase + 30 * rate * time[:, None])
    noise = [normal(WINDOWS)]
    for _ in range(RESIDUALS - 1):
        noise.append(memory * noise[-1] + (1 - memory**2) ** 0.5 * normal(WINDOWS))
    error = torch.stack(noise, 1) * (0.5 + torch.rand((WINDOWS, 1), generator=generator))
    truth = torch.zeros((WINDOWS, unknowns), dtype=torch.float64)
    truth[:, :latents] = normal(WINDOWS, latents)
    prior = torch.diag((torch.arange(unknowns) < latents).double())
    right = jacobian.transpose(1, 2) @ (error[..., None] + jacobian @ truth[..., None])
    fitted = torch.linalg.solve(jacobian.transpose(1, 2) @ jacobian + prior, right)[..., 0]
    residuals = error - (jacobian @ (fitted - truth)[..., None])[..., 0]
    precision = jacobian.transpose(1, 2) @ jacobian / residuals.square().mean(1)[:, None, None]
    width = torch.linalg.inv(precision + prior).diagonal(dim1=1, dim2=2).sqrt()
    erred = ((fitted - truth) / width)[:, latents:]
    return jacobian.float(), residuals.float(), erred.square().mean(0).sqrt()


@pytest.mark.parametrize("memory", [0.0, 0.9, -0.9])
@pytest.mark.parametrize("latents", [0, 2])
def test_it_tells_most_of_how_far_parameters_err_and_not_more(memory, latents):
    """In widths of Laplace, which would be 1; a fit takes away some of what lies along it."""
    jacobian, residuals, erred = windows(memory, latents)
    found = sandwich_factor(jacobian, residuals, latents)
    assert ((found > 0.6 * erred) & (found < 1.05 * erred)).all(), (found, erred)
    if memory == 0:
        assert found.tolist() == pytest.approx([1.0, 1.0], abs=0.2)
    if memory > 0:
        assert (found > 1.7).all()
    if memory < 0:
        assert (found < 0.4).all()


def test_of_errors_unlike_what_is_fitted_it_tells_almost_all():
    """Errors of half a window, that no fit of two unknowns takes much from."""
    generator = torch.Generator().manual_seed(3)
    shape = (WINDOWS, RESIDUALS, 2)
    jacobian = torch.randn(shape, generator=generator, dtype=torch.float64)
    jacobian[:, : RESIDUALS // 2] *= 6  # a part says most, and errs most
    error = torch.randn(shape[:2], generator=generator, dtype=torch.float64)
    error[:, : RESIDUALS // 2] *= 3
    fitted = torch.linalg.lstsq(jacobian, error[..., None]).solution
    residuals = error - (jacobian @ fitted)[..., 0]
    precision = jacobian.transpose(1, 2) @ jacobian / residuals.square().mean(1)[:, None, None]
    width = torch.linalg.inv(precision).diagonal(dim1=1, dim2=2).sqrt()
    erred = (fitted[..., 0] / width).square().mean(0).sqrt()
    found = sandwich_factor(jacobian.float(), residuals.float(), 0)
    assert found.tolist() == pytest.approx(erred.tolist(), rel=0.1)
    assert (found > 1.2).all()


def test_windows_that_are_not_finite_are_passed_over():
    jacobian, residuals, _ = windows(0.5)
    want = sandwich_factor(jacobian[2:40], residuals[2:40], 0)
    residuals[0, 3], jacobian[1, 2, 0] = torch.nan, torch.inf
    assert torch.equal(sandwich_factor(jacobian[:40], residuals[:40], 0), want)


def test_what_cannot_be_told_is_nan():
    jacobian, residuals, _ = windows(0.5)
    assert sandwich_factor(jacobian[:1], residuals[:1], 0).isnan().all()
    assert sandwich_factor(jacobian[:, :2], residuals[:, :2], 0).isnan().all()
    assert sandwich_factor(jacobian[:, :3], residuals[:, :3], 0).isfinite().all()
