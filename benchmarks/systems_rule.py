"""The one rule of the systems' table: in what its rows may differ, and why.

`unequal` holds the resolved configs of rows against each other, `uneven` the lists of trials. What
is not named here is the same in every row: encoder, features, residual inputs, latents, solver,
optimiser, rate, clipping, weight decay, selection on validation data, and length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

GREY = {
    "objective": "it is what the rows compare: the loss, its weights and its own horizon",
    "batch": "trajectories per step: where each is simulated, fewer fit; seconds are alike",
    "trainer.nonfinite": "rows that simulate leave out a step whose simulation overflows: it ended "
    "APHYNITY's training on RLC from four of six seeds; a loss that matches does not overflow",
    "model.unmixing": "the encoder that PhysVAE's second regulariser is about; others have none",
}
"""Keys in which grey rows may differ, with all below them, and why."""
BLACK_BOX = GREY | {
    "model.grey": "a black box is given no physics",
    "model.residual_inputs": "it learns the whole rate, which depends on the whole state",
    "model.network": "as many parameters as beside the physics (± 5 %), and neighbours on a grid",
}
"""The same of a black box and a grey row."""
TUNED = ("objective", "rate.peak", "backend.clip", "weight_decay")
"""Keys that a trial may set, with all below them."""
FEWEST_TRIALS = 3


def entries(node: Any, place: str = "") -> dict[str, Any]:
    """The leaves of a resolved config by dotted key; lists are leaves."""
    if not isinstance(node, Mapping):
        return {place: node}
    found: dict[str, Any] = {}
    for name, value in node.items():
        found |= entries(value, f"{place}.{name}" if place else str(name))
    return found


def covered(key: str, names: Iterable[str]) -> bool:
    """Whether a dotted key is one of the names, or below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def unequal(rows: Mapping[str, Mapping[str, Any]], tuned: Sequence[str] = ()) -> list[str]:
    """What the rule forbids in rows of one system and one choice of inputs.

    Args:
        rows: resolved config of a training by the name of its row; the first grey one is the
            measure of all others.
        tuned: further keys that may differ, because every row had as many trials of them.

    Returns:
        One line per difference.
    """
    measure = next(name for name, row in rows.items() if row["model"]["grey"])
    first, said = entries(rows[measure]), []
    for name, row in rows.items():
        allowed = (*(GREY if row["model"]["grey"] else BLACK_BOX), *tuned)
        other = entries(row)
        for key in sorted({*first, *other}):
            a, b = first.get(key), other.get(key)
            if a != b and not covered(key, allowed):
                said.append(f"{key}: {b} in {name}, {a} in {measure}")
    return said


def uneven(trials: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """What the rule forbids in lists of trials: unlike counts, too few, keys that are not tuned.

    Args:
        trials: overrides of each trial, by row.
    """
    said, most = [], max(len(lists) for lists in trials.values())
    for row, lists in trials.items():
        if len(lists) != most or len(lists) < FEWEST_TRIALS:
            said.append(f"{row}: {len(lists)} trials; want as many as others, {most}, and at least "
                        f"{FEWEST_TRIALS}")  # fmt: skip
        if len({tuple(sorted(overrides)) for overrides in lists}) != len(lists):
            said.append(f"{row}: a trial is there twice")
        keys = [override.lstrip("+").partition("=")[0] for one in lists for override in one]
        said += [f"{row}: {key} is not tuned" for key in keys if not covered(key, TUNED)]
    return said
