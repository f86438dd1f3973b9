"""Seconds of optimiser steps: what a run has been trained for, and what a step usually takes.

From a batch being handed over to the step being done. Waiting for data is left out, for it says
nothing of a model; on a device, where the next batch is taken while a step computes, that part of
it which no computing hides is in. The first steps of a process allocate and compile: what they take
above later ones is start-up. Validations and saves are left out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

STARTUP_STEPS, TIMED_STEPS, TIMED_TOGETHER = 3, 12, 4
"""The first steps are slower (allocation, compilation). Of later ones, whose cost may differ by
turns (`vgbdm.training.schedules.Every`), the median of the means of a few counts, so that what else
a machine does for a moment does not set the length of a run; of the last few, for a cost may grow.
"""
EARLY_SHARE = 0.1
"""Of a budget: when so much is trained, the number of steps is planned from fewer than are timed
otherwise."""


def typical(seconds: Sequence[float]) -> float:
    """The median of the means of `TIMED_TOGETHER` steps each."""
    groups = range(0, len(seconds), TIMED_TOGETHER)
    return median(fmean(seconds[k : k + TIMED_TOGETHER]) for k in groups)


class Stopwatch:
    """Adds up the seconds of a run's steps.

    Args:
        clock: ``wall``, or ``cpu``: what the thread that asks has computed, which other programs on
            the machine hardly change.
        trained: seconds of earlier processes of the run; None: a checkpoint of before they were
            counted does not say, and all sums are unknown.
        recent: the last of their steps, each.

    Attributes:
        seconds: of all steps; NaN where unknown.
        recent: of the last steps, without those of start-up.
    """

    def __init__(
        self, clock: str = "wall", trained: float | None = 0.0, recent: Iterable[float] = ()
    ) -> None:
        self.clock = clock
        self.seconds = math.nan if trained is None else trained
        self.recent = list(recent)
        self._startup: list[float] = []
        self._counted = 0

    @classmethod
    def of(cls, state: Mapping[str, Any], clock: str = "wall") -> Stopwatch:
        """Of a checkpoint, see `state`.

        Where it is of before seconds were counted they are unknown, but for steps of a run whose
        first ones were still timed: those few are forgotten.
        """
        begun = state["step"] > 0 and state["total_steps"] is not None
        seconds = state.get("train_seconds", None if begun else 0.0)
        return cls(clock, seconds, state.get("recent_seconds", ()))

    def read(self) -> float:
        """Seconds from some moment."""
        return time.thread_time() if self.clock == "cpu" else time.perf_counter()

    def add(self, seconds: float) -> None:
        """Count a step.

        A step of start-up counts as measured until another one is timed, and from then on no more
        than such steps take.
        """
        self._counted += 1
        self.seconds += seconds
        if self._counted <= STARTUP_STEPS:
            self._startup.append(seconds)
        else:
            self.recent = [*self.recent, seconds][-TIMED_STEPS:]
        if self._startup and self.recent:
            usual = typical(self.recent)
            self.seconds -= sum(max(taken - usual, 0.0) for taken in self._startup)
            self._startup.clear()

    @property
    def known(self) -> float | None:
        """The seconds of all steps, or None."""
        return self.seconds if math.isfinite(self.seconds) else None

    def steps_left(self, budget: float, planned: bool) -> int:
        """Steps that the rest of a budget is for, one at least; 0 while that cannot be said.

        Args:
            budget: seconds of all steps of the run.
            planned: whether steps were planned before, so that few timed ones will do.
        """
        if not self.recent:
            return 0
        if not planned and len(self.recent) < TIMED_STEPS and self.seconds < EARLY_SHARE * budget:
            return 0
        return max(round((budget - self.seconds) / typical(self.recent)), 1)

    def describe(self, steps: int) -> str:
        """So many steps of a run in words, with their seconds."""
        return f"{steps} steps" + (f" in {self.seconds:.4g} s" if self.known is not None else "")

    def state(self) -> dict[str, Any]:
        """For a checkpoint: as JSON."""
        return {"train_seconds": self.known, "recent_seconds": list(self.recent)}
