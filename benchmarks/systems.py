"""The table of the systems: every row under one rule, tuned alike, over several seeds.

python benchmarks/systems.py preset=smoke|short|laptop|full out=DIR [systems=[…]] [rows=[…]]
python benchmarks/systems.py preset=laptop out=DIR resume=true page=docs/benchmarks.md
python benchmarks/systems.py preset=laptop out=DIR resume=true rescore=true

Simulates stores; tries every trained row with each options of its grid for half of a run's seconds
of optimiser steps, on one seed, and takes what is best on validation; then makes the test stores,
trains every row from each seed, and scores it with refinement and without. ``DIR/table.csv`` grows
by every finished run; what is finished is kept, also where nothing but a copy of an earlier
``table.csv`` and ``trials.csv`` lies in DIR, so that a long table can be made in several sittings.
``rescore=true`` scores those runs again whose folders are in DIR, with widths of the posteriors
that this commit sets: that changes no weights and no forecast of means. Two runs at a time have a
core each and one thread; seconds of steps are those that the thread has computed, which other work
on the machine hardly changes. Ends 1 where a job failed or the table is unfair, and says why.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "launch"))

import systems_fairness  # noqa: E402
import systems_table  # noqa: E402
import systems_training  # noqa: E402
from entry import launch as start  # noqa: E402
from omegaconf import DictConfig, OmegaConf  # noqa: E402
from systems_jobs import JobError, Jobs  # noqa: E402
from systems_rows import (  # noqa: E402
    PRESETS,
    ROWS,
    STATE,
    TRAINED,
    TRIAL_SHARE,
    TRIVIAL,
    Kind,
    Preset,
    Run,
    check_names,
    describe_plan,
    kinds_of,
    runs_of,
    same_inputs,
)
from systems_training import Launch, Stores, Trial  # noqa: E402

from vgbdm import plugins  # noqa: E402
from vgbdm.errors import InputError  # noqa: E402
from vgbdm.progress import each  # noqa: E402
from vgbdm.storage.files import read_json, write_json  # noqa: E402
from vgbdm.storage.lock import LOCK, locked  # noqa: E402

STORES = {"train": ("train", 1), "val": ("val", 1), "test": ("test", 1), "prior": ("test", 2)}
"""Name of a store → its split and seed; of the last one θ comes from the prior."""
SANITY_RUN = Run("", STATE, "untrained", 1)
"""Whose start states the rows have that nothing is trained for."""


@functools.cache
def systems() -> dict[str, type]:
    """Systems that can be simulated, by the names of their configs: ours and those of plugins."""
    from physics_systems.systems.registered import registered_systems
    from physics_systems.systems.system import SimulatedSystem

    found = registered_systems((REPO / "configs", *plugins.config_folders()))
    return {name: kind for name, kind in found.items() if issubclass(kind, SimulatedSystem)}


@functools.cache
def one_table(system: str) -> bool:
    """Whether a system's preset inputs are its whole state, so that both tables are one."""
    from reading import compose_told

    cfg = compose_told("simulate_system", [f"system={system}", "out=-"])
    seen = OmegaConf.to_container(cfg.system.presets, resolve=False)
    return same_inputs(systems()[system], seen)


class Table:
    """A table that is being made in a folder.

    Args:
        out: its folder.
        preset: how long, how often.
        chosen: systems.
        rows: only these; None: all.
        launch: runs a launcher: name, log, options.
    """

    def __init__(
        self,
        out: Path,
        preset: Preset,
        chosen: Sequence[str],
        rows: Sequence[str] | None,
        launch: Launch,
    ) -> None:
        self.out, self.preset, self.systems, self.launch = out, preset, chosen, launch
        same = [name for name in chosen if one_table(name)]
        self.kinds = list(kinds_of(preset, chosen, rows, same))
        self.trivial = [name for name in TRIVIAL if rows is None or name in rows]
        self.lines: dict[Any, dict[str, Any]] = {}
        for line in systems_table.read_lines(out / "table.csv"):
            self.lines[(*systems_table.key_of(line), str(line["refined"]))] = line
        self.trials: dict[Kind, dict[int, dict[str, Any]]] = {}
        for line in systems_table.read_lines(out / "trials.csv", systems_table.TRIAL_COLUMNS):
            kind = Kind(line["system"], line["inputs"], line["row"])
            self.trials.setdefault(kind, {})[int(line["trial"])] = line
        self.failed: list[str] = []

    # --- what is to do ---------------------------------------------------------------------------

    def done(self, run: Run) -> bool:
        """Whether the table has a run's lines."""
        return any(key[:4] == (*run[:3], str(run.seed)) for key in self.lines)

    def runs(self) -> list[Run]:
        """That are not done."""
        return [run for run in runs_of(self.kinds, self.preset.seeds) if not self.done(run)]

    def open_trials(self) -> list[tuple[Kind, int]]:
        """Trials that are not done, of rows of which a run is not; those that are said count."""
        wanted = {Kind(*run[:3]) for run in self.runs() if TRAINED[run.row].tuned}
        pairs = [(k, n) for k in self.kinds if k in wanted for n in range(len(k.trials()))]
        return [(k, n) for k, n in pairs if n not in self.trials.get(k, {})]

    def needs_sanity(self, system: str) -> bool:
        """Whether a system's rows without training are not done."""
        return any((system, STATE, row, "", "False") not in self.lines for row in self.trivial)

    def missing(self) -> list[str]:
        """Of the table: what was to be made and is not there."""
        rows = [f"{s}/{row}" for s in self.systems for row in self.trivial
                if (s, STATE, row, "", "False") not in self.lines]  # fmt: skip
        return [run.place for run in self.runs()] + rows

    def plan(self) -> str:
        """What is going to be done, in a line."""
        return describe_plan(self.preset, self.kinds, len(self.runs()), len(self.open_trials()))

    # --- doing it --------------------------------------------------------------------------------

    def make(self) -> None:
        """Everything that is not done: stores, trials, choices, test stores, runs, scores."""
        wanted = [s for s in self.systems if self.needs_sanity(s)]
        wanted += [run.system for run in self.runs()]
        used = [name for name in self.systems if name in wanted]
        self.each([(self.simulate, s, store) for s in used for store in ("train", "val")])
        self.each([(self.try_one, kind, number) for kind, number in self.open_trials()])
        if self.failed:
            return
        self.each([(self.simulate, s, store) for s in used for store in ("test", "prior")])
        if not self.failed:
            self.each([(self.run_one, run) for run in self.runs()])
        if not self.failed:
            self.each([(self.sanity, system) for system in used if self.needs_sanity(system)])

    def each(self, calls: Sequence[tuple[Any, ...]]) -> None:
        """Make calls, some at a time; the results say what to write, and are written at once.

        In the order in which they come: what was done before something ends all of it is written.
        """
        ended: SimpleQueue[Future[Callable[[], None] | None]] = SimpleQueue()
        with ThreadPoolExecutor(self.preset.jobs) as pool:
            try:
                for call, *told in calls:
                    pool.submit(call, *told).add_done_callback(ended.put)
                for _ in each(calls, len(calls), "job", "table"):
                    try:
                        write = ended.get().result()
                    except JobError as error:
                        self.failed.append(str(error))
                        continue
                    if write is not None:
                        write()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(self.launch, Jobs):
                    self.launch.stop()
                raise

    def store(self, system: str, name: str) -> Path:
        """Of a system."""
        return self.out / "stores" / f"{system}-{name}"

    def stores(self, system: str) -> Stores:
        """What trials may see."""
        return Stores(self.store(system, "train"), self.store(system, "val"))

    def simulate(self, system: str, name: str) -> None:
        """Make a store that is not there yet."""
        sizes = self.preset.field_sizes if systems()[system].grid else self.preset.sizes
        split, seed = STORES[name]
        if not self.store(system, name).exists():
            self.launch(
                "simulate_system", self.out / "stores" / f"{system}-{name}.log",
                f"system={system}", f"out={self.store(system, name)}", f"n={getattr(sizes, name)}",
                f"split={split}", f"seed={seed}",
                f"parameters={'prior' if name == 'prior' else 'ranges'}",
                *([] if sizes.frames is None else [f"system.frames={sizes.frames}"]),
            )  # fmt: skip

    def try_one(self, kind: Kind, number: int) -> Callable[[], None]:
        """One trial; what is returned adds it to those that are written."""
        trial = systems_training.try_one(
            self.launch, self.stores(kind.system), self.out / "trials", self.preset, kind,
            kind.options(systems()[kind.system]), number, systems_table.here(),
        )  # fmt: skip
        return lambda: self.add_trial(kind, trial)

    def add_trial(self, kind: Kind, trial: Trial) -> None:
        """Write it."""
        line = {
            **trial.about, **kind._asdict(), "trial": trial.number,
            "options": systems_table.text_of(trial.options), "score": trial.score,
            "budget_seconds": self.preset.planned(TRIAL_SHARE),
            "ended": trial.about["ended"] or None,
        }  # fmt: skip
        self.trials.setdefault(kind, {})[trial.number] = line
        told = itertools.chain.from_iterable(own.values() for own in self.trials.values())
        systems_table.write_trials(self.out / "trials.csv", told)

    def chosen(self, kind: Kind) -> Trial | None:
        """The trial of a row's runs: of its earlier ones, or the best; None: it is not tuned."""
        if not TRAINED[kind.row].tuned:
            return None
        earlier = [line for key, line in self.lines.items() if key[:3] == tuple(kind)]
        if earlier:
            line = earlier[0]
            options = systems_table.options_of(line["trial_options"])
            return Trial(int(line["trial"]), options, 0.0, {})
        return systems_training.choose(
            [Trial(n, systems_table.options_of(line["options"]), float(line["score"]), {})
             for n, line in self.trials[kind].items()]
        )  # fmt: skip

    def run_one(self, run: Run) -> Callable[[], None]:
        """One run with its scores; what is returned adds its lines to the table."""
        kind, folder = Kind(*run[:3]), self.out / "runs" / run.place
        trial, kept = self.chosen(kind), folder.with_suffix(".lines.json")
        if not kept.exists():
            here = systems_table.here()
            own = kind.options(systems()[run.system])
            options = trial.options if trial is not None else []
            said = systems_training.train(
                self.launch, self.stores(run.system), folder,
                systems_training.run_options(self.preset, own, run, options), here,
                None if trial is None else self.preset.planned(),
            )  # fmt: skip
            scored = self.score(run, folder, folder.with_suffix(".scores.json"))
            about = {
                **{k: v for k, v in said.items() if k != "score"}, **run._asdict(),
                "ended": said["ended"] or None,
                "trial": None if trial is None else trial.number,
                "trial_options": None if trial is None else systems_table.text_of(options),
                "n_trials": len(self.trials.get(kind, {})),
                "budget_seconds": self.preset.planned() if trial is not None else None,
                **({} if trial is not None else {"steps": 0, "train_seconds": 0.0}),
            }  # fmt: skip
            write_json(kept, {"lines": [{**line, **about} for line in scored]})
        return lambda: self.add(read_json(kept)["lines"])

    def score_again(self) -> None:
        """Every run that is done and whose folder is there, its widths set anew."""
        runs = [run for run in runs_of(self.kinds, self.preset.seeds) if self.done(run)]
        kept = [run for run in runs if (self.out / "runs" / run.place / "best.json").exists()]
        used = {run.system for run in kept}
        self.each([(self.simulate, s, store) for s in sorted(used) for store in STORES])
        if not self.failed:
            self.each([(self.score_one, run) for run in kept])

    def score_one(self, run: Run) -> Callable[[], None]:
        """One of them; what is returned puts its lines in the place of earlier ones."""
        folder, now = self.out / "runs" / run.place, systems_table.here()["commit"]
        kept = folder.with_suffix(".lines.json")
        scored = self.score(run, folder, folder.with_suffix(".scores.json"), anew=True)
        lines = []
        for line in scored:
            earlier = self.lines[(*run[:3], str(run.seed), str(line["refined"]))]
            trained = str(earlier["commit"]).split(" ")[0]
            lines.append({**earlier, **line, "commit": f"{trained} (scored by {now})"})
        write_json(kept, {"lines": lines})
        return lambda: self.add(lines)

    def score(
        self, run: Run, folder: Path, out: Path, sanity: bool = False, anew: bool = False
    ) -> list[dict[str, Any]]:
        """Lines of a run; of one that diverged before its first validation, failures."""
        sizes = self.preset.field_sizes if systems()[run.system].grid else self.preset.sizes
        if not sanity and not (folder / "best.json").exists():
            lost = {"refined": False, "n": sizes.test, "n_failed": sizes.test}
            names = ("mse", "relative_mse", "validation_mse")
            return [lost | dict.fromkeys(names, float("inf"))]
        places = {name: f"{name}={self.store(run.system, name)}" for name in STORES}
        self.launch(
            "systems_scores", folder.with_suffix(".log"), f"run={folder}", *places.values(),
            f"out={out}", f"members={self.preset.members}", f"val_n={sizes.val}",
            f"test_n={sizes.test}", f"sanity={'true' if sanity else 'false'}",
            f"anew={'true' if anew else 'false'}",
        )  # fmt: skip
        lines: list[dict[str, Any]] = read_json(out)["lines"]
        return lines

    def sanity(self, system: str) -> Callable[[], None]:
        """The rows of a system that nothing is trained for."""
        run = SANITY_RUN._replace(system=system)
        folder = self.out / "sanity" / system
        own = Kind(system, STATE, run.row).options(systems()[system])
        options = systems_training.run_options(self.preset, own, run, ())
        systems_training.train(self.launch, self.stores(system), folder, options, {})
        scored = self.score(run, folder, self.out / "sanity" / f"{system}.json", sanity=True)
        about = {"system": system, "inputs": STATE, **systems_table.here()}
        lines = [{**line, **about} for line in scored if line["row"] in self.trivial]
        return lambda: self.add(lines)

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Lines of a run or of a system; the table is written."""
        for line in lines:
            self.lines[(*systems_table.key_of(line), str(line["refined"]))] = dict(line)
        systems_table.write(self.out / "table.csv", self.lines.values())


def open_folder(out: Path, resume: bool) -> None:
    """Refuse a folder in which there is something, unless that is gone on from.

    Raises:
        InputError: for such a one.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not resume and any(path.name != LOCK for path in out.iterdir()):
        raise InputError(f"out={out}: is not empty; give resume=true to go on, or another folder")


def main(cfg: DictConfig) -> None:
    """Plan, make, check, write."""
    plugins.use(cfg.plugins)
    preset, out = PRESETS[cfg.preset], Path(cfg.out).resolve()
    chosen = list(cfg.systems or preset.systems or systems())
    check_names("systems", chosen, systems())
    check_names("rows", cfg.rows, ROWS)
    open_folder(out, cfg.resume)
    with locked(out):
        jobs = Jobs(tuple(cfg.plugins))
        table = Table(out, preset, chosen, cfg.rows, jobs)
        print(table.plan(), flush=True)
        table.make()
        if cfg.rescore and not table.failed:
            table.score_again()
        finish(table, cfg.page)


def finish(table: Table, page: str | None) -> None:
    """Check what was made, and say it.

    Raises:
        SystemExit: where a job failed, or the rows were not treated alike.
    """
    if table.failed or table.missing():
        told = table.failed or table.missing()
        sys.exit("\n".join(["failed; mend it and go on with resume=true:", *told]))
    import systems_page

    results = systems_page.read(table.out / "table.csv")
    wrong = systems_fairness.unfair(*results)
    if wrong:
        sys.exit("\n".join(["the table is unfair:", *wrong]))
    print(systems_page.markdown(*results))
    if page is not None:
        systems_page.write(table.out / "table.csv", Path(page))
    print(f"table: {table.out / 'table.csv'}")


if __name__ == "__main__":
    start(main, "benchmark_systems")
