"""How long a run is, and when it looks, saves and stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from vgbdm.errors import InputError
from vgbdm.options.kinds import Budget, Count, Unit, With
from vgbdm.training.backends.base import COLLECTIVE_MINUTES


@dataclass(frozen=True)
class Plan:
    """How long to train and when to stop and look.

    Attributes:
        total_steps: optimiser steps, unless ``max_minutes`` is given.
        max_minutes: minutes of optimiser steps instead, without start-up, validations and saves;
            the first steps are timed, and the number of steps is corrected on the way.
        clock: of those minutes: ``wall``, or ``cpu``, what one thread has computed, for comparisons
            on a machine with other work.
        validations: how many, evenly spread, the last at the end.
        keep: checkpoints kept besides best and last.
        save_minutes: time between checkpoints, besides those of validations; None: only those.
        patience: validations without a better score after which a run ends; None: never.
        hang_minutes: without progress after which a run is ended.
        nonfinite: ``stop`` or ``skip`` a step whose loss or gradient is not finite.
        max_skips: steps skipped one after the other; the next one stops the run.
        explosion: a loss above this multiple of the median of recent ones is treated alike; None:
            never.
    """

    total_steps: Count = 1000
    max_minutes: Budget | None = None
    clock: Literal["wall", "cpu"] = "wall"
    validations: Count = 5
    keep: Count = 1
    save_minutes: Annotated[float, Ge(0.001), Unit("minutes")] | None = 10.0
    patience: Count | None = None
    hang_minutes: Annotated[float, Interval(ge=0.1, lt=COLLECTIVE_MINUTES), Unit("minutes")] = 10.0
    nonfinite: Literal["stop", "skip"] = "stop"
    max_skips: Annotated[Count, With("nonfinite", "skip")] = 5
    explosion: Annotated[float, Gt(1)] | None = None

    def __post_init__(self) -> None:
        if self.total_steps < 1 or self.validations < 1 or self.keep < 1:
            raise InputError("trainer: total_steps, validations and keep must be at least 1")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"trainer.patience={self.patience}: at least 1, or null for never")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise InputError(f"trainer.max_minutes={self.max_minutes}: must be positive")
        if self.save_minutes is not None and not self.save_minutes > 0:
            raise InputError(f"trainer.save_minutes={self.save_minutes}: positive, or null")
        if not 0 < self.hang_minutes < COLLECTIVE_MINUTES:
            raise InputError(
                f"trainer.hang_minutes={self.hang_minutes}: want more than 0 and less than "
                f"{COLLECTIVE_MINUTES}, after which processes no longer wait for each other"
            )
