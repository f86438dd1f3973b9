"""How far a run is and where it ends, for runs whose number of steps is corrected on the way.

The share of a run that is done goes from 0 to 1, and never jumps: where the number of steps
changes, what is left of the share is spread over what is left of the steps. Schedules, validations
and corrections follow the share. A run of a given number of steps is one course from beginning to
end: its share is step ÷ steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CORRECTIONS = 50
"""Of a plan, evenly spread over the run, besides those at validations: what a step costs may change
as schedules go on, and what the last part is misjudged by is the error of the whole."""
SAME = 1e-9
"""Shares of a run that differ by less are one."""


@dataclass(frozen=True)
class Course:
    """A run from its last correction to its end.

    Attributes:
        total: optimiser steps of the whole run; None while the first ones are timed.
        step: at the last correction.
        share: of the run that was done then.
        looked: share of the run whose validations were due by then.
    """

    total: int | None
    step: int = 0
    share: float = 0.0
    looked: float = 0.0

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Course:
        """Of a checkpoint; one from before plans were corrected is one course."""
        return cls(state["total_steps"], **state.get("course", {}))

    def state(self) -> dict[str, Any]:
        """For a checkpoint: as JSON."""
        corrected = {"step": self.step, "share": self.share, "looked": self.looked}
        return {"total_steps": self.total, "course": corrected}

    def share_at(self, step: int) -> float:
        """Share of the run that is done, 0 to 1; 0 while the first steps are timed."""
        if self.total is None:
            return 0.0
        left = max(self.total - self.step, 1)
        return min(self.share + (1.0 - self.share) * ((step - self.step) / left), 1.0)

    def length_at(self, step: int) -> float | None:
        """Steps that a run would have which is so far after ``step`` steps: what schedules take.

        That is the total until the plan is corrected. None at the beginning of a timed run, where
        schedules stand at their start.
        """
        if self.total is None or (self.step, self.share) == (0, 0.0):
            return self.total
        share = self.share_at(step)
        return step / share if share > 0 else None

    def looks(self, count: int) -> set[int]:
        """Steps after which a validation is due, from here on; the last is the end.

        Args:
            count: validations of the whole run, evenly spread over it.
        """
        if self.total is None:
            return set()
        return {*self._places(count).values(), self.total}

    def _places(self, count: int) -> dict[int, int]:
        """The number of each validation that is to come, but for the last → its step."""
        assert self.total is not None
        left, width = self.total - self.step, count * (1.0 - self.share)
        to_come = (k for k in range(1, count) if k / count > self.looked + SAME)
        shares = {k: (k - self.share * count) for k in to_come}
        return {
            k: min(self.step + max(round(left * share / width), 1), self.total)
            for k, share in shares.items()
        }

    def is_correction(self, step: int) -> bool:
        """Whether the plan is to be looked at again: at `CORRECTIONS` shares of the run."""
        if self.total is None or step >= self.total:
            return False
        following = int(self.share * CORRECTIONS + SAME) + 1
        return self.share_at(step) + SAME >= following / CORRECTIONS

    def corrected(self, step: int, total: int, count: int) -> Course:
        """The course from ``step`` on, to another end.

        Args:
            step: where the run is.
            total: steps that it will have made at its end, more than ``step``.
            count: its validations; those that were due are not due again.
        """
        if self.total is None:
            return Course(total, step)
        behind = [k / count for k, due in self._places(count).items() if due <= step]
        return Course(total, step, self.share_at(step), max([self.looked, *behind]))
