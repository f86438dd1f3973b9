"""Try to make readers believe what is not so, and writers lose what was there.

python -m tests.fuzz [groups=[files,names,gadgets,kills,options]] [seconds=60] [seed=1] [cases=N]

Each group gets its share of the seconds; with `cases` it makes that many tries, however long they
take. Exits 0 where nothing silent, no traceback, no hang, nothing executed and nothing lost was
met; else 1, after the tries that were.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "support"), str(REPO)]
GROUPS = ("files", "names", "gadgets", "kills", "options")
SHOWN = 10
"""Defects of a group that are told at length."""


def arguments(words: list[str]) -> dict[str, str]:
    """The command line's, or this file's text."""
    told = dict(word.split("=", 1) for word in words if "=" in word)
    known = {"groups": f"[{','.join(GROUPS)}]", "seconds": "60", "seed": "1", "cases": "0"}
    if len(told) != len(words) or set(told) - set(known):
        sys.exit(__doc__)
    return known | told


def collect(tries: Iterator, seconds: float, cases: int) -> list:
    """The results of some tries."""
    found, ends = [], time.monotonic() + seconds
    for result in tries:
        found.append(result)
        if len(found) >= cases if cases else time.monotonic() > ends:
            break
    return found


def main(words: list[str]) -> int:
    """The exit code."""
    told = arguments(words)
    groups = told["groups"].strip("[]").split(",")
    if not set(groups) <= set(GROUPS):
        sys.exit(f"groups={told['groups']}: want some of [{','.join(GROUPS)}]")
    warnings.simplefilter("ignore")
    from fuzz import damage, gadgets, kills, names, options
    from fuzz.artefacts import make
    from fuzz.children import preload
    from fuzz.judging import DEFECTS

    logging.disable(logging.CRITICAL)
    preload("fuzz.kills", "fuzz.gadgets")
    work = {"files": damage, "names": names, "gadgets": gadgets, "kills": kills, "options": options}
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    bad = 0
    try:
        artefacts = make(place / "made") if groups != ["options"] else {}
        for group in groups:
            (place / group).mkdir()
            draw = random.Random(f"{told['seed']} {group}")
            tries = work[group].tries(artefacts, place / group, draw)
            found = collect(tries, float(told["seconds"]) / len(groups), int(told["cases"]))
            counts = Counter(result.verdict for result in found)
            print(f"{group}: {len(found)} tries, {dict(sorted(counts.items()))}", flush=True)
            wrong = [result for result in found if result.verdict in DEFECTS]
            for result in wrong[:SHOWN]:
                print(f"  {result.verdict}: {result.what}\n    {result.detail.strip()[-600:]}")
            bad += len(wrong)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"{bad} defects")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
