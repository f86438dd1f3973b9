"""Schedules are held against what an objective reads of them: a misspelt one would do nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vgbdm.errors import InputError
from vgbdm.options.nearest import one_of
from vgbdm.options.signatures import constant_of


def check_schedules(
    place: str,
    schedules: Mapping[str, Any],
    objective: Mapping[str, Any],
    more: Sequence[str] = (),
) -> None:
    """Refuse schedules that nothing reads.

    Args:
        place: dotted key of the schedules.
        schedules: by name.
        objective: node; its class says in ``SCHEDULES`` what it reads. One that says nothing is
            not held to anything.
        more: names that others read.

    Raises:
        InputError: for another name.
    """
    target = str(objective["_target_"])
    known = constant_of(target, "SCHEDULES")
    if not known:
        return
    known = tuple(dict.fromkeys((*known, *more)))
    for name in schedules:
        if name not in known:
            raise InputError(
                f"{place}.{name}: {target.rpartition('.')[2]} reads no such schedule"
                f"{one_of(name, known)}"
            )
