"""Forecasts of noisy observations against the truth without noise, beside the exact oracle.

python benchmarks/noise.py out=DIR [minutes=1] [results=benchmarks/results/noise.csv]
python benchmarks/marks.py                          then the pages that show it

For each of `CASES` stores are simulated with noise of observation; VGB-DM is trained from three
seeds, every baseline from one, for as many minutes of optimiser steps as one thread computes, as
they are configured; all are scored together with the oracle, which is the true field and θ from the
start states that every row has. Two at a time; what is there in DIR is kept.

mse: of the row that validation chose, with refinement or without it, against the truth; the mean
over seeds. of_oracle: that ÷ the oracle's. observed_mse: against the noisy observations.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))  # run by itself

import pandas as pd  # noqa: E402
from marks import remember  # noqa: E402

from vgbdm.storage.files import read_json  # noqa: E402

CASES = (("lorenz", 0.1), ("lorenz", 1.0), ("pendulum", 0.02))
SEEDS = {"vgbdm": (1, 2, 3), "blackbox": (1,), "node": (1,), "physvae": (1,), "aphynity": (1,)}
STORES = {"train": 1000, "val": 100, "test": 100}
COLUMNS = ("system", "noise", "row", "seeds", "mse", "of_oracle", "observed_mse")


def run(words: Sequence[str], log: Path) -> None:
    """A command of `vgbdm` on one thread.

    Raises:
        SystemExit: where it fails.
    """
    with log.open("w") as told:
        ended = subprocess.run(
            [sys.executable, "-m", "vgbdm", *words], stdout=told, stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}, check=False,
        )  # fmt: skip
    if ended.returncode:
        sys.exit(f"{' '.join(words)}: see {log}")


def simulate(folder: Path, system: str, noise: float) -> None:
    """Its stores."""
    for split, count in STORES.items():
        if not (folder / split).exists():
            run(
                ["simulate-system", f"system={system}", f"out={folder / split}", f"n={count}",
                 f"split={split}", "seed=1", f"noise={noise}"],
                folder / f"{split}.log",
            )  # fmt: skip


def train(folder: Path, system: str, row: str, seed: int, minutes: float) -> None:
    """One run."""
    place = folder / "runs" / f"{row}-{seed}"
    status = place / "status.json"
    if not status.exists() or read_json(status)["state"] != "finished":
        run(
            ["train-system", f"system={system}", f"objective={row}", f"run_dir={place}",
             f"data.train={folder / 'train'}", f"data.val={folder / 'val'}", f"seed={seed}",
             f"trainer.max_minutes={minutes:g}", "trainer.clock=cpu", "trainer.threads=1",
             "backend=single", "resume=true"],
            folder / f"{row}-{seed}.log",
        )  # fmt: skip


def score(folder: Path, system: str, noise: float) -> list[dict[str, object]]:
    """Lines of a case."""
    out = folder / "scores"
    if not (out / "scores.csv").exists():
        run(
            ["evaluate-system", f"runs={folder / 'runs'}", f"data.test={folder / 'test'}",
             f"data.val={folder / 'val'}", f"out={out}"],
            folder / "scores.log",
        )  # fmt: skip
    table = pd.read_csv(out / "scores.csv")
    chosen = table[table["chosen"]].groupby("objective", sort=False)
    means = chosen[["forecast_mse", "observed_mse"]].mean()
    oracle = means.loc["oracle", "forecast_mse"]
    return [
        {
            "system": system, "noise": noise, "row": name, "seeds": len(SEEDS.get(str(name), ())),
            "mse": f"{own['forecast_mse']:.4g}", "of_oracle": f"{own['forecast_mse'] / oracle:.4g}",
            "observed_mse": f"{own['observed_mse']:.4g}",
        }
        for name, own in means.iterrows() if name == "oracle" or name in SEEDS
    ]  # fmt: skip


def main(words: list[str]) -> None:
    """Make all of it; see the top of the file."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if "out" not in given or set(given) - {"out", "minutes", "results"}:
        sys.exit(f"usage: {__doc__}")
    out, minutes = Path(given["out"]).resolve(), float(given.get("minutes", 1))
    cases = [(out / f"{system}-{noise:g}", system, noise) for system, noise in CASES]
    for folder, _, _ in cases:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda case: simulate(*case), cases))
        runs = [
            (folder, system, row, seed, minutes)
            for folder, system, _ in cases for row, seeds in SEEDS.items() for seed in seeds
        ]  # fmt: skip
        list(pool.map(lambda told: train(*told), runs))
        lines = [line for own in pool.map(lambda case: score(*case), cases) for line in own]
    results = Path(given.get("results", out / "noise.csv"))
    with results.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    remember(results, words)


if __name__ == "__main__":
    main(sys.argv[1:])
