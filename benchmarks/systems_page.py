"""The systems' part of a page, made from a table that was measured: what it says and no more.

python benchmarks/systems_page.py [benchmarks/results/systems.csv [docs/benchmarks.md]]

Tables and sentences go between their marks in the page, figures into ``figures`` beside it. Without
a table the page says that there is none.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))  # run by itself

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import systems_fairness  # noqa: E402
import systems_table  # noqa: E402
from systems_rows import BASELINES, OF_INPUTS, PRESET, REFERENCE, STATE, TRAINED, TRIVIAL  # noqa: E402
from tables import write_between_marks  # noqa: E402

from physics_systems.evaluation.comparison import compare_runs  # noqa: E402
from vgbdm.errors import InputError  # noqa: E402

RESULTS, PAGE = REPO / "benchmarks/results/systems.csv", REPO / "docs/benchmarks.md"
MARKS = "systems table"
NONE_YET = (
    "No table of the four systems has been made under these rules yet: nothing is claimed here."
)
TITLES = {
    STATE: "everything in the state: each residual sees the whole state",
    PRESET: "preset inputs: each grey residual sees what the preset names; black boxes the state",
}
SHOWN = {
    "mse": "forecast MSE", "mse_median": "median", "n_failed": "failed", "theta_error": "θ error",
    "crps": "CRPS", "coverage_90": "coverage 90 %", "prior_theta_coverage_90": "θ coverage 90 %",
    "other": "MSE the other way", "steps": "steps", "train_seconds": "s trained",
    "forecast_seconds": "s a forecast", "points": "points", "trial_options": "trial",
}  # fmt: skip
"""θ coverage is that on the store of the prior: on narrower ranges it is no calibration."""
ORDER = (*TRIVIAL, *TRAINED)


class Results(NamedTuple):
    """A table and the trials of its rows."""

    table: pd.DataFrame
    trials: pd.DataFrame


def read(path: Path) -> Results:
    """A table, with the trials beside it.

    Args:
        path: ``NAME.csv``; trials are in ``NAME-trials.csv`` or ``trials.csv`` beside it.

    Raises:
        InputError: where one is missing.
    """
    own = path.with_name(f"{path.stem}-trials.csv")
    beside = own if own.exists() else path.with_name("trials.csv")
    for file in (path, beside):
        if not file.exists():
            raise InputError(f"{file}: is missing; benchmarks/systems.py makes it")
    trials = pd.DataFrame(systems_table.read_lines(beside, systems_table.TRIAL_COLUMNS))
    table = systems_table.decide(systems_table.read_lines(path))
    numbers = [c for c in table.columns if c not in (*systems_table.TEXTS, "refined", "chosen")]
    for name in numbers:
        table[name] = pd.to_numeric(table[name])
    trials = trials.reindex(columns=list(systems_table.TRIAL_COLUMNS))
    for name in ("score", "train_seconds", "budget_seconds"):
        trials[name] = pd.to_numeric(trials[name])
    return Results(table, trials)


def errors_of(lines: pd.DataFrame) -> dict[int | None, np.ndarray]:
    """Seed → (N,) errors of the chosen way."""
    found = {}
    for _, line in lines[lines["chosen"]].iterrows():
        seed = None if pd.isna(line["seed"]) else int(line["seed"])
        told = str(line["errors"]) if not pd.isna(line["errors"]) else ""
        errors = np.array([float(x) for x in told.split()])
        found[seed] = errors if len(errors) else np.full(int(line["n"]), np.inf)
    return found


def compare(own: pd.DataFrame, reference: pd.DataFrame) -> tuple[str, str]:
    """What may be said of a row against VGB-DM by the strict rule, and the interval beside it.

    Better or worse: the 95 % interval of the ratio of errors over seeds and trajectories leaves out
    1, and every seed agrees.
    """
    told = compare_runs(errors_of(own), errors_of(reference))
    low, high = float(told["low"]), float(told["high"])
    beside = "" if math.isnan(low) else f" ({told['ratio']:.2g}: {low:.2g} to {high:.2g})"
    return str(told["verdict"]), beside


def lines_of(table: pd.DataFrame, system: str, inputs: str, row: str) -> pd.DataFrame:
    """A row's lines in one of a system's two tables.

    Where rows have no lines of their own with preset inputs, those with the state count: of black
    boxes, and of systems whose preset is the state.
    """
    own = table[(table["system"] == system) & (table["row"] == row)]
    there = own[own["inputs"] == inputs]
    return there if len(there) else own[own["inputs"] == STATE]


def mean_of(lines: pd.DataFrame, name: str) -> str:
    """Mean ± standard deviation over seeds, or what is the same for all."""
    if lines.empty or lines[name].isna().all():
        return "–"
    if name == "trial_options":
        return str(lines[name].iloc[0]).replace("_", "\\_")
    values = lines[name].astype(float)
    mean = values.mean(skipna=False)
    text = "–" if math.isnan(mean) else f"{mean:.3g}"
    whole = name in ("steps", "points", "train_seconds", "forecast_seconds", "n_failed")
    if len(values) < 2 or whole or not np.isfinite(values).all():
        return text
    return f"{text} ± {values.std():.1g}"


def rows_of(table: pd.DataFrame, system: str, inputs: str) -> list[str]:
    """Rows of one of a system's tables, in their order."""
    there = [row for row in ORDER if len(lines_of(table, system, inputs, row))]
    if inputs == STATE:
        return there
    return [row for row in there if row not in TRIVIAL and not TRAINED[row].like]


def one_table(table: pd.DataFrame, system: str, inputs: str) -> str:
    """A system's table in Markdown."""
    head = ["", "runs", "n", *SHOWN.values(), "against VGB-DM"]
    found = [head, ["---"] * len(head)]
    reference = lines_of(table, system, inputs, REFERENCE)
    for row in rows_of(table, system, inputs):
        lines = lines_of(table, system, inputs, row)
        chosen, other = lines[lines["chosen"]], lines[~lines["chosen"]]
        cells = [mean_of(other, "mse") if name == "other" else mean_of(chosen, name)
                 for name in SHOWN]  # fmt: skip
        refined = " (refined)" if chosen["refined"].any() else ""
        said = "" if row == REFERENCE else "–"
        if row != REFERENCE and len(reference):
            said = "".join(compare(lines, reference))
        name = row.replace("_", " ")
        found.append([name + refined, str(len(chosen)), f"{chosen['n'].iloc[0]:.0f}", *cells, said])
    return "\n".join(f"| {' | '.join(line)} |" for line in found)


def summary(table: pd.DataFrame) -> Iterator[str]:
    """For each of the two tables: on which systems VGB-DM is better than every baseline."""
    for inputs in OF_INPUTS:
        better, not_better = [], []
        for system in table["system"].unique():
            reference = lines_of(table, system, inputs, REFERENCE)
            told = {
                row: compare(lines_of(table, system, inputs, row), reference)
                for row in BASELINES
                if len(reference) and len(lines_of(table, system, inputs, row))
            }
            others = [
                f"{row}: {said}{beside}"
                for row, (said, beside) in told.items()
                if said not in WORSE
            ]
            if len(told) < len(BASELINES):
                others.append("rows are missing")
            (not_better if others else better).append(
                f"{system} ({'; '.join(others)})" if others else str(system)
            )
        yield (
            f"- {TITLES[inputs].partition(':')[0].capitalize()}: VGB-DM is better than every "
            f"baseline by the strict rule on {', '.join(better) or 'none of the systems'}"
            + (f"; not on {', '.join(not_better)}." if not_better else ".")
        )


WORSE = ("worse", "failed")
"""What a row is called beside which VGB-DM is better."""


def guesses(table: pd.DataFrame) -> Iterator[str]:
    """Rows whose θ is no better than the prior's mean."""
    for system in table["system"].unique():
        prior = lines_of(table, system, STATE, "prior_mean")["theta_error"]
        if prior.empty or prior.isna().all():
            continue
        for inputs in OF_INPUTS:
            for row in rows_of(table, system, inputs):
                lines = lines_of(table, system, inputs, row)
                own = lines[lines["chosen"] & (lines["inputs"] == inputs)]["theta_error"]
                if row != "prior_mean" and len(own) and own.mean() > prior.iloc[0]:
                    yield (
                        f"- {system}, {inputs}: θ of {row} is worse than guessing the prior's mean "
                        f"({own.mean():.3g} against {prior.iloc[0]:.3g})."
                    )


def cut_short(table: pd.DataFrame) -> Iterator[str]:
    """Runs whose training diverged before its time was over, and were scored as they had been."""
    for _, line in table[table["chosen"] & table["ended"].notna()].iterrows():
        yield (
            f"- {line['system']}, {line['inputs']}: the training of {line['row']} from seed "
            f"{line['seed']:.0f} diverged after {line['train_seconds']:.3g} s; scored is its best "
            "validation until then."
        )


def about(results: Results) -> str:
    """How the table was made."""
    table, trials = results
    trained = table[table["row"].isin(list(TRAINED)) & table["trial"].notna()]
    minutes = trained["budget_seconds"].dropna().unique() / 60
    length = f"{minutes[0]:g} min of optimiser steps" if len(minutes) else "a few steps"
    each = trials.groupby(["system", "inputs", "row"]).size()
    loads = trained["load"].dropna()
    return (
        f"{length} a run on one thread, {int(table['n_seeds'].max())} seeds, "
        f"{int(each.max()) if len(each) else 0} trials a row of half of that, on one seed, chosen "
        f"on validation. Commit {_all(table['commit'])}; {_all(table['machine'])}; load when runs "
        f"began {loads.min():.1f} to {loads.max():.1f}."
    )


def _all(values: pd.Series) -> str:
    return ", ".join(sorted(map(str, values.dropna().unique())))


def grid(trials: pd.DataFrame) -> str:
    """The trials of every row with their validation scores."""
    found = [["system", "inputs", "row", "trials: validation score"], ["---"] * 4]
    for name, own in trials.groupby(["system", "inputs", "row"], sort=False):
        scores = own["score"].astype(float).fillna(math.inf)
        best = scores.idxmin()
        cells = [
            f"{line['options']}: {scores[k]:.3g}{' (chosen)' if k == best else ''}"
            for k, line in own.iterrows()
        ]
        found.append([*map(str, name), "; ".join(cells)])  # type: ignore[arg-type]
    return "\n".join(f"| {' | '.join(line)} |" for line in found).replace("_", "\\_")


def markdown(table: pd.DataFrame, trials: pd.DataFrame) -> str:
    """All of it."""
    results = Results(table, trials)
    parts = [about(results), "\n".join((*summary(table), *cut_short(table), *guesses(table)))]
    for system in table["system"].unique():
        for inputs in OF_INPUTS:
            own = table[(table["system"] == system) & (table["inputs"] == inputs)]
            if inputs == STATE or len(own):
                parts += [f"**{system}**, {TITLES[inputs]}", one_table(table, system, inputs)]
            else:
                parts.append(f"**{system}**: its preset inputs are the state.")
    parts += ["Trials", grid(trials)]
    return "\n\n".join(parts)


def page_text(path: Path) -> str:
    """What stands between the marks for a file of results, or for none.

    Raises:
        InputError: for a table whose rows were not treated alike.
    """
    if not path.exists():
        return NONE_YET
    results = read(path)
    wrong = systems_fairness.unfair(*results)
    if wrong:
        raise InputError(f"{path}: {wrong[0]}; no page is made of an unfair table")
    pictures = "\n\n".join(f"![{about}](figures/{name})" for name, about in FIGURES.items())
    return f"{markdown(*results)}\n\n{pictures}"


FIGURES = {
    "systems-error.svg": "Validation score against seconds of optimiser steps",
    "systems-theta.svg": "Inferred against true θ of VGB-DM, first seed",
    "systems-calibration.svg": "Ranks of true θ among posterior draws, stores of the prior",
    "systems-ablations.svg": "MSE of VGB-DM less one of its parts",
}


def write(path: Path, page: Path) -> None:
    """Tables and sentences into a page, figures beside it."""
    text = page_text(path)
    write_between_marks(page, MARKS, text)
    if path.exists():
        import systems_figures

        systems_figures.draw_all(read(path).table, page.parent / "figures")


def main(words: Sequence[str]) -> None:
    """Write the page; see the top of the file."""
    try:
        write(Path(words[0]) if words else RESULTS, Path(words[1]) if len(words) > 1 else PAGE)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
