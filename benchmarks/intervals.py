"""How often intervals of errors hold the truth, and how often they find a row four times worse.

Intervals of the ratio, as `physics_systems.evaluation.comparison` makes them, and of the difference
over pairs of seeds, likewise the hull of a bootstrap and of Student's.

python benchmarks/intervals.py out=benchmarks/results/intervals.csv [rounds=500]

A row's errors are made up as those of trained rows are: a factor for each seed, of the law and
spread that a line names, times a log-normal one for each of 100 trajectories, of which all seeds
share a half. Truth is that both rows are alike; at ``finds`` one has errors four times as large.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))  # run by itself

import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402
from tqdm.auto import tqdm  # noqa: E402

from physics_systems.evaluation.comparison import interval  # noqa: E402

SPREADS, SEEDS, TRAJECTORIES, WORSE = (0.1, 0.5, 1.0), (2, 3, 5), 100, 4.0
DRAWS = 2000
LAWS = ("log-normal", "gamma", "inverse gamma")
COLUMNS = (
    "law", "spread", "seeds", "holds_ratio", "holds_difference", "finds_ratio", "finds_difference",
)  # fmt: skip

Interval = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


def of_difference(own: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """95 % interval of the difference of mean errors (S, N): bootstrap and Student's t."""
    differences = own - reference
    seeds, count = differences.shape
    generator = np.random.default_rng(0)
    rows = generator.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS) / seeds
    columns = generator.multinomial(count, np.full(count, 1 / count), DRAWS) / count
    low, high = np.quantile(((rows @ differences) * columns).sum(1), [0.025, 0.975])
    by_seed = differences.mean(1)
    reach = stats.t.ppf(0.975, seeds - 1) * by_seed.std(ddof=1) / np.sqrt(seeds)
    return min(low, by_seed.mean() - reach), max(high, by_seed.mean() + reach)


def factors(generator: np.random.Generator, law: str, spread: float, seeds: int) -> np.ndarray:
    """(S, 1) positive numbers whose logarithms spread by about ``spread``."""
    if law == "log-normal":
        return np.exp(generator.normal(0, spread, (seeds, 1)))
    shape = 1 / spread**2
    if law == "gamma":
        return generator.gamma(shape, 1 / shape, (seeds, 1))
    return 1 / generator.gamma(shape + 1, 1 / (shape + 1), (seeds, 1))


def errors(generator: np.random.Generator, law: str, spread: float, seeds: int) -> np.ndarray:
    """(2, S, N) of two rows that are alike, over the same trajectories."""
    shared = generator.normal(0, np.sqrt(0.5), (1, TRAJECTORIES))
    found = []
    for _ in range(2):
        own = generator.normal(0, np.sqrt(0.5), (seeds, TRAJECTORIES))
        found.append(factors(generator, law, spread, seeds) * np.exp(shared + own))
    return np.stack(found)


def measure(law: str, spread: float, seeds: int, rounds: int) -> dict[str, object]:
    """A line of the results."""
    generator = np.random.default_rng(seeds)
    kinds: dict[str, tuple[Interval, float]] = {
        "ratio": (interval, 1.0), "difference": (of_difference, 0.0)
    }  # fmt: skip
    counts = dict.fromkeys(COLUMNS[3:], 0)
    for _ in range(rounds):
        own, reference = errors(generator, law, spread, seeds)
        for name, (make, alike) in kinds.items():
            low, high = make(own, reference)
            counts[f"holds_{name}"] += low <= alike <= high
            counts[f"finds_{name}"] += make(WORSE * own, reference)[0] > alike
    shares = {name: f"{count / rounds:.3f}" for name, count in counts.items()}
    return {"law": law, "spread": spread, "seeds": seeds, **shares}


def main(words: list[str]) -> None:
    """Write the results; see the top of the file."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if "out" not in given or set(given) - {"out", "rounds"}:
        sys.exit(f"usage: {__doc__}")
    cases = [(law, spread, seeds) for law in LAWS for spread in SPREADS for seeds in SEEDS]
    lines = [measure(*case, int(given.get("rounds", 500))) for case in tqdm(cases, "cases")]
    with Path(given["out"]).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
