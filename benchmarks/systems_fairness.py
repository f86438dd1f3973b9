"""Whether the rows of a table were treated alike: what would make it unfair, in words.

It reads what runs and trials left behind, not what was meant: seconds as recorded, inputs as in the
checkpoints. A page is made of a fair table only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
from systems_rows import TRAINED
from systems_rule import FEWEST_TRIALS

SLACK = 0.05
"""Share by which the seconds of optimiser steps may miss what was planned."""


def unfair(table: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """What one row was given more of than others; nothing in a fair table.

    Args:
        table: lines, with the columns of `systems_table.COLUMNS`.
        trials: of its rows, with those of `systems_table.TRIAL_COLUMNS`.
    """
    trained = table[table["row"].isin(list(TRAINED))]
    return [
        *_trials(trained, trials),
        *_seconds(trained, "run"),
        *_seconds(trials, "trial"),
        *_seeds(trained),
        *_inputs(trained),
        *_protocol(table),
    ]


def as_planned(taken: float | None, wanted: float | None) -> bool:
    """Whether seconds of steps are those that were planned; where none were, they are."""
    if wanted is None:
        return True
    return taken is not None and abs(taken / wanted - 1) <= SLACK


def _named(values: object) -> str:
    return "/".join(map(str, values)) if isinstance(values, tuple) else str(values)


def _trials(trained: pd.DataFrame, trials: pd.DataFrame) -> Iterator[str]:
    """Each tuned row had the same number of trials, and took the one of the lowest score."""
    counts = {}
    for name, own in trained.groupby(["system", "inputs", "row"], sort=False):
        if not TRAINED[str(name[2])].tuned:  # type: ignore[index]
            continue
        told = trials[(trials[["system", "inputs", "row"]] == list(name)).all(axis=1)]
        counts[name] = len(told)
        if len(told) < FEWEST_TRIALS:
            yield f"{_named(name)}: {len(told)} trials, want at least {FEWEST_TRIALS}"
        if told.empty:
            continue
        scores = told["score"].astype(float).fillna(math.inf)
        best = int(told.loc[scores.idxmin(), "trial"])
        if set(own["trial"].astype(int)) != {best}:
            yield f"{_named(name)}: its runs are not of trial {best}, the best on validation"
    if len(set(counts.values())) > 1:
        most = max(counts, key=lambda name: counts[name])
        yield f"{_named(most)}: {counts[most]} trials, others {min(counts.values())}"


def _seconds(lines: pd.DataFrame, what: str) -> Iterator[str]:
    """Each took the seconds that were planned, and the same were planned for each."""
    tuned = lines[lines["row"].map(lambda row: TRAINED[row].tuned)]
    planned = tuned["budget_seconds"]
    if planned.isna().all():  # steps were counted
        return
    if planned.nunique(dropna=False) > 1:
        yield f"{what}s of {planned.min()} and of {planned.max()} seconds"
    for _, line in tuned[tuned["ended"].isna()].iterrows():
        taken, wanted = line["train_seconds"], line["budget_seconds"]
        if not as_planned(taken, wanted):
            place = _named(tuple(line[["system", "inputs", "row"]]))
            yield f"{place}: a {what} of {taken:.4g} seconds of steps, {wanted:.4g} were planned"


def _seeds(trained: pd.DataFrame) -> Iterator[str]:
    """Each row has the same seeds."""
    for system, own in trained.groupby("system", sort=False):
        seeds = own.groupby(["inputs", "row"])["seed"].apply(lambda s: tuple(sorted(set(s))))
        if seeds.nunique() > 1:
            fewest = min(seeds, key=len)
            rows = ", ".join(_named(name) for name, told in seeds.items() if told == fewest)
            yield f"{system}: {rows}: seeds {_named(fewest)}, others more"


def _inputs(trained: pd.DataFrame) -> Iterator[str]:
    """Grey rows of a table see the same, black boxes the state; all else given is the same too."""
    rows = trained[trained["row"].map(lambda row: TRAINED[row].tuned and not TRAINED[row].like)]
    for name, own in rows.groupby(["system", "inputs"], sort=False):
        grey = own[own["row"].map(lambda row: TRAINED[row].grey)]
        if grey["residual_inputs"].nunique() > 1:
            yield f"{_named(name)}: residuals see {_by(grey, 'residual_inputs')}"
        black = own[~own["row"].map(lambda row: TRAINED[row].grey)]
        if not set(black["residual_inputs"]) <= {"state"}:
            yield f"{_named(name)}: a black box that sees {_named(tuple(black['residual_inputs']))}"
        if own["given"].nunique() > 1:
            yield f"{_named(name)}: given unlike things by their configs: {_by(own, 'given')}"


def _by(lines: pd.DataFrame, what: str) -> str:
    rows = lines.groupby(what)["row"].agg(lambda names: ", ".join(sorted(set(names))))
    return "; ".join(f"{told}: {names}" for told, names in rows.items())


def _protocol(table: pd.DataFrame) -> Iterator[str]:
    """All are scored on as many trajectories."""
    for system, own in table.groupby("system", sort=False):
        if own["n"].nunique() > 1:
            counts = sorted(set(own["n"]))
            yield f"{system}: rows are scored on {', '.join(map(str, counts))} trajectories"
