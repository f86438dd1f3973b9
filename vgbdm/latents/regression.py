"""What least squares on a window's rates estimate: features for the posterior.

Rates, less the known physics at its prior mean, are regressed on how the physics answers to each
parameter: alone, which is exact where nothing else is missing, and together with what the residual
network may say, as quadratics in its inputs. The encoder learns what to make of the coefficients.

Shapes: ``B`` windows, ``T`` frames, ``C`` components, ``Q`` of the state, ``S`` inputs of the
residual network, ``P`` parameters, ``n`` samples of a window (frames × cells), ``...`` axes of a
grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from annotated_types import MinLen
from torch import Tensor, nn

from vgbdm.errors import InputError
from vgbdm.options.kinds import NotNegative, Positive
from vgbdm.precision import in_full
from vgbdm.registry.marks import model_part


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


@model_part
class WindowRegression(nn.Module):
    """Coefficients of a window, standardised by those of the training windows.

    The defaults were chosen on simulated Lorenz windows whose true σ and β were known.

    Args:
        size: C.
        seen: S.
        parameters: P.
        ridges: relative to the regressors' mean squares. A large one is steady under noise and
            biased towards zero; a small one is not biased, and so holds for windows unlike those
            of training.
        together_bound: widths to which coefficients of the joint fit are bent, which a poor
            window throws anywhere.
        alone_bound: the same of parameters alone, which stay true far outside of what was trained
            on.
        silent: rms answer to one width of a parameter's prior, in rms of the rates, that is none.

    Raises:
        InputError: for no ridge, or one that is not positive.
    """

    center: Tensor
    width: Tensor

    def __init__(
        self,
        size: int,
        seen: int,
        parameters: int,
        ridges: Annotated[Sequence[Positive], MinLen(1)] = (1e-3, 1e-6),
        together_bound: Positive = 3.0,
        alone_bound: Positive = 30.0,
        silent: NotNegative = 1e-6,
    ) -> None:
        super().__init__()
        if not ridges or not min(ridges) > 0:
            raise InputError(f"regression: ridges={list(ridges)}; want some, all of them positive")
        self.ridges, self.silent = tuple(ridges), silent
        self.together_bound, self.alone_bound = together_bound, alone_bound
        together = 1 + seen + seen * (seen + 1) // 2 + parameters
        self.alone = size * parameters
        self.outputs = self.alone + size * together * len(self.ridges)
        self.register_buffer("center", torch.zeros(self.outputs))
        self.register_buffer("width", torch.ones(self.outputs))

    def coefficients(self, window: WindowRates) -> Tensor:
        """All coefficients, (B, outputs)."""
        missing = window.missing.transpose(1, 2).flatten(2).double()
        answers = window.sensitivity.movedim(1, 3).flatten(3).double()
        answers = without_silent(answers, self.silent)
        alone = alone_coefficients(answers, missing)
        seen = window.seen.transpose(1, 2).flatten(2).double()
        rows, columns = torch.triu_indices(seen.shape[1], seen.shape[1], device=seen.device)
        quadratics = (torch.ones_like(seen[:, :1]), seen, seen[:, rows] * seen[:, columns])
        shared = torch.cat(quadratics, 1)[:, None].expand(-1, missing.shape[1], -1, -1)
        regressors = torch.cat((answers.transpose(1, 2), shared), 2)
        together = [answer.flatten(1) for answer in ridge(regressors, missing, self.ridges)]
        return torch.cat((alone.flatten(1), *together), 1).float()

    def fit_scale(self, coefficients: Tensor) -> None:
        """Take centre and width from the coefficients (W, outputs) of training windows."""
        self.center.copy_(coefficients.median(0).values)
        spread = (coefficients - self.center).abs().median(0).values * 1.4826
        self.width.copy_(spread.clamp_min(1e-6))

    def forward(self, coefficients: Tensor) -> Tensor:
        """Standardised coefficients, outliers drawn in: (B, outputs)."""
        scaled = (coefficients - self.center) / self.width
        alone, together = scaled.split((self.alone, self.outputs - self.alone), 1)
        bounded = self.together_bound * torch.tanh(together / self.together_bound)
        return torch.cat((alone / (1 + alone.abs() / self.alone_bound), bounded), 1)


def without_silent(answers: Tensor, silent: float) -> Tensor:
    """Answers (B, P, C, n), a plain 0 where a parameter does not act on a component.

    There an answer is a difference of equal numbers. Its gradient is 0, but reaches the window as
    the difference of two that were divided by next to nothing, which leaves their rounding.
    """
    acts = answers.square().mean(3, keepdim=True) > silent**2
    return torch.where(acts, answers, 0.0)


def alone_coefficients(answers: Tensor, missing: Tensor) -> Tensor:
    """Σ J r / Σ J² of each parameter and component: (B, P, C) of (B, P, C, n) and (B, C, n)."""
    squares = answers.square().mean(3)
    return (answers * missing[:, None]).mean(3) / (squares + 1e-12)


@in_full
def ridge(regressors: Tensor, targets: Tensor, ridges: Sequence[float]) -> list[Tensor]:
    """Ridge coefficients (B, C, R) of (B, C, R, n) for (B, C, n), for each of the ridges.

    Every regressor is first brought to unit mean square in its window, so that a window of small
    values says as much as one of large values.
    """
    samples, count = targets.shape[-1], regressors.shape[-2]
    size = (regressors.square().mean(-1) + 1e-18).sqrt()
    unit = regressors / size[..., None]
    gram = unit @ unit.transpose(-1, -2) / samples
    eye = torch.eye(count, dtype=gram.dtype, device=gram.device)
    moments = (unit @ targets[..., None]) / samples
    solved = (torch.linalg.solve_ex(gram + weight * eye, moments).result for weight in ridges)
    return [each[..., 0] / size for each in solved]
