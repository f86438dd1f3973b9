"""The table of the systems: every objective, several seeds, equal wall-clock on one thread.

python benchmarks/systems.py [--preset laptop] [--out benchmarks/out] [--systems lorenz rlc]
python benchmarks/systems.py --plugins mylab --systems van_der_pol --page FILE.md

Systems are those with a config, ours and of plugins. Simulates train, validation and test stores,
trains every (system, objective, seed) for the same number of minutes on one thread, scores all
under the fair protocol, and writes the table between the marks in docs/benchmarks.md. VGB-DM is
trained a second time with a residual network that sees the whole state, so that nothing but R
chooses θ. Finished runs are kept: an interrupted matrix goes on.
"""

import argparse
import functools
import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tables import write_between_marks
from tqdm import tqdm

from vgbdm import plugins

REPO = Path(__file__).resolve().parent.parent
OBJECTIVES = ("vgbdm", "blackbox", "node", "physvae", "aphynity")
FIELD_SIZES = {"train": 250, "val": 100, "test": 100}  # fields are costly to simulate
SIZES = {"train": 1000, "val": 250, "test": 250}
FIELD_SCORED, SCORED = 10, 100  # test trajectories
MEMBERS = 19  # they just tell the central 90 %
ALONE = "-r-alone"
PRESETS = {
    # minutes per run, seeds, runs side by side
    "smoke": (0.1, (1,), 2),
    "short": (1.0, (1, 2, 3), 1),
    "laptop": (3.0, (1, 2, 3), 2),
    "full": (60.0, (1, 2, 3, 4, 5), 1),  # for GPUs; not measured
}


@functools.cache
def systems() -> dict[str, type]:
    """Systems that can be simulated, by the names of their configs: ours and those of plugins."""
    from physics_systems.systems.registered import registered_systems
    from physics_systems.systems.system import SimulatedSystem

    found = registered_systems((REPO / "configs", *plugins.config_folders()))
    return {name: kind for name, kind in found.items() if issubclass(kind, SimulatedSystem)}


def launch(name: str, *options: str, forgiven: str | None = None) -> str:
    """Run a launcher on one thread; its output is shown where it fails.

    Returns:
        Nothing, or its last line where it failed with the ``forgiven`` words.
    """
    command = [sys.executable, str(REPO / "launch" / f"{name}.py"), *options]
    command += [f"plugins=[{','.join(plugins.named())}]"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode and forgiven and forgiven in done.stderr:
        return done.stderr.strip().splitlines()[-1]
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return ""


def simulate(system: str, stores: Path) -> None:
    """Make the stores of a system that are not there yet."""
    sizes = FIELD_SIZES if systems()[system].grid else SIZES
    for split, count in sizes.items():
        out = stores / f"{system}-{split}"
        if not out.exists():
            options = (f"system={system}", f"out={out}", f"n={count}", f"split={split}", "seed=1")
            launch("simulate_system", *options)


def train(folder: str, system: str, objective: str, seed: int, minutes: float, out: Path) -> None:
    """One run, unless it is finished; one that diverges is scored at its best checkpoint."""
    run_dir = out / "runs" / folder / f"{objective}-{seed}"
    if (run_dir / "finished").exists():
        return
    stores = out / "stores"
    options = ("model.residual_inputs=state",) if folder.endswith(ALONE) else ()
    ended = launch(
        "train_system", f"system={system}", f"objective={objective}", f"seed={seed}",
        f"data.train={stores}/{system}-train", f"data.val={stores}/{system}-val",
        f"run_dir={run_dir}", "resume=true", f"trainer.max_minutes={minutes}", *options,
        forgiven="is not finite",
    )  # fmt: skip
    (run_dir / "finished").write_text(ended)


def score(folder: str, system: str, out: Path, members: int = MEMBERS) -> Path:
    """Score the runs of a folder; where the tables are."""
    scores, stores = out / "scores" / folder, out / "stores"
    launch(
        "evaluate_system", f"runs={out}/runs/{folder}", f"data.test={stores}/{system}-test",
        f"data.train={stores}/{system}-train", f"out={scores}",
        f"members={members}", f"limit={FIELD_SCORED if systems()[system].grid else SCORED}",
    )  # fmt: skip
    return scores


def describe(system: str, out: Path) -> str:
    """A system's part of the table as Markdown."""
    from physics_systems.report.pages import markdown

    scores, alone = score(system, system, out), score(system + ALONE, system, out, members=2)
    table = markdown(pd.read_csv(scores / "summary.csv"))
    differences = pd.read_csv(scores / "paired.csv").set_index("objective")
    said = []
    for name in OBJECTIVES[1:]:
        if name in differences.index:
            row = differences.loc[name]
            said.append(
                f"{name} {row['difference']:.2g} [{row['low']:.2g}, {row['high']:.2g}], "
                f"{row['verdict']}"
            )
    runs = sorted((out / "runs" / system).glob("*/finished"))
    ended = [path.parent.name for path in runs if path.read_text()]
    diverged = (
        f"Diverged, scored at their best checkpoint: {', '.join(ended)}.\n\n" if ended else ""
    )
    return (
        f"**{system}**\n\n{table}\n\n{diverged}"
        "Other − VGB-DM, paired over seeds and test trajectories, with 95 % intervals: "
        f"{'; '.join(said)}.\n\n"
        f"θ error by parameter: {'; '.join(parameters(scores, alone))}.\n"
    )


def parameters(scores: Path, alone: Path) -> list[str]:
    """θ errors by parameter: with the preset, by R alone, and of the exact minimiser of R."""
    limits = pd.read_csv(scores / "limits.csv").set_index("parameter")["minimum_norm_error"]
    preset, free = (
        pd.read_csv(place / "summary.csv").set_index("objective").loc["vgbdm"]
        for place in (scores, alone)
    )
    return [
        f"{name} {preset[f'theta_error_{name}']:.2g} with the preset's inputs, "
        f"{free[f'theta_error_{name}']:.2g} by R alone (exact minimiser of R {limit:.2g})"
        for name, limit in limits.items()
    ]


def main() -> None:
    """Simulate, train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--preset", choices=PRESETS, default="laptop")
    parser.add_argument("--out", type=Path, default=REPO / "benchmarks" / "out")
    parser.add_argument("--systems", nargs="+", help="names of configs; without it all of them")
    parser.add_argument("--plugins", nargs="+", default=[], help="packages of other systems")
    parser.add_argument("--page", type=Path, default=REPO / "docs" / "benchmarks.md")
    chosen = parser.parse_args()
    plugins.use(chosen.plugins)
    chosen.systems = chosen.systems or list(systems())
    unknown = [name for name in chosen.systems if name not in systems()]
    if unknown:
        parser.error(f"--systems {unknown[0]}: want some of {', '.join(systems())}")
    minutes, seeds, jobs = PRESETS[chosen.preset]
    out = chosen.out.resolve() / chosen.preset
    for system in chosen.systems:
        simulate(system, out / "stores")
    matrix = [
        *(
            (name, name, *rest)
            for name, *rest in itertools.product(chosen.systems, OBJECTIVES, seeds)
        ),
        *((name + ALONE, name, "vgbdm", seed) for name in chosen.systems for seed in seeds),
    ]
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(matrix), unit="run") as bar:
        runs = [pool.submit(train, *job, minutes, out) for job in matrix]
        for run in runs:
            run.add_done_callback(lambda _: bar.update())
        for run in runs:
            run.result()
    text = (
        f"`python benchmarks/systems.py --preset {chosen.preset}`: {minutes:g} min a run on one "
        f"thread, {jobs} at a time, {len(seeds)} seeds; simulated stores of seed 1; {MEMBERS} "
        f"members; {SCORED} test trajectories ({FIELD_SCORED} of "
        "fields).\n\n"
    )
    table = text + "\n".join(describe(s, out) for s in chosen.systems)
    write_between_marks(chosen.page, "systems table", table)


if __name__ == "__main__":
    main()
