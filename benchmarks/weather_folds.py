"""Recipes of training compared by blocked folds inside the training period; no test is looked at.

python benchmarks/weather_folds.py source=FOLDER 'variables=[u10,v10]' 'period=[START,END]' \
    out=DIR csv=FILE.csv recipes=FILE.json [folds=2] [days=7] [seeds=2] [threads=1] \
    [options=[size=tiny]]

A recipe is a name → options of training, its number of steps among them:
{"gbdm": ["model=gbdm", "trainer.total_steps=500"], …}, as in benchmarks/weather_recipes.json;
`init=NAME` begins with a recipe that stands before it. A fold is trained on what lies before its
block of so many days, but for two days between them, on which checkpoints are chosen; the blocks
are the last ones of the period. Trainings run one after the other, and what is in the CSV file is
not done again. A row is of one recipe, fold, seed, variable and lead:

cpu_s: CPU seconds of the whole training; on a busy machine read ratios of neighbours.
rmse: of the mean of 16 members in pairs, root of the mean over starts, weighted by area.
crps: fair, of these members. A deterministic recipe is dressed with normal errors of one size
    everywhere, that of its own ones in the block: sizes by latitude make its CRPS 1 to 3 % lower.
spread_skill: see `vgbdm.scores.spread_skill`; empty without members.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from marks import remember

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "launch"))

KEYS = ("recipe", "fold", "seed")
COLUMNS = (*KEYS, "steps", "cpu_s", "variable", "lead_hours", "rmse", "crps", "spread_skill")
LEADS = (1, 4, 7)
"""In model steps of 6 h."""
MEMBERS, BETWEEN, AT_A_TIME = 16, np.timedelta64(2, "D"), 4
SIX = np.timedelta64(6, "h")


def splits(period: Sequence[str], folds: int, days: int) -> list[dict[str, list[str]]]:
    """Training, validation and block of each fold, first to last."""
    start, end = (np.datetime64(text, "h") for text in period)
    length, found = np.timedelta64(days, "D"), []
    for k in range(folds):
        last = end - (folds - 1 - k) * length
        block = last - length + SIX
        parts = {"train": (start, block - BETWEEN), "val": (block - BETWEEN + SIX, block - SIX)}
        parts["test"] = (block, last)
        found.append({name: [str(a), str(b)] for name, (a, b) in parts.items()})
    return found


def convert(told: Mapping[str, str], split: Mapping[str, list[str]], store: Path) -> None:
    """The store of a fold."""
    from weather import run

    periods = [f"split.{name}=[{a},{b}]" for name, (a, b) in split.items()]
    about = [f"source.root={told['source']}", f"variables={told['variables']}", f"store={store}"]
    run("convert_era5", 1, *about, *periods)


def train(options: Sequence[str], store: Path, run_dir: Path, threads: int, result: Any) -> None:
    """One training in this process; send its CPU seconds and the scores of its block."""
    import torch
    from entry import compose_config

    from climate.models.weather_model import WeatherModel
    from climate.store.layout import open_store
    from climate.training.run import train as fit
    from vgbdm.loading import load

    torch.set_num_threads(threads)
    places = [f"store={store}", f"run_dir={run_dir}", "backend=single", "trainer.validations=1"]
    cfg, begin = compose_config("train_era5", [*places, *options]), time.process_time()
    fit(cfg)
    seconds = time.process_time() - begin
    model = load(run_dir, "last", "cpu", WeatherModel)
    result.put((int(cfg.trainer.total_steps), seconds, scores(model, open_store(store))))


def scores(model: Any, store: Any) -> list[tuple[str, int, float, float, float | None]]:
    """Of all starts of the block: variable, lead, rmse, crps, spread/skill."""
    import torch

    from climate.stream.batches import read_windows
    from vgbdm.latents.members import in_pairs
    from vgbdm.scores import crps, expected_square

    at, steps = store.anchors("test", SIX, model.history, max(LEADS)), max(LEADS)
    states = torch.from_numpy(
        read_windows(store, at, stride=store.stride(SIX), history=model.history, ahead=steps)
    )
    past, truth = states.tensor_split([model.history + 1], 1)
    times = torch.from_numpy(store.times[at].astype(np.int64))
    made = [
        torch.stack([*model.forecast_steps(*some, steps, in_pairs(range(MEMBERS)), 0)], 2)
        if model.stochastic
        else model.forecast(*some, steps)[:, None]
        for some in zip(past.split(AT_A_TIME), times.split(AT_A_TIME), strict=True)
    ]
    members = torch.cat(made).transpose(0, 1)
    area = torch.from_numpy(store.grid.area_weights).float()[:, None]
    area = area / area.mean()

    def averaged(values: Any) -> Any:
        return (values * area).mean((0, -2, -1))

    rmse, ratio = averaged((members.mean(0) - truth).square()).sqrt(), None
    if model.stochastic:
        ratio = averaged(expected_square(members, pairs=True)).sqrt() / rmse
    else:
        noise = torch.randn((MEMBERS, *truth.shape), generator=torch.Generator().manual_seed(0))
        members = members + rmse[None, None, :, :, None, None] * noise
    score = averaged(crps(members, truth, pairs=model.stochastic))
    return [
        (name, 6 * lead, float(rmse[lead - 1, c]), float(score[lead - 1, c]),
         None if ratio is None else float(ratio[lead - 1, c]))
        for c, name in enumerate(store.channels)
        for lead in LEADS
    ]  # fmt: skip


def alone(*given: Any) -> tuple[int, float, list[Any]]:
    """A training in a process of its own."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    job = context.Process(target=train, args=(*given, result))
    job.start()
    job.join()
    if job.exitcode:
        sys.exit(f"training {given[0]} failed")
    found: tuple[int, float, list[Any]] = result.get()
    return found


def main() -> None:
    """Fold by fold, seed by seed, recipe by recipe; rows are written as they are found."""
    told = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
    if not {"source", "variables", "period", "out", "csv", "recipes"} <= told.keys():
        sys.exit(__doc__)
    recipes = json.loads(Path(told["recipes"]).read_text())
    common = [o for o in told.get("options", "[size=tiny]").strip("[]").split(",") if o]
    folds, days, seeds, threads = (
        int(told.get(name, usual))
        for name, usual in {"folds": 2, "days": 7, "seeds": 2, "threads": 1}.items()
    )
    out, path = Path(told["out"]), Path(told["csv"])
    done: set[tuple[str, ...]] = set()
    if path.exists():
        with path.open(newline="") as file:
            done = {tuple(row[key] for key in KEYS) for row in csv.DictReader(file)}
    else:
        path.write_text(",".join(COLUMNS) + "\n")
    for fold, split in enumerate(splits(told["period"].strip("[]").split(","), folds, days), 1):
        store = out / f"fold-{fold}"
        if not store.exists():
            convert(told, split, store)
        for seed in range(1, seeds + 1):
            for name, options in recipes.items():
                key, run_dir = (name, str(fold), str(seed)), out / f"{name}-{fold}-{seed}"
                if key in done:
                    continue
                shutil.rmtree(run_dir, ignore_errors=True)
                begun = [
                    f"init={out / f'{o[5:]}-{fold}-{seed}'}" if o[5:] in recipes else o
                    for o in options
                ]
                steps, seconds, found = alone(
                    [*common, *begun, f"seed={seed}"], store, run_dir, threads
                )
                with path.open("a", newline="") as file:
                    for variable, lead, *figures in found:
                        shown = ["" if x is None else f"{x:.4g}" for x in figures]
                        row = (*key, steps, f"{seconds:.3g}", variable, lead, *shown)
                        csv.writer(file).writerow(row)
    remember(path, sys.argv[1:])


if __name__ == "__main__":
    main()
