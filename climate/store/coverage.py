"""What a store's times are good for: the windows of each split, and every gap.

Shapes: ``T`` times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from climate.conventions.calendar import SPLITS, Period, find_gaps, inside, is_monthly
from climate.conventions.wording import date, duration, period
from climate.store.layout import TrainingStore

USUAL_STEP = np.timedelta64(6 * 3600, "s")
"""Of models, see configs/task; where a store's step divides it."""
HISTORY, AHEAD = 3, 1
"""States before and after the current one that training takes by default."""
SHOWN_GAPS = 10
"""Gaps that are listed; more are counted."""


def describe_times(store: TrainingStore) -> list[str]:
    """One line per split, with its windows, then one per gap."""
    lines = [_split_line(store, name, store.splits[name]) for name in SPLITS]
    gaps = find_gaps(store.times, store.step)
    lines += [f"gap         {gap_text(gap, store.step)}" for gap in gaps[:SHOWN_GAPS]]
    if len(gaps) > SHOWN_GAPS:
        lines.append(f"gap         and {len(gaps) - SHOWN_GAPS} more")
    return lines


def gap_text(gap: Sequence[np.datetime64], step: np.timedelta64) -> str:
    """A gap: the times around it, and how many steps are missing in between."""
    unit = "datetime64[M]" if is_monthly(step) else "datetime64[s]"
    missing = int((gap[1].astype(unit) - gap[0].astype(unit)) // step) - 1
    count = f"{missing} step{'' if missing == 1 else 's'} of {duration(step)}"
    return f"{date(gap[0])} … {date(gap[1])}: {count} missing between them"


def model_step(step: np.timedelta64) -> np.timedelta64:
    """The step of the usual model of a store: 6 h where the store's step divides that."""
    if is_monthly(step) or USUAL_STEP % step != np.timedelta64(0):
        return step
    return USUAL_STEP


def _split_line(store: TrainingStore, name: str, ends: Period) -> str:
    step, held = model_step(store.step), np.flatnonzero(inside(store.times, ends))
    anchors = store.anchors(name, step, HISTORY, AHEAD)
    many = f"{len(anchors)} window{'' if len(anchors) == 1 else 's'}"
    windows = f"{many} of {HISTORY + 1 + AHEAD} states {duration(step)} apart"
    used = np.zeros(len(store.times), bool)
    used[store.frames(anchors, np.arange(-HISTORY, AHEAD + 1) * store.stride(step))] = True
    idle = int((~used[held]).sum())
    line = f"{name:11} {period(*ends)}: {len(held)} times, {windows}"
    return f"{line}; {idle} times are in none" if idle else line
