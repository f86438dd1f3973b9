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

REACH = 10.0
"""Widths of the prior beyond which no estimate of y is believed."""
UNKNOWN = 1e-9
"""Mean square answer to a width of the prior below which a parameter is not estimated: y is 0."""


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
        estimate: ridge of `smallest_fit`, whose θ the posterior's mean is then counted from; None:
            it is counted from the prior's mean. A head makes one of coefficients too, but not in
            the hundred steps that a grid is trained for in a minute.

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
        estimate: Positive | None = None,
    ) -> None:
        super().__init__()
        if not ridges or not min(ridges) > 0:
            raise InputError(f"regression: ridges={list(ridges)}; want some, all of them positive")
        if estimate is not None and not estimate > 0:
            raise InputError(f"regression: estimate={estimate}; want a positive ridge, or null")
        self.ridges, self.silent = tuple(ridges), silent
        self.estimate, self.known = estimate if parameters else None, parameters
        self.together_bound, self.alone_bound = together_bound, alone_bound
        together = 1 + seen + seen * (seen + 1) // 2 + parameters
        self.alone = size * parameters
        self.outputs = self.alone + size * together * len(self.ridges)
        self.register_buffer("center", torch.zeros(self.outputs))
        self.register_buffer("width", torch.ones(self.outputs))

    @property
    def numbers(self) -> int:
        """Coefficients of a window: outputs, and P where there is an estimate."""
        return self.outputs + (self.known if self.estimate is not None else 0)

    def coefficients(self, window: WindowRates) -> Tensor:
        """All coefficients, (B, numbers)."""
        missing = window.missing.transpose(1, 2).flatten(2).double()
        answers = window.sensitivity.movedim(1, 3).flatten(3).double()
        answers = without_silent(answers, self.silent)
        alone = alone_coefficients(answers, missing)
        seen = window.seen.transpose(1, 2).flatten(2).double()
        rows, columns = torch.triu_indices(seen.shape[1], seen.shape[1], device=seen.device)
        quadratics = (torch.ones_like(seen[:, :1]), seen, seen[:, rows] * seen[:, columns])
        own = torch.cat(quadratics, 1)
        shared = own[:, None].expand(-1, missing.shape[1], -1, -1)
        regressors = torch.cat((answers.transpose(1, 2), shared), 2)
        together = [answer.flatten(1) for answer in ridge(regressors, missing, self.ridges)]
        if self.estimate is not None:
            together.append(smallest_fit(answers, own, missing, self.estimate))
        return torch.cat((alone.flatten(1), *together), 1).float()

    def fit_scale(self, coefficients: Tensor) -> None:
        """Take centre and width from the coefficients (W, outputs) of training windows."""
        coefficients = coefficients[:, : self.outputs]
        self.center.copy_(coefficients.median(0).values)
        spread = (coefficients - self.center).abs().median(0).values * 1.4826
        self.width.copy_(spread.clamp_min(1e-6))

    def estimated(self, coefficients: Tensor) -> Tensor | float:
        """The estimate of y (B, P), bent to where the prior may be; 0 where there is none."""
        if self.estimate is None:
            return 0.0
        y = coefficients[:, self.outputs :]
        out: Tensor = y * (1 + (y / REACH) ** 4) ** -0.25
        return out

    def forward(self, coefficients: Tensor) -> Tensor:
        """Standardised coefficients, outliers drawn in: (B, outputs)."""
        scaled = (coefficients[:, : self.outputs] - self.center) / self.width
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


@in_full
def smallest_fit(answers: Tensor, own: Tensor, missing: Tensor, weight: float) -> Tensor:
    """The y (B, P) with which as little as may be is left for the network to say.

    Least squares of the rates on the physics' answers, the same y in all components, and on what
    the network may say, of its own in each; only the latter is penalised. So whatever physics can
    explain it does (the gauge, docs/method.md#gauge), and y is not biased where the network could
    not have said the same.

    Args:
        answers: (B, P, C, n) to a width of each prior.
        own: (B, F, n) what the network is made of.
        missing: (B, C, n) rates less the physics at its prior mean.
        weight: of the penalty, for functions of unit mean square.
    """
    own = own / (own.square().mean(2, keepdim=True) + 1e-18).sqrt()
    count, size = own.shape[2], answers.shape[1]
    gram = own @ own.transpose(1, 2) / count
    gram = gram + weight * torch.eye(len(gram[0]), dtype=gram.dtype, device=gram.device)
    both = torch.cat((answers.transpose(1, 2), missing[:, :, None]), 2)
    shared = both @ own.transpose(1, 2)[:, None] / count
    explained = torch.linalg.solve_ex(gram[:, None], shared.transpose(2, 3)).result
    left = (both @ both.transpose(2, 3) / count - shared @ explained).sum(1)
    known = left[:, :size, :size] + UNKNOWN * torch.eye(size, dtype=left.dtype, device=left.device)
    found: Tensor = torch.linalg.solve_ex(known, left[:, :size, size:]).result
    return found[..., 0]
