"""Simulation-free targets: where to ask the field, and what it should answer.

Shapes: ``B`` trajectories, ``L`` frames, ``k`` node values, ``N`` points, ``...`` axes of a
frame.

A path joins two successive frames a, b by a curve x(s), s ∈ [0, 1]. Training asks the field at x(s)
and regresses the curve's own velocity dx/dt = x'(s)/Δ (docs/method.md#paths). What a curve needs of
the frames around it is computed once per frame, by `Path.nodes`; a point then costs two nodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from vgbdm.errors import InputError


class PathPoint(NamedTuple):
    """A point of a path, and the first two derivatives there, each (N, ...)."""

    state: Tensor
    velocity: Tensor
    acceleration: Tensor


class Path(ABC):
    """One way to join successive frames."""

    needs_noise = False
    """Whether points take normal draws."""
    frames = 2
    """Frames it needs at least."""

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
