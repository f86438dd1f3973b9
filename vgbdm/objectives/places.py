"""Which window is encoded, and where the field is asked (docs/method.md#windows).

Shapes: ``B`` samples, ``L`` frames, ``T`` frames of a window, ``K`` of a history, ``M`` matches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.options.kinds import Seed, Size
from vgbdm.randomness import keyed_uniform
from vgbdm.registry.marks import buildable


class Places(NamedTuple):
    """Drawn places: windows' first frames (B,), intervals (B, M), positions inside them (B, M)."""

    start: Tensor
    interval: Tensor
    s: Tensor


Intervals = Literal["trajectory", "window", "after"]


class Sampler(ABC):
    """Draws windows and matches, keyed by (seed, sample).

    Args:
        matches: M, per window.
        seed: of the run.
    """

    noise = "matching"
    """What normal numbers of the matches are keyed by beside seed and sample."""

    def __init__(self, matches: int, seed: int) -> None:
        self.matches, self.seed = matches, seed

    @abstractmethod
    def __call__(
        self, ids: Tensor, frames: int, window: int, history: int, edge: int = 0
    ) -> Places:
        """Places for a batch; an interval has ``history`` frames up to its start.

        Args:
            ids: (B,) of the samples.
            frames: L.
            window: T.
            history: K, at least 1.
            edge: intervals at either end of the frames that a path cannot match; fewer where the
                frames are few.
        """


@buildable
class LastInterval(Sampler):
    """One match, anywhere in the last interval of the frames; the window ends with them.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: Seed) -> None:
        super().__init__(1, seed)

    def __call__(
        self, ids: Tensor, frames: int, window: int, history: int, edge: int = 0
    ) -> Places:
        """See `Sampler`."""
        start = torch.full_like(ids, max(frames - window, 0))
        s = keyed_uniform(self.seed, "positions", ids, 1).float()  # as states are
        return Places(start, torch.full_like(ids, frames - 2)[:, None], s)


@buildable
class WindowSampler(Sampler):
    """Many matches of one window, stratified over their span.

    Half of the windows start at the first frame, where evaluation encodes; the others anywhere.

    Args:
        matches: M, per window.
        intervals: ``trajectory``: over the whole trajectory; ``window``: inside the window;
            ``after``: behind it, as published — the posterior's width is then not calibrated.
        seed: of the run.

    Raises:
        InputError: for another word.
    """

    noise = "bridge"

    def __init__(self, matches: Size, intervals: Intervals, seed: Seed) -> None:
        if intervals not in get_args(Intervals) or matches < 1:
            raise InputError(
                f"sampling: intervals={intervals}, matches={matches}; want trajectory, window or "
                "after, and at least 1"
            )
        super().__init__(matches, seed)
        self.intervals = intervals

    def __call__(
        self, ids: Tensor, frames: int, window: int, history: int, edge: int = 0
    ) -> Places:
        """See `Sampler`."""
        draws = keyed_uniform(self.seed, "windows", ids, 2 + self.matches)
        last = frames - window - (self.intervals == "after")
        start = first_frames(draws, last)
        edge = min(edge, frames // 10)
        low = torch.full_like(start, max(history - 1, edge))
        high = torch.full_like(start, frames - 1 - edge)
        if self.intervals == "window":
            low = torch.maximum(low, start)
            high = torch.minimum(high, start + window - 1)
        elif self.intervals == "after":
            low = torch.minimum(torch.maximum(low, start + window - 1), high - 1)
        strata = torch.arange(self.matches, device=draws.device) + draws[:, 2:]
        place = low[:, None] + strata / self.matches * (high - low)[:, None]
        interval = torch.minimum(place.floor().long(), high[:, None] - 1)
        return Places(start, interval, (place - interval).clamp(0, 1))


def first_frames(draws: Tensor, last: int) -> Tensor:
    """Frame 0 for half of the samples, else uniform in 0 … last, from two uniforms (B, ≥ 2)."""
    anywhere = frames_between(draws[:, 1], 0, last)
    return torch.where(draws[:, 0] < 0.5, torch.zeros_like(anywhere), anywhere)


def frames_between(draws: Tensor, first: int, last: int) -> Tensor:
    """Uniform in first … last, from uniforms (B,)."""
    return first + (draws * (last - first + 1)).floor().long()


def gather(values: Tensor, index: Tensor) -> Tensor:
    """values[b, index[b, m]]: (B, L, ...) and (B, M) → (B, M, ...)."""
    rows = values.shape[1] * torch.arange(len(values), device=values.device)[:, None] + index
    # whole frames are copied; indexing by both axes goes through them number by number, and so does
    # selecting from frames that lie apart, as those among nodes do
    whole = values.contiguous().flatten(0, 1)
    return whole.index_select(0, rows.flatten()).unflatten(0, index.shape)


def span(start: Tensor, count: int) -> Tensor:
    """start, start + 1, …: (B, ...) → (B, ..., count)."""
    return start[..., None] + torch.arange(count, device=start.device)
