"""Simulation-free targets: where to ask the field, and what it should answer.

Shapes: ``B`` trajectories, ``L`` frames, ``k`` node values, ``N`` points, ``C`` components, ``...``
axes of a frame.

A path joins two successive frames a, b by a curve x(s), s ∈ [0, 1]. Training asks the field at x(s)
and regresses the curve's own velocity dx/dt = x'(s)/Δ (docs/method.md#paths). What a curve needs of
the frames around it is computed once per frame, by `Path.nodes`; a point then costs two nodes.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.options.paths import check_order

Noise = float | Sequence[float]
"""Standard deviation of observation noise: of all components, or of each."""


class PathPoint(NamedTuple):
    """A point of a path, and the first two derivatives there, each (N, ...)."""

    state: Tensor
    velocity: Tensor
    acceleration: Tensor


class Path(ABC):
    """One way to join successive frames.

    A path keeps the arguments it was made with under their names, see `config`.
    """

    orders: ClassVar[tuple[int, ...]] = (1,)
    """Orders of the systems it serves: with 2, its accelerations are to be believed."""
    needs_noise = False
    """Whether points take normal draws."""
    frames = 2
    """Frames it needs at least."""
    noise: str | Noise = 0.0
    """Of the frames that it is to be fitted to, see `fitted`; ``auto``: whatever they have."""

    @property
    def edge(self) -> int:
        """Intervals at either end of a trajectory whose targets are too poor to be matched."""
        return 0

    def inside(self, count: int) -> slice:
        """Those of ``count`` frames whose derivatives are as good as any, four fifths at least."""
        return slice(0, count)

    def check_order(self, order: int) -> None:
        """Refuse a system of an order that this path does not serve.

        Raises:
            InputError: for such a one.
        """
        check_order(type(self).__name__, self.orders, order)

    def fitted(
        self,
        frames: Tensor,
        times: Tensor,
        noise: Noise,
        *,
        order: int = 1,
        window: int | None = None,
    ) -> Path:
        """The path of this family for frames like these; itself where it knows no noise.

        Args:
            frames: (B, L, C, ...) of training.
            times: (B, L).
            noise: standard deviation of what was added to observations; 0: nothing was.
            order: of the system: 1 for velocities, 2 for accelerations.
            window: frames of the windows that it will be used on as well; None: only on runs as
                long as these.
        """
        return self

    def told(self) -> str:
        """What it makes of noise, in words."""
        return "the frames as they are"

    def config(self) -> dict[str, Any]:
        """What `vgbdm.registry.build.build` makes this path of again."""
        kind = type(self)
        arguments = {name: getattr(self, name) for name in inspect.signature(kind).parameters}
        return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **arguments}

    def nodes(self, frames: Tensor, times: Tensor) -> Tensor:
        """What the curves need of each frame.

        Args:
            frames: (B, L, ...).
            times: (B, L), increasing, in the unit the velocity is wanted per.

        Returns:
            (B, L, k, ...), the frame itself first.

        Raises:
            InputError: for too few frames.
        """
        if frames.shape[1] < self.frames:
            raise InputError(
                f"{type(self).__name__}: {frames.shape[1]} frames; it needs at least {self.frames}"
            )
        extras = self.extras(frames, times)
        return torch.stack((frames, *extras), 2) if extras else frames.unsqueeze(2)

    def extras(self, frames: Tensor, times: Tensor) -> tuple[Tensor, ...]:
        """Node values besides the frames, each (B, L, ...)."""
        return ()

    def at_frames(self, nodes: Tensor, times: Tensor) -> PathPoint:
        """State and derivatives at the frames themselves; where curves meet at an angle, the mean.

        Args:
            nodes: (B, L, k, ...) of `nodes`.
            times: (B, L) of the same frames.

        Returns:
            (B, L, ...) each.
        """
        a, b = nodes[:, :-1].flatten(0, 1), nodes[:, 1:].flatten(0, 1)
        length = times.diff(dim=1).flatten()
        begin, end = (self(a, b, length, torch.full_like(length, s)) for s in (0.0, 1.0))
        rows = (len(nodes), nodes.shape[1] - 1)
        return PathPoint(
            *(
                _joined(x.unflatten(0, rows), y.unflatten(0, rows))
                for x, y in zip(begin, end, strict=True)
            )
        )

    @abstractmethod
    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """Points between nodes.

        Args:
            a: (N, k, ...) nodes where the intervals start.
            b: (N, k, ...) nodes where they end.
            length: (N,) Δ.
            s: (N,) positions.
            noise: (N, ...) standard normal draws where `needs_noise`.
        """


def expand(value: Tensor, like: Tensor) -> Tensor:
    """A value (N,) with the axes of frames (N, ...), in their type."""
    return value.to(like.dtype).reshape(value.shape + (1,) * (like.dim() - value.dim()))


def _joined(begin: Tensor, end: Tensor) -> Tensor:
    """(B, L, ...) at frames of values (B, L - 1, ...) where intervals begin and where they end."""
    middle = (begin[:, 1:] + end[:, :-1]) / 2
    return torch.cat((begin[:, :1], middle, end[:, -1:]), 1)
