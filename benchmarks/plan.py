"""What a plan without data says of a grid, beside what a training step there takes.

python benchmarks/plan.py out=FILE.csv [grids=[5.625,1.5]] [channels=40] [size=small] [batch=2]

Each figure is of a process of its own on one thread. saved_mib: what the forward pass keeps for the
backward one. step_mib: by how much the resident memory of the process grows at its peak in the
first training step, weights, tables and batch being there. forecast_mib: the same of the first
lead of one forecast. step_s, forecast_s: seconds of CPU of the second and of a lead. `planned` is
counted without numbers, its seconds estimated on a coarse grid in the same process; ratio is
planned ÷ measured.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
COLUMNS = ("saved_mib", "step_mib", "forecast_mib", "step_s", "forecast_s")
KINDS = ("measured", "planned")
MIB = 2**20


def compose_check(options: list[str]) -> Any:
    """The config of a check with such options."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(HERE.parents[1] / "configs"), version_base="1.3"):
        return compose("check", options)


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(work: Callable[[], object]) -> float:
    """MiB by which the process grows while it works, looked at every few milliseconds."""
    before, most, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            most.append(resident())

    thread = threading.Thread(target=watch)
    thread.start()
    work()
    done.set()
    thread.join()
    return (max(most) - before) / MIB


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(options: list[str]) -> dict[str, float]:
    """Figures of real tensors on the grid."""
    import torch

    from climate.planning.costs import CPU, learning_of, one_lead, one_pass, some_batch
    from climate.planning.plan import planned
    from vgbdm.training.memory import saved_bytes

    cfg, store = planned(compose_check(options))
    learning = learning_of(cfg, store)
    batch = some_batch(learning, cfg.batch)
    optimizer = torch.optim.AdamW(learning.field.parameters(), 1e-6, fused=True)

    def step() -> None:
        one_pass(learning, batch, lambda: None)
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def lead() -> None:
        one_lead(learning, 1, CPU)

    own = learning.field
    return {
        "forecast_mib": growth(lead),
        "forecast_s": cpu_seconds(lead),
        "step_mib": growth(step),
        "step_s": cpu_seconds(step),
        "saved_mib": saved_bytes(own, lambda: learning.learner(batch, learning.values)) / MIB,
    }


def plan(options: list[str]) -> dict[str, float]:
    """The same, counted on tensors without numbers, and seconds in proportion."""
    import torch

    from climate.planning.pace import measure_pace
    from climate.planning.plan import needs_of, planned

    cfg, store = planned(compose_check(options))
    needs = needs_of(cfg, store)
    pace = measure_pace(cfg, store, torch.device("cpu"))
    return {
        "saved_mib": needs.costs.kept / MIB,
        "step_mib": needs.costs.peak / MIB,
        "forecast_mib": needs.forecast.peak / MIB,
        "step_s": needs.costs.operations * pace.training,
        "forecast_s": needs.forecast.operations * pace.forecast,
    }


def ask(kind: str, options: list[str]) -> dict[str, float]:
    """Figures of a process of its own."""
    command = [sys.executable, str(HERE), kind, *options]
    found = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": found}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def main(arguments: list[str]) -> None:
    """Measure and plan each grid, and write the table."""
    told = dict(argument.split("=", 1) for argument in arguments)
    out, grids = Path(told.pop("out")), json.loads(told.pop("grids", "[5.625,1.5]"))
    told = {"channels": "40", "size": "small", "batch": "2", **told}
    channels = told.pop("channels")
    rows = []
    for grid in grids:
        options = [f"check.grid={grid}", f"check.channels={channels}", "stream.lanes=1",
                   "stream.pool_blocks=4", *(f"{name}={value}" for name, value in told.items())]  # fmt: skip
        found = {kind: ask(kind, options) for kind in KINDS}
        found["ratio"] = {n: found["planned"][n] / found["measured"][n] for n in COLUMNS}
        rows += [
            [grid, channels, told["size"], told["batch"], kind, *(f"{of[n]:.4g}" for n in COLUMNS)]
            for kind, of in found.items()
        ]
    with out.open("w", newline="") as file:
        head = ["grid", "channels", "size", "batch", "kind", *COLUMNS]
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


if __name__ == "__main__":
    if sys.argv[1] in KINDS:
        ask_of = {"measured": measure, "planned": plan}[sys.argv[1]]
        print(json.dumps(ask_of(sys.argv[2:])))
    else:
        main(sys.argv[1:])
