"""Run the tests that have just failed once more, alone, in a process of their own.

python .ci/again.py

A test that fails among thousands and passes alone depends on chance or on its neighbours: it is
named as flaky, to be mended, and holds up nothing else. More than `MOST` are no chance; nor is a
run that failed without a failing test. The exit status is that of the second run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FAILED = Path(".pytest_cache/v/cache/lastfailed")
MOST = 3


def say(line: str) -> None:
    """Write a line as `.ci/run` does."""
    sys.stdout.write(f"--- {line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run them; their names come from pytest's cache."""
    tests = sorted(json.loads(FAILED.read_text())) if FAILED.exists() else []
    if not 0 < len(tests) <= MOST:
        say(f"{len(tests)} tests failed: not run again")
        return 1
    say(f"once more, alone: {' '.join(tests)}")
    status = subprocess.run([sys.executable, "-m", "pytest", "-m", "", *tests]).returncode
    for test in tests if status == 0 else ():
        say(f"FLAKY, to be mended: {test}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
