"""What may stand in ``state.json``, and how a run that goes on differs from it.

A resumed run is given its whole config anew. What decides how it computes may change:
``backend``, ``trainer``, and upward its number of steps; what only says where things lie is for
``must_match`` to judge, by their content; the rest makes another run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vgbdm.errors import InputError
from vgbdm.training.course import Course

LARGEST_EXACT = 2**52
"""Steps and samples that are exact as float64, by which ranks agree."""
SHOWN_CHANGES = 6
"""Differences that a line names."""
FREE_PARTS = ("trainer.", "backend.")
"""Of a config; what is under them may change."""
ALWAYS = ("resume", "run_dir", "plugins")
"""Are given anew each time."""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_EXACT


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_guard(value: Any) -> bool:
    if not isinstance(value, dict) or not all(
        _is_count(value.get(name)) for name in ("skipped", "in_a_row")
    ):
        return False
    recent = value.get("recent_losses", {})
    return isinstance(recent, dict) and all(
        isinstance(losses, list) and all(map(_is_number, losses)) for losses in recent.values()
    )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _or_none(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 <= value < math.inf


def _is_course(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"step", "share", "looked"}
        and _is_count(value["step"])
        and all(_is_number(value[name]) and 0 <= value[name] < 1 for name in ("share", "looked"))
    )


STATE_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "step": (_is_count, "a number of steps"),
    "total_steps": (_or_none(_is_count), "a number of steps, or null"),
    "course": (_is_course, "what the plan of the run was corrected to"),
    "train_seconds": (_or_none(_is_seconds), "a number of seconds, or null"),
    "recent_seconds": (
        lambda value: isinstance(value, list) and all(map(_is_seconds, value)),
        "a list of seconds",
    ),
    "samples": (_is_count, "a number of samples"),
    "best": (_or_none(lambda v: _is_number(v) and math.isfinite(v)), "a score, or null"),
    "waited": (_is_count, "a number of validations"),
    "looked": (lambda value: value == -1 or _is_count(value), "a number of steps, or -1"),
    "guard": (_is_guard, "what the guard of losses has seen"),
    "must_match": (_is_object, "an object"),
    "rebuild": (_or_none(_is_object), "an object"),
    "config": (_is_object, "an object"),
    "changes": (
        lambda value: isinstance(value, list) and all(map(_is_object, value)),
        "a list of objects",
    ),
    "software": (lambda value: isinstance(value, str), "a text"),
}
"""Name in ``state.json`` → whether a value may stand there, and what is wanted, in words."""


def check_kinds(state: Mapping[str, Any], path: Path, needed: Sequence[str] = ()) -> None:
    """Refuse a state whose values are of another kind than was written.

    Args:
        state: as read.
        path: of its file.
        needed: names that it must have.

    Raises:
        InputError: naming the file and the value.
    """
    for name in needed:
        if name not in state:
            raise InputError(f"{path}: says nothing of {name}; use another checkpoint")
    for name, (test, wanted) in STATE_KEYS.items():
        if name in state and not test(state[name]):
            raise InputError(
                f"{path}: {name} is {_short(state[name])}, want {wanted}; use another checkpoint"
            )


def _short_pair(before: Any, now: Any) -> str:
    """Two values that differ, so short that it is seen where they do."""
    first, second = repr(before), repr(now)
    pairs = enumerate(zip(first, second, strict=False))
    alike = next((k for k, (a, b) in pairs if a != b), min(len(first), len(second)))
    cut = alike - 10 if alike >= 30 else 0
    mark = "…" if cut else ""
    return f"{mark}{_cut(first[cut:])} → {mark}{_cut(second[cut:])}"


def _short(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


Changes = dict[str, tuple[Any, Any]]
"""Name in the config → before, now; None stands for what is not there."""


def config_differences(before: Any, now: Any, name: str = "") -> Changes:
    """Where two configs differ, down to their plain values and lists.

    An empty list is as one that is not there: options come, and runs from before did without.
    """
    first, second = (side if isinstance(side, dict) else {} for side in (before, now))
    if not first and not second:
        return {} if before == now else {name: (before, now)}
    found: Changes = {}
    for key in sorted(first.keys() | second.keys()):
        if first.get(key, []) == second.get(key, []):
            continue
        inner = f"{name}.{key}" if name else str(key)
        found |= config_differences(first.get(key), second.get(key), inner)
    return found


def allowed_changes(
    before: Mapping[str, Any], now: Mapping[str, Any], free: Sequence[str], folder: Path
) -> Changes:
    """How the config of a resumed run differs from before.

    Args:
        before: config of the checkpoint.
        now: that of the run which goes on from it.
        free: names, or beginnings that end in a dot, of what may differ besides `FREE_PARTS`.
        folder: of the checkpoint, for the message.

    Returns:
        What may change, and is new to the run.

    Raises:
        InputError: naming all that may not.
    """
    found = config_differences(dict(before), dict(now))
    if found.get("init", (None, None))[1] is None:
        found.pop("init", None)  # it was for the first start
    allowed: Changes = {}
    refused: Changes = {}
    for name, change in found.items():
        if name in (*ALWAYS, *free) or name.startswith(tuple(f for f in free if f.endswith("."))):
            continue
        (allowed if name.startswith(FREE_PARTS) else refused)[name] = change
    if refused:
        raise InputError(
            f"{folder}: {describe_changes(refused)}; resume with the data and options it was "
            f"started with, or begin another run from it: init={folder.parent.parent}"
        )
    return allowed


def describe_changes(changes: Changes) -> str:
    """The first few in words."""
    texts = [f"{name} {_short_pair(*pair)}" for name, pair in list(changes.items())[:SHOWN_CHANGES]]
    more = [f"and {len(changes) - SHOWN_CHANGES} more"] if len(changes) > SHOWN_CHANGES else []
    return ", ".join(texts + more)


def describe_difference(name: str, before: Any, now: Any) -> str:
    """How a fact of a run differs from that of another: of configs only what differs, in words."""
    both = isinstance(before, dict) and isinstance(now, dict)
    told = describe_changes(config_differences(before, now, name)) if both else ""
    return told or f"{name} is {before}, this run has {now}"


def course_of(state: Mapping[str, Any], changes: Changes, plan: Any, folder: Path) -> Course:
    """How far a run that goes on is, and where it ends.

    Without a change it has the plan that it had. Of a length that is given anew, schedules are at
    the share of the whole that is done.

    Args:
        state: of the checkpoint.
        changes: what `allowed_changes` gave.
        plan: of the run that goes on, see `vgbdm.training.plan.Plan`.
        folder: of the checkpoint, for messages.

    Raises:
        InputError: if steps or minutes are to become fewer, or the checkpoint does not say for how
            long it was trained.
    """
    held = Course.of(state)
    if plan.max_minutes is not None and "trainer.max_minutes" in changes and held.total is not None:
        return _longer(state, changes["trainer.max_minutes"][0], plan.max_minutes, folder)
    if held.total is None:
        return Course(None if plan.max_minutes else plan.total_steps)
    if plan.max_minutes is None and "trainer.total_steps" in changes:
        if plan.total_steps < held.total:
            raise InputError(
                f"{folder}: trainer.total_steps={plan.total_steps} is below the {held.total} of "
                "the run; only more can be given on the way"
            )
        return Course(int(plan.total_steps))
    return held


def _longer(state: Mapping[str, Any], before: float | None, minutes: float, folder: Path) -> Course:
    """The course of a run whose budget of time is another one than it was."""
    seconds, step = state.get("train_seconds"), state["step"]
    if seconds is None:
        raise InputError(
            f"{folder}: trainer.max_minutes={minutes:g} comes too late, the run does not say how "
            f"long its {step} steps took; give trainer.max_minutes=null trainer.total_steps=…"
        )
    least = max(before or 0.0, seconds / 60)
    if minutes <= least:
        raise InputError(
            f"{folder}: trainer.max_minutes={minutes:g} is not above the {least:.3g} of the run; "
            "only more can be given on the way"
        )
    if not step or not seconds:
        return Course(None)
    share = seconds / (60 * minutes)
    return Course(max(round(step / share), step + 1), step, share, share)
