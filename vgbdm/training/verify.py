"""Is a run whole? Every checkpoint, the pointers to them, and the JSON beside them."""

from __future__ import annotations

from pathlib import Path

from vgbdm.errors import InputError
from vgbdm.storage.files import read_json
from vgbdm.training import checkpoint

POINTERS = ("best", "last")


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run, or of one of its checkpoints."""
    pointers = any((path / f"{name}.json").exists() for name in POINTERS)
    return pointers or (path / "checkpoints").is_dir() or (path / checkpoint.STATE).exists()


def verify_run(path: Path) -> list[str]:
    """One line for each damaged part of a run or of a checkpoint; none where it is whole.

    Weights, moments and the state of every checkpoint are compared with their digests.
    """
    if (path / checkpoint.STATE).exists():
        wrong = checkpoint.find_damage(path)
        return [wrong] if wrong else []
    folders = sorted((path / "checkpoints").glob("step-*"))
    lines = [wrong for folder in folders if (wrong := checkpoint.find_damage(folder))]
    for name in POINTERS:
        try:
            checkpoint.find(path, name)
        except InputError as error:
            lines.append(str(error))
    for place in sorted(path.glob("*.json")):
        if place.stem not in POINTERS:
            try:
                read_json(place, "it is not needed to go on: remove it")
            except InputError as error:
                lines.append(str(error))
    return lines
