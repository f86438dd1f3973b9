"""The group `names`: hostile words, numbers and trees in JSON, under digests made right again."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.artefacts import Artefact, link
from fuzz.damage import replace
from fuzz.judging import OUTSIDE, Result, judge
from fuzz.signing import sign

HUGE, DEEP = "@huge@", "@deep@"
WORDS = (
    "../../outside/word", "../outside", "/etc/passwd", "a/../../../outside", "", ".", "..", "\x00",
    "~root/x", "$(touch outside/word)", "w" * 10**6, "nan", "1e999", "file:///etc/passwd",
    "\u202e/x", "state/../../outside/word", "builtins.eval", "os.system",
)  # fmt: skip
NUMBERS = (-1, 0, 1, 2**31, 2**63, 2**64, 10**18, 1e308, float("nan"), float("inf"), HUGE)
TREES = (None, True, {}, [], DEEP, [[]] * 1000, {"a": {"b": 1}})
TEXTS = {json.dumps(HUGE): "9" * 6000, json.dumps(DEEP): "[" * 100_000 + "]" * 100_000}


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a tree, itself left out."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def change(tree: Any, way: tuple[Any, ...], draw: random.Random) -> str:
    """Put something hostile at a place, as a value or as a key; what it was, in words."""
    holder = tree
    for key in way[:-1]:
        holder = holder[key]
    hostile = draw.choice(draw.choice((WORDS, WORDS, NUMBERS, TREES)))
    shown = str(hostile)[:40]
    if isinstance(holder, dict) and isinstance(hostile, str) and draw.random() < 0.25:
        holder[hostile] = holder.pop(way[-1])
        return f"the key {'.'.join(map(str, way))} is {shown!r}"
    holder[way[-1]] = hostile
    return f"{'.'.join(map(str, way))} is {shown!r}"


def text_of(tree: Any) -> bytes:
    """JSON, with numbers and depths that Python itself would not write."""
    text = json.dumps(tree, indent=1, sort_keys=True)
    for mark, hostile in TEXTS.items():
        text = text.replace(mark, hostile)
    return text.encode("utf-8", "surrogatepass")


def listing(folder: Path, leave: Path) -> dict[str, tuple[int, int]]:
    """Files beside a copy, with their sizes and times of change."""
    return {
        str(p): (p.lstat().st_size, p.lstat().st_mtime_ns)
        for p in folder.rglob("*")
        if leave not in (p, *p.parents)
    }


def tries(artefacts: dict[str, Artefact], folder: Path, draw: random.Random) -> Iterator[Result]:
    """Endlessly: one hostile value in one file of an artefact, signed, and its reading."""
    files = {k: [f for f in a.files() if f.endswith(".json")] for k, a in artefacts.items()}
    (folder / "outside").mkdir()
    before = listing(folder, folder / "copy")
    while True:
        artefact = artefacts[draw.choice(sorted(artefacts))]
        name = draw.choice(files[artefact.kind])
        copy = link(artefact.path, folder / "copy")
        tree = json.loads((copy / name).read_text())
        told = change(tree, draw.choice(list(places(tree)) or [()]), draw)
        replace(copy / name, text_of(tree))
        sign(artefact.kind, copy, name)
        what = f"{artefact.kind}: in {name}, {told}"
        result = judge(what, lambda a=artefact, c=copy: a.read(c), None, copy, {name})
        shutil.rmtree(copy)
        after = listing(folder, folder / "copy")
        if after != before:
            changed = sorted(set(after.items()) ^ set(before.items()))
            result, before = Result(OUTSIDE, what, str(changed[:3])), after
        yield result
