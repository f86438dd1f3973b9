"""What least squares on a window's rates tell: features for the posterior.

Rates, less the known physics at its prior mean, are regressed on how the physics answers to each
parameter: alone, which is exact where nothing else is missing, and together with what the residual
network may say, as quadratics in its inputs. The encoder learns what to make of the coefficients.

Shapes: ``B`` windows, ``T`` frames, ``C`` components, ``Q`` of the state, ``S`` inputs of the
residual network, ``P`` parameters, ``n`` samples of a window (frames × cells), ``...`` axes of a
grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vgbdm.precision import in_full

RIDGES = (1e-3, 1e-6)
"""Relative to the regressors' mean squares. The large one is steady under noise and biased towards
zero; the small one is not biased, and so holds for windows unlike those of training."""
STENCIL = 11
"""Frames from which rates are taken."""
SILENT = 1e-6
"""Rms answer to one width of a parameter's prior, in rms of the rates, that is none."""
TOGETHER_BOUND, ALONE_BOUND = 3.0, 30.0
"""Widths to which coefficients are bent: of the joint fit, which a poor window throws anywhere, and
of parameters alone, which stay true far outside of what was trained on."""


def inner(frames: int) -> slice:
    """The frames of a window whose rates are used: one-sided ones at its ends are left out.

    On Lorenz windows of 30 the worst error of β by least squares is 0.1, 0.03 and 0.016 of its
    prior's width where 1, 2 and 3 frames are left out.
    """
    edge = min(frames // 10, 3)
    return slice(edge, frames - edge)


class WindowRates(NamedTuple):
    """A window's states and rates.

    Attributes:
        missing: (B, T, C, ...) rates less the known physics, in units of their rms.
        seen: (B, T, S, ...) standardised inputs of the residual network.
        sensitivity: (B, T, P, C, ...) known rates' answer to each parameter; P = 0 for a black box.
    """

    missing: Tensor
    seen: Tensor
    sensitivity: Tensor


class WindowRegression(nn.Module):
    """Coefficients of a window, standardised by those of the training windows.

    Args:
        size: C.
        seen: S.
        parameters: P.
    """

    center: Tensor
    width: Tensor

    def __init__(self, size: int, seen: int, parameters: int) -> None:
        super().__init__()
        together = 1 + seen + seen * (seen + 1) // 2 + parameters
        self.alone = size * parameters
        self.outputs = self.alone + size * together * len(RIDGES)
        self.register_buffer("center", torch.zeros(self.outputs))
        self.register_buffer("width", torch.ones(self.outputs))

    def coefficients(self, window: WindowRates) -> Tensor:
        """All coefficients, (B, outputs)."""
        missing = window.missing.transpose(1, 2).flatten(2).double()
        answers = without_silent(window.sensitivity.movedim(1, 3).flatten(3).double())
        alone = alone_coefficients(answers, missing)
        seen = window.seen.transpose(1, 2).flatten(2).double()
        rows, columns = torch.triu_indices(seen.shape[1], seen.shape[1], device=seen.device)
        quadratics = (torch.ones_like(seen[:, :1]), seen, seen[:, rows] * seen[:, columns])
        shared = torch.cat(quadratics, 1)[:, None].expand(-1, missing.shape[1], -1, -1)
        regressors = torch.cat((answers.transpose(1, 2), shared), 2)
        together = [answer.flatten(1) for answer in ridge(regressors, missing)]
        return torch.cat((alone.flatten(1), *together), 1).float()

    def fit_scale(self, coefficients: Tensor) -> None:
        """Take centre and width from the coefficients (W, outputs) of training windows."""
        self.center.copy_(coefficients.median(0).values)
        spread = (coefficients - self.center).abs().median(0).values * 1.4826
        self.width.copy_(spread.clamp_min(1e-6))

    def forward(self, window: WindowRates) -> Tensor:
        """Standardised coefficients, outliers drawn in: (B, outputs)."""
        scaled = (self.coefficients(window) - self.center) / self.width
        alone, together = scaled.split((self.alone, self.outputs - self.alone), 1)
        bounded = TOGETHER_BOUND * torch.tanh(together / TOGETHER_BOUND)
        return torch.cat((alone / (1 + alone.abs() / ALONE_BOUND), bounded), 1)


def without_silent(answers: Tensor) -> Tensor:
    """Answers (B, P, C, n), a plain 0 where a parameter does not act on a component.

    There an answer is a difference of equal numbers. Its gradient is 0, but reaches the window as
    the difference of two that were divided by next to nothing, which leaves their rounding.
    """
    acts = answers.square().mean(3, keepdim=True) > SILENT**2
    return torch.where(acts, answers, 0.0)


def alone_coefficients(answers: Tensor, missing: Tensor) -> Tensor:
    """Σ J r / Σ J² of each parameter and component: (B, P, C) of (B, P, C, n) and (B, C, n)."""
    squares = answers.square().mean(3)
    return (answers * missing[:, None]).mean(3) / (squares + 1e-12)


@in_full
def ridge(regressors: Tensor, targets: Tensor) -> list[Tensor]:
    """Ridge coefficients (B, C, R) of (B, C, R, n) for (B, C, n), for each of `RIDGES`.

    Every regressor is first brought to unit mean square in its window, so that a window of small
    values tells as much as one of large values.
    """
    samples, count = targets.shape[-1], regressors.shape[-2]
    size = (regressors.square().mean(-1) + 1e-18).sqrt()
    unit = regressors / size[..., None]
    gram = unit @ unit.transpose(-1, -2) / samples
    eye = torch.eye(count, dtype=gram.dtype, device=gram.device)
    moments = (unit @ targets[..., None]) / samples
    solved = (torch.linalg.solve_ex(gram + weight * eye, moments).result for weight in RIDGES)
    return [each[..., 0] / size for each in solved]
