"""How many small faults the fast tests notice: `make mutate` draws some and tries each.

python -m tests.mutation [seed=1] [count=120] [within=PATH] [seconds=300] [copies=2] [budget=inf]

Faults are drawn from all files of the packages, or of those whose path begins with `within`. Each
is tried against the files of fast tests that mirror its module, in a copy of the repository; it is
killed where one fails, or where they take more than `seconds`. Faults that change nothing anybody
could see stand in equivalent.toml with a reason. After `budget` seconds those that are left stay
untried. Prints each survivor, a line for each package, and the score last; exits 0, or 1 where the
tests fail without a fault.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path[:0] = [str(HERE.parent)]

from mutation.operators import Mutant, modules_of, mutants_of, no_fault  # noqa: E402
from mutation.running import KILLED, LATE, UNTRIED, Verdict, judge  # noqa: E402
from mutation.selection import PACKAGES, mirrors  # noqa: E402

EQUIVALENT = "equivalent"


def arguments(words: list[str]) -> dict[str, str]:
    """The command line's, or this file's text."""
    told = dict(word.split("=", 1) for word in words if "=" in word)
    known = {
        "seed": "1", "count": "120", "within": "", "seconds": "300", "copies": "2", "budget": "inf",
    }  # fmt: skip
    if len(told) != len(words) or set(told) - set(known):
        sys.exit(__doc__)
    return known | told


def equivalents(file: Path) -> set[tuple[str, str, str, str]]:
    """Faults that are none: file, function, the lines before and after."""
    held = tomllib.loads(file.read_text()).get(EQUIVALENT, [])
    unexplained = [entry for entry in held if not entry.get("reason")]
    if unexplained:
        sys.exit(f"{file}: without a reason: {unexplained[0]}")
    return {(e["module"], e["function"], e["before"], e["after"]) for e in held}


def is_equivalent(mutant: Mutant, known: set[tuple[str, str, str, str]]) -> bool:
    """Whether a fault is listed as none."""
    return (mutant.module, mutant.function, mutant.before, mutant.after) in known


def package_of(mutant: Mutant) -> str:
    """The folder that a line of the report is about."""
    return str(Path(mutant.module).parent)


def describe(verdict: Verdict, number: int, count: int) -> str:
    """A line, and for a survivor what it changes."""
    mutant = verdict.mutant
    line = f"{number}/{count} {verdict.word}: {mutant.module}:{mutant.line} {mutant.kind}"
    if verdict.word in (KILLED, LATE, UNTRIED):
        return line
    return f"{line} in {mutant.function}\n    - {mutant.before}\n    + {mutant.after}"


def report(counts: dict[str, Counter[str]]) -> str:
    """A line for each package, and the score."""
    lines = [f"{'package':32} killed survived equivalent"]
    for package, count in sorted(counts.items()):
        survived = count.total() - count[KILLED] - count[EQUIVALENT]
        lines.append(f"{package:32} {count[KILLED]:6} {survived:8} {count[EQUIVALENT]:10}")
    every = sum(counts.values(), Counter[str]())
    judged = every.total() - every[EQUIVALENT]
    score = 100 * every[KILLED] / judged if judged else 100.0
    return "\n".join([*lines, f"score: {score:.1f} % of {judged} killed"])


def draw(every: list[Mutant], seed: int, count: int) -> list[Mutant]:
    """Some of the faults, in a drawn order: the same ones however the rest of the code changes.

    A fault's place in the order follows from its function and its lines, so that what a seed drew
    can be tried again after tests were written, or files moved.
    """
    seen: Counter[str] = Counter()
    places: dict[bytes, Mutant] = {}
    for mutant in every:
        text = "\0".join((mutant.function, mutant.kind, mutant.before, mutant.after))
        seen[text] += 1
        key = f"{seed}\0{text}\0{seen[text]}".encode()
        places[hashlib.blake2b(key, digest_size=16).digest()] = mutant
    order = (places[place] for place in sorted(places))
    return list(itertools.islice((m for m in order if m.compiles(REPO)), count))


def main(words: list[str]) -> int:
    """The exit code."""
    told = arguments(words)
    ends = time.monotonic() + float(told["budget"])
    known = equivalents(HERE / "equivalent.toml")
    modules = [m for m in modules_of(REPO, PACKAGES) if m.startswith(told["within"])]
    every = [mutant for module in modules for mutant in mutants_of(REPO, module)]
    if not every:
        sys.exit(f"within={told['within']}: no file of {', '.join(PACKAGES)} begins like this")
    drawn = draw(every, int(told["seed"]), int(told["count"]))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    tried = [mutant for mutant in drawn if not is_equivalent(mutant, known)]
    for mutant in drawn:
        counts[package_of(mutant)][EQUIVALENT] += is_equivalent(mutant, known)
    print(f"{len(drawn)} of {len(every)} faults in {len(modules)} files", flush=True)
    place = Path(tempfile.mkdtemp(prefix="mutation-"))
    control = no_fault(min((m.module for m in drawn), key=lambda name: len(mirrors(REPO, name))))
    try:
        seconds, copies = float(told["seconds"]), int(told["copies"])
        judging = judge(REPO, place, [control, *tried], copies, seconds, ends)
        number = judged = 0
        with contextlib.closing(judging) as verdicts:  # its processes end before the copies go
            for verdict in verdicts:
                if verdict.mutant == control:
                    if verdict.word in (KILLED, LATE):
                        print(verdict.output[-2000:], "the tests fail without a fault", sep="\n")
                        return 1
                    continue
                number += 1
                if verdict.word != UNTRIED:
                    judged += 1
                    word = KILLED if verdict.word == LATE else verdict.word
                    counts[package_of(verdict.mutant)][word] += 1
                print(describe(verdict, number, len(tried)), flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if judged < len(tried):
        print(f"{len(tried) - judged} untried after {told['budget']} s")
    print(report(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
