"""How much to smooth noisy frames, by an unbiased estimate of what their rates err by.

A path is linear in the frames. With D one such estimator of a rate, w its weights, and D₀, w₀ those
of one without bias to speak of, the expected squared error of D, bias and noise, is that of

    (Dx - D₀x)² + σ² (2 w·w₀ - w₀·w₀)

(Mallows 1973, Stein 1981): nothing but the frames and the noise σ is needed. D works on windows, D₀
on the whole trajectories, where the last frame of a window has others on both sides.

Shapes: ``B`` trajectories, ``L`` frames, ``T`` of a window, ``C`` components, ``G`` cells, ``M`` =
C · G numbers of a frame, or L where frames stand for themselves, ``R`` windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vgbdm.paths.derivatives import derivatives
from vgbdm.paths.path import PathPoint
from vgbdm.paths.splines import smooth

ROWS, CELLS, CLOCKS = 128, 16, 4
"""Trajectories, cells of a grid and irregular clocks that are looked at."""
ALPHAS = tuple(10.0 ** (k / 2) for k in range(-8, 11))
LESS = 0.1
"""Of the α that is best against interpolation: what that does is taken for right in the second
round. It has a fraction of the noise, and a bias far below what is to be found."""
PILOT = 1.0
"""An α that tells about how large rates are."""
EDGE = 3
"""Frames at either end of a run where derivatives are poorer. Those where a window ends count all
the same: there forecasts begin."""
RESOLVED = 1e-2
"""Of the rms of the rates: where noise moves those of the interpolating path by less even at its
ends, nothing is to be smoothed. Without noise, Lorenz errs there by 3e-2 to 3e-1."""

Curve = Callable[[Tensor, Tensor, Tensor, Tensor], PathPoint]
"""Points between nodes (N, 3, M) of intervals of some length, at s."""
Estimate = Callable[[Tensor, Tensor], Tensor]
"""Frames (R, T, M) at times (R, T) → value, slope and second derivative (3, R, T, M)."""


class Windows(NamedTuple):
    """Windows, and what an estimator on whole trajectories says of their frames.

    Attributes:
        frames: (R, T, M).
        times: (R, T).
        target: (R, T, 3, M) value, slope and second derivative.
    """

    frames: Tensor
    times: Tensor
    target: Tensor

    def cut(self, start: int, count: int) -> Windows:
        """Some of the frames."""
        return Windows(*(part[:, start : start + count] for part in self))

    def reversed(self) -> Windows:
        """With time running backwards: the first frames are the last ones."""
        signs = torch.tensor([1.0, -1.0, 1.0], dtype=self.target.dtype)[:, None]
        return Windows(self.frames.flip(1), -self.times.flip(1), self.target.flip(1) * signs)


class Choice:
    """The choice of α for frames like these.

    Args:
        curve: what a path makes of nodes.
        frames: (B, L, C, ...) of training.
        times: (B, L).
        noise: (C,) standard deviations.
        stencil: of the interpolating path.
        order: of the system: how many derivatives are to be right.
        window: T, of the windows that the path will be used on.
    """

    def __init__(
        self,
        curve: Curve,
        frames: Tensor,
        times: Tensor,
        noise: Sequence[float],
        stencil: int,
        order: int,
        window: int,
    ) -> None:
        self.curve, self.stencil, self.order = curve, stencil, order
        every = max(1, len(frames) // ROWS)
        x = frames[::every].cpu().double()
        x = x.flatten(3) if x.dim() > 3 else x.unsqueeze(3)
        x = x[..., :: max(1, x.shape[3] // CELLS)][..., :CELLS]
        self.count, self.cells, length = x.shape[2], x.shape[3], x.shape[1]
        self.variance = torch.tensor(noise).double().square()
        self.window = min(window, length)
        clocks = times[::every].cpu().double()
        gaps = clocks.diff(dim=1)
        regular = torch.allclose(gaps, gaps[:1].expand_as(gaps), rtol=1e-6)
        few = clocks[: 1 if regular else CLOCKS]
        eye = torch.eye(length, dtype=torch.float64).expand(len(few), -1, -1)
        self.whole = ((x.flatten(2), clocks), (eye, few))

    def best(self) -> float:
        """α; 0 where interpolation does as well."""
        if self._noise_at_ends() < RESOLVED:
            return 0.0
        first = self._round(self._interpolate)
        return self._round(_smoother(first * LESS)) if first else 0.0

    def _interpolate(self, frames: Tensor, times: Tensor) -> Tensor:
        parts = zip(frames.split(64), times.split(64), strict=True)
        found = [torch.stack((x, *derivatives(x, t, self.stencil))) for x, t in parts]
        return torch.cat(found, 1)

    def _scale(self, right: Estimate) -> Tensor:
        """(order + 1, C) mean squares of states about their mean and of rates, less the noise."""
        data, weights = (right(*given)[: self.order + 1] for given in self.whole)
        found = data.unflatten(3, (self.count, self.cells))
        raw = found.square().mean((1, 2, 4))
        raw[0] -= found[0].mean((0, 1, 3)).square()
        added = weights.square().sum(3).mean((1, 2))[:, None] * self.variance
        return torch.maximum(raw - added, (0.05 * raw).clamp_min(1e-30))

    def _noise_at_ends(self) -> float:
        """Rms of what noise does to rates of interpolation where a window ends, in their rms."""
        eye, clocks = self.whole[1]
        part = slice(None, self.window)
        weights = self._interpolate(eye[:, part], clocks[:, part])[1 : self.order + 1, :, -1]
        moved = weights.square().sum(2).mean(1)[:, None] * self.variance
        return float((moved / self._scale(_smoother(PILOT))[1:]).mean(1).amax().sqrt())

    def _round(self, right: Estimate) -> float:
        """The best α against what an estimator says of whole trajectories; 0: interpolation."""
        windows = [self._windows(*given, right) for given in self.whole]
        wanted = [list(self._points(one, one.target)) for one in windows]
        scale = self._scale(_smoother(PILOT))

        def risk(estimate: Estimate) -> float:
            """Of states and rates, in units of their own mean squares, summed."""
            total = torch.zeros_like(scale)
            found = [self._points(one, self._nodes(one, estimate)) for one in windows]
            for data, weights, x0, w0 in zip(*found, *wanted, strict=True):
                for k in range(self.order + 1):
                    off = (data[k] - x0[k]).unflatten(1, (self.count, self.cells))
                    noise = (2 * weights[k] * w0[k] - w0[k].square()).sum(1).mean()
                    total[k] += off.square().mean((0, 2)) + self.variance * noise
            return float((total / scale).mean(1).sum())

        risks = {0.0: risk(self._interpolate)}
        risks |= {alpha: risk(_smoother(alpha)) for alpha in ALPHAS}
        return min(risks, key=lambda alpha: risks[alpha])

    def _windows(self, frames: Tensor, times: Tensor, right: Estimate) -> Windows:
        """Windows whose last frame has others after it; reversed ones are the first frames."""
        length, reach = frames.shape[1], self.stencil // 2
        whole = Windows(frames, times, right(frames, times).movedim(0, 2))
        starts = sorted({0, (length - self.window) // 2, length - self.window})
        cuts = [(start, whole.cut(start, self.window)) for start in starts]
        found = [one for start, one in cuts if start + self.window + reach <= length]
        found += [one.reversed() for start, one in cuts if start >= reach]
        found = found or [one for _, one in cuts]
        return Windows(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _nodes(self, windows: Windows, estimate: Estimate) -> Tensor:
        return estimate(windows.frames, windows.times).movedim(0, 2)

    def _points(self, windows: Windows, nodes: Tensor) -> Iterator[PathPoint]:
        """Points (N, M) that follow from nodes (R, T, 3, M), amid intervals and where they end."""
        first = min(EDGE, self.window // 4)
        length = windows.times.diff(dim=1)[:, first:].flatten()
        a, b = nodes[:, first:-1].flatten(0, 1), nodes[:, first + 1 :].flatten(0, 1)
        for s in (0.5, 1.0):
            yield self.curve(a, b, length, torch.full_like(length, s))


def _smoother(alpha: float) -> Estimate:
    return lambda frames, times: smooth(frames, times, alpha)
