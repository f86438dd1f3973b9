"""``RUN/model_card.md``: what a model is, for who finds its folder; a page of Markdown."""

from __future__ import annotations

import contextlib
import csv
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgbdm.storage.files import write_bytes
from vgbdm.storage.masking import mask_text

if TYPE_CHECKING:
    from vgbdm.training.loop import Trainer

CARD = "model_card.md"
LONGEST = 400
"""Letters of a fact."""
ACTIVE = re.compile(r"([\\\\`*_{}\[\]<>#|!&~$])")
"""What means something in Markdown or HTML."""
SCORES = "Of the best validation, on the validation data; `score` is what chose it."
LIMITS = (
    "The scores below are of the validation data, by which the best checkpoint was chosen: those "
    "of other data may be worse. Test data were not looked at. Beyond the period, the region and "
    "the ranges of training nothing is known of it."
)
Facts = Sequence[tuple[str, object]]


def escaped(value: object) -> str:
    """A text on one line that Markdown shows as it is, without credentials."""
    text = " ".join(mask_text(str(value)).split())
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return ACTIVE.sub(r"\\\1", "".join(c if c.isprintable() else "?" for c in text))


def table(facts: Facts) -> list[str]:
    """Lines of a table of two columns."""
    rows = [f"| {escaped(name)} | {escaped(value)} |" for name, value in facts]
    return ["| | |", "|---|---|", *rows, ""]


def scores_at(run_dir: Path) -> dict[str, str]:
    """The row of ``validation.csv`` with the lowest score; empty where there is none."""
    try:
        with (run_dir / "validation.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if math.isfinite(float(row["score"]))]
    except (OSError, KeyError, ValueError, TypeError, csv.Error):
        return {}
    best = min(rows, key=lambda row: float(row["score"]), default={})
    return {name: value for name, value in best.items() if name and value}


def describe(trainer: Trainer[Any, Any], data: Facts) -> None:
    """Write the card of a run, or write it anew.

    Args:
        trainer: of the run.
        data: facts of the data, their licence among them.
    """
    run_dir, identity = trainer.run_dir, trainer.identity
    model = [
        ("class", identity.get("rebuild", {}).get("_target_", type(trainer.field).__name__)),
        ("parameters", sum(p.numel() for p in trainer.field.parameters())),
        ("objective", type(trainer.objective).__name__),
        ("use", "vgbdm.load opens this folder; best.json names the best of its checkpoints"),
        ("licence", "of the code MIT; of the weights as the licence of the data allows"),
    ]
    made = [
        ("by", identity["software"]),
        ("steps", f"{trainer.step} of {trainer.total}, of {trainer.global_batch} samples each"),
        ("ranks", f"{trainer.backend.world_size} on {trainer.backend.device}"),
        ("seed", identity["must_match"].get("seed", "not said")),
    ]
    scores = scores_at(run_dir)
    lines = [f"# Model card: {escaped(run_dir.resolve().name)}", "", "## Model", "", *table(model)]
    lines += ["## Data", "", *table(data), "## Limits", "", LIMITS, "", "## Scores", ""]
    lines += [SCORES, "", *table([*scores.items()])] if scores else ["None yet.", ""]
    lines += ["## Training", "", *table(made), "Options: `config.json`; steps: `log.csv`.", ""]
    write_bytes(run_dir / CARD, "\n".join(lines).encode())


@contextlib.contextmanager
def described(trainer: Trainer[Any, Any], data: Facts) -> Iterator[None]:
    """Keep the card of a run while it is trained; however it ends, the card says how far it came.

    Args:
        trainer: of the run.
        data: facts of the data.
    """
    first = trainer.backend.rank == 0
    if first and not (trainer.run_dir / CARD).exists():
        describe(trainer, data)
    try:
        yield
    finally:
        if first:
            with contextlib.suppress(OSError):  # what ended the run is said, and not this
                describe(trainer, data)
