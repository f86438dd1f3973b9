"""Numbers that change during training: pure functions of (step, total_steps).

A schedule keeps no state, so that a resumed run has the same value at the same step. Before the
length of a run is known, ``total_steps`` is None and a schedule stands at its start. Where that
length is corrected on the way, ``total_steps`` need not be whole: step ÷ total_steps is the share
of the run that is done, see `vgbdm.training.course`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import MinLen

from vgbdm.errors import InputError
from vgbdm.options.kinds import Below, Count, NotNegative, Positive, Share, WholeNumber
from vgbdm.registry.marks import buildable

if TYPE_CHECKING:
    from vgbdm.training.backends.steps import ParameterGroup

Schedule = Callable[[int, float | None], float]


def progress_of(step: int, total_steps: float | None) -> float:
    """Share of the run that lies behind ``step``, 0 to 1."""
    return min(step / max(total_steps, 1), 1.0) if total_steps else 0.0


@buildable
@dataclass(frozen=True)
class Constant:
    """Always ``value``.

    Attributes:
        value: at every step.
    """

    value: NotNegative

    def __call__(self, step: int, total_steps: float | None) -> float:
        """The value."""
        return self.value


@buildable
@dataclass(frozen=True)
class Every:
    """``value`` at every ``period``-th step, else 0, for a term that costs much.

    Steps of a period are timed together where ``period`` divides `stopwatch.TIMED_TOGETHER`.

    Attributes:
        value: at some steps.
        period: how many steps one of them stands for.
    """

    value: NotNegative
    period: Count

    def __post_init__(self) -> None:
        """Refuse what is no period."""
        if self.period < 1:
            raise InputError(f"schedule Every: period={self.period}; want at least 1")

    def __call__(self, step: int, total_steps: float | None) -> float:
        """The value at ``step``."""
        return self.value if step % self.period == 0 else 0.0


@buildable
@dataclass(frozen=True)
class Phases:
    """The number of the phase that a run is in: 0, then 1 from the first of ``ends`` on, and so on.

    A phase whose end is where the one before ends is left out.

    Attributes:
        ends: shares of the run at which all phases end but the last, ascending.
    """

    ends: Annotated[Sequence[Share], MinLen(1)]

    def __post_init__(self) -> None:
        """Refuse ends out of order."""
        if list(self.ends) != sorted(self.ends) or not all(0 <= end <= 1 for end in self.ends):
            raise InputError(
                f"schedule Phases: ends={list(self.ends)}; want shares of the run, 0 to 1, none "
                "below the one before"
            )

    def __call__(self, step: int, total_steps: float | None) -> float:
        """The phase at ``step``."""
        share = progress_of(step, total_steps)
        return float(sum(share >= end for end in self.ends))


@buildable
@dataclass(frozen=True)
class Linear:
    """A straight ramp from ``start`` to ``end`` between two shares of the run.

    Attributes:
        start: until the ramp begins.
        end: after it.
        begin: share of the run at which the ramp begins.
        finish: share of the run at which it ends.
    """

    start: NotNegative
    end: NotNegative
    begin: Annotated[Share, Below("finish")] = 0.0
    finish: Share = 1.0

    def __post_init__(self) -> None:
        """Refuse a ramp without a length."""
        if not self.begin < self.finish:
            raise InputError(
                f"schedule Linear: begin={self.begin} finish={self.finish}; want it to begin before"
            )

    def __call__(self, step: int, total_steps: float | None) -> float:
        """The value at ``step``."""
        share = (progress_of(step, total_steps) - self.begin) / (self.finish - self.begin)
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)


@buildable
@dataclass(frozen=True)
class Geometric:
    """From ``start`` to ``end`` by equal ratios; both positive.

    Attributes:
        start: at the beginning of the run.
        end: at its end.
    """

    start: Positive
    end: Positive

    def __post_init__(self) -> None:
        """Refuse what has no ratio."""
        if not 0 < self.start < math.inf or not 0 < self.end < math.inf:
            raise InputError(
                f"schedule Geometric: start={self.start} end={self.end}; want numbers above 0"
            )

    def __call__(self, step: int, total_steps: float | None) -> float:
        """The value at ``step``."""
        return self.start * (self.end / self.start) ** progress_of(step, total_steps)


@buildable
@dataclass(frozen=True)
class WarmupCosine:
    """A linear warm-up over ``warmup`` steps to ``peak``, then half a cosine to ``floor`` · peak.

    Source: Loshchilov & Hutter 2017, without restarts.

    Attributes:
        peak: largest learning rate.
        warmup: steps until then.
        floor: share of the peak at the end.
    """

    peak: Positive
    warmup: WholeNumber = 20
    floor: Share = 0.01

    def __post_init__(self) -> None:
        """Refuse a rate that climbs the loss, and what is no number."""
        for name in ("peak", "warmup", "floor"):
            if not isinstance(getattr(self, name), int | float):
                raise InputError(f"rate.{name}={getattr(self, name)}: want a number")
        if not 0 < self.peak < math.inf:
            raise InputError(f"rate.peak={self.peak}: want a finite number above 0")
        if not 0 <= self.floor <= 1 or self.warmup < 0:
            raise InputError(
                f"rate.floor={self.floor} rate.warmup={self.warmup}: want a share of the peak, "
                "0 to 1, and no negative number of steps"
            )

    def __call__(self, step: int, total_steps: float | None) -> float:
        """The value at ``step``."""
        rise = min((step + 1) / max(self.warmup, 1), 1.0)
        fall = 0.5 * (1.0 + math.cos(math.pi * progress_of(step, total_steps)))
        return self.peak * rise * (self.floor + (1.0 - self.floor) * fall)


@buildable
@dataclass(frozen=True)
class Growing:
    """Whole numbers from ``start`` to ``end``, each for an equal share of the run.

    Attributes:
        start: first of the numbers.
        end: last of them.
    """

    start: Annotated[Count, Below("end", True)]
    end: Count

    def __post_init__(self) -> None:
        """Refuse what would not grow."""
        if not 1 <= self.start <= self.end:
            raise InputError(
                f"schedule Growing: start={self.start} end={self.end}; want 1 ≤ start ≤ end"
            )

    def __call__(self, step: int, total_steps: float | None) -> float:
        """The number at ``step``."""
        count = self.end - self.start + 1
        return float(self.start + min(int(progress_of(step, total_steps) * count), count - 1))


def check_rates(rate: Schedule, groups: Sequence[ParameterGroup], total: int | None) -> None:
    """Refuse what would climb the loss, or make weights grow.

    Raises:
        InputError: for a learning rate, a multiple of it or a decay that is negative or no number.
    """
    held = [("rate", rate(step, total)) for step in (0, total or 0)]
    held += [("a group's multiple of the rate", group.rate_factor) for group in groups]
    held += [("weight_decay", group.weight_decay) for group in groups]
    for name, value in held:
        if not 0 <= value < math.inf:
            raise InputError(f"{name} is {value}: want a finite number, none below 0")
