"""The group `files`: flips, cuts, deletions and exchanges in everything that the project writes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from fuzz.artefacts import Artefact, link
from fuzz.judging import Result, judge

HOWS = ("flip", "cut", "delete", "exchange")


def replace(path: Path, content: bytes) -> None:
    """Other content under a name, and not in the file that a copy shares."""
    path.unlink()
    path.write_bytes(content)


def flip(path: Path, draw: random.Random) -> str:
    """One bit."""
    content = bytearray(path.read_bytes())
    place, bit = draw.randrange(len(content)), draw.randrange(8)
    content[place] ^= 1 << bit
    replace(path, bytes(content))
    return f"bit {bit} of byte {place}"


def cut(path: Path, draw: random.Random) -> str:
    """The end is lost."""
    content = path.read_bytes()
    length = draw.randrange(len(content))
    replace(path, content[:length])
    return f"at {length} of {len(content)} bytes"


def exchange(folder: Path, name: str, draw: random.Random) -> tuple[str, str] | None:
    """Two files of one kind change their places: shards, or arrays of one name elsewhere."""
    path = folder / name
    others = [
        p for p in folder.rglob(path.name if path.name == "zarr.json" else "*")
        if p.is_file() and p != path and _family(folder, p) == _family(folder, path)
    ]  # fmt: skip
    if not others:
        return None
    other = draw.choice(sorted(others))
    mine, theirs = path.read_bytes(), other.read_bytes()
    if mine == theirs:
        return None
    replace(path, theirs)
    replace(other, mine)
    return f"with {other.relative_to(folder)}", str(other.relative_to(folder))


def _family(folder: Path, path: Path) -> tuple[str, ...]:
    """What files of one kind have in common: the name without its numbers."""
    parts = path.relative_to(folder).parts
    return tuple("#" if any(c.isdigit() for c in part) else part for part in parts)


def tries(artefacts: dict[str, Artefact], folder: Path, draw: random.Random) -> Iterator[Result]:
    """Endlessly: one damage to a copy of one artefact, and its reading."""
    names = {kind: artefact.files() for kind, artefact in artefacts.items()}
    while True:
        artefact = artefacts[draw.choice(sorted(artefacts))]
        name, how = draw.choice(names[artefact.kind]), draw.choice(HOWS)
        copy = link(artefact.path, folder / "copy")
        changed = {name}
        if how == "flip" and (copy / name).stat().st_size:
            told = flip(copy / name, draw)
        elif how == "cut" and (copy / name).stat().st_size:
            told = cut(copy / name, draw)
        elif how == "exchange":
            done = exchange(copy, name, draw)
            if done is None:
                shutil.rmtree(copy)
                continue
            told, other = done
            changed.add(other)
        else:
            how, told = "delete", ""
            (copy / name).unlink()
        what = f"{artefact.kind}: {how} {name} {told}".rstrip()
        yield judge(what, lambda a=artefact, c=copy: a.read(c), artefact.expected, copy, changed)
        shutil.rmtree(copy)
