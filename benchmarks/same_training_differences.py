"""How far the records of two runs are apart: logs, gradients, weights.

Differences are relative to the largest of a tensor or, in a log, to the larger of the two numbers,
so that a part is held to its own size and not to that of the whole. What is below a thousandth of
the largest of all tensors (in a log: of its column) is measured against that thousandth: there are
gradients which are 0 in exact arithmetic, as that of a bias before a norm, and which are all
rounding.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

FLOOR = 1e-3
TOLERANCE = 1e-6
CLOCKED = ("samples_per_second", "train_seconds")
"""Columns of a log that tell of time."""


class MismatchError(Exception):
    """Two records are not of the same things."""


class Difference(NamedTuple):
    """The largest relative differences of two runs.

    The score of validations is not judged: it is that of forecasts, which multiply rounding.
    """

    steps: int
    loss: float
    gradient: float
    weights: float
    score: float
    equal: bool
    """Bit for bit; in logs, to the digits that are written: ten, enough for a float32."""
    where: str = ""
    """What differs most."""
    notes: str = ""

    @property
    def fault(self) -> bool:
        """Whether it is more than rounding."""
        return not max(self.loss, self.gradient, self.weights) <= TOLERANCE


def relative(a: float, b: float, floor: float) -> float:
    """|a - b| by the larger of the two and the floor; two NaN are alike, one alone is far."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    distance = abs(a - b) / max(abs(a), abs(b), floor)
    return distance if math.isfinite(distance) else math.inf


def read_log(path: Path) -> dict[str, list[float]]:
    """Columns of a CSV file; NaN where there is nothing."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else ()) if name not in CLOCKED]
    return {name: [float(row[name] or "nan") for row in rows] for name in names}


def log_difference(
    base: dict[str, list[float]], head: dict[str, list[float]]
) -> tuple[float, str, set[str]]:
    """The largest difference of columns that both have, its column, and the columns of one alone.

    Raises:
        MismatchError: where the steps are others, or one has no common column.
    """
    if base.get("step") != head.get("step") or len(base.keys() & head.keys()) < 2:
        raise MismatchError("the logs are not of the same steps and columns")
    found = [(0.0, "")]
    for name in base.keys() & head.keys():
        finite = [abs(x) for x in base[name] + head[name] if math.isfinite(x)]
        floor = FLOOR * max(finite, default=0.0)
        pairs = zip(base[name], head[name], strict=True)
        found.append((max(relative(a, b, floor) for a, b in pairs), name))
    return *max(found), base.keys() ^ head.keys()


def pair(
    base: Sequence[str], head: Sequence[str], shapes: tuple[Sequence[Any], Sequence[Any]]
) -> tuple[list[tuple[int, int]], int]:
    """Which parameter is which: by name, and those that were renamed in their order.

    Args:
        base: names.
        head: names.
        shapes: of both.

    Returns:
        Places in both, and how many were paired by order.

    Raises:
        MismatchError: where that leaves one over, or pairs unlike shapes.
    """
    known = {name: place for place, name in enumerate(head)}
    pairs = [(place, known[name]) for place, name in enumerate(base) if name in known]
    old = [place for place, name in enumerate(base) if name not in known]
    new = [place for place, name in enumerate(head) if name not in set(base)]
    if len(old) != len(new):
        raise MismatchError(f"{len(base)} parameters in base, {len(head)} in head")
    pairs += zip(old, new, strict=True)
    for a, b in pairs:
        if shapes[0][a] != shapes[1][b]:
            raise MismatchError(f"{base[a]} and {head[b]} are of unlike shapes")
    return sorted(pairs), len(old)


def tensor_difference(
    pairs: Iterable[tuple[int, int]], base: Sequence[Tensor | None], head: Sequence[Tensor | None]
) -> tuple[float, int, bool]:
    """The largest difference, the place in base where it is, and whether all bits are equal."""
    both = [(a, base[a], head[b]) for a, b in pairs]
    sizes = [float(x.abs().max()) for _, *two in both for x in two if x is not None and x.numel()]
    finite = [size for size in sizes if math.isfinite(size)]
    floor, found, equal = FLOOR * max(finite, default=0.0), [(0.0, -1)], True
    for place, a, b in both:
        if a is None or b is None:
            equal &= a is b
            found.append((0.0 if a is b else math.inf, place))
        elif not torch.equal(a, b):
            equal = False
            wide, other = a.double(), b.double()
            size = max(float(wide.abs().max()), float(other.abs().max()), floor)
            distance = float((wide - other).abs().max()) / size
            found.append((distance if math.isfinite(distance) else math.inf, place))
    return *max(found), equal


def record_difference(base: dict[str, Any], head: dict[str, Any]) -> tuple[Difference, str]:
    """Of what two ranks have recorded; loss and score are not in it. And what differs most."""
    names = base["names"]
    shapes = tuple([w.shape for w in record["weights"]] for record in (base, head))
    pairs, moved = pair(names, head["names"], shapes)
    gradients = [
        tensor_difference(pairs, *two)
        for two in zip(base["gradients"], head["gradients"], strict=True)
    ]
    gradient, place, _ = max(gradients)
    weights, heaviest, alike = tensor_difference(pairs, base["weights"], head["weights"])
    alike &= all(same for *_, same in gradients)
    where = "" if alike else f"gradient of {names[place]}, weights {names[heaviest]}"
    notes = f"{moved} parameters by order" if moved else ""
    return Difference(0, 0.0, gradient, weights, 0.0, alike, where, notes), notes


def compare(base: Path, head: Path) -> Difference:
    """Two runs, each of a folder of ``run/`` and of a record of each rank.

    Raises:
        MismatchError: where they cannot be compared.
    """
    logs = [read_log(place / "run" / "log.csv") for place in (base, head)]
    scores = [read_log(place / "run" / "validation.csv") for place in (base, head)]
    loss, column, lone = log_difference(*logs)
    score, _, _ = log_difference(*scores)
    files = [sorted(path.name for path in place.glob("record-*.pt")) for place in (base, head)]
    if files[0] != files[1] or not files[0]:
        raise MismatchError(f"records of {files[0]} in base, of {files[1]} in head")
    ranks = [
        record_difference(*(torch.load(place / name) for place in (base, head)))[0]
        for name in files[0]
    ]
    notes = [*{rank.notes for rank in ranks if rank.notes}]
    notes += [f"in one alone: {', '.join(sorted(lone))}"] if lone else []
    return Difference(
        steps=len(logs[0]["step"]),
        loss=loss,
        gradient=max(rank.gradient for rank in ranks),
        weights=max(rank.weights for rank in ranks),
        score=score,
        equal=loss == score == 0 and all(rank.equal for rank in ranks),
        where="; ".join([*([column] if loss else []), *{r.where for r in ranks if r.where}]),
        notes="; ".join(notes),
    )
