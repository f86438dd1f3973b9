"""What a plan without data says of a grid, beside what a training step there takes.

python benchmarks/plan.py out=FILE.csv [grids=[5.625,1.5]] [channels=40] [size=small] [batch=2]

Steps, leads and plans are of processes of their own, on one thread. saved_mib: what the forward
pass keeps for the backward one. step_mib: by how much the resident memory of a process grows at its
peak in the first training step; weights, tables and batch are there, and a small grid was computed
before. forecast_mib: the same of the first lead of one forecast. step_s, forecast_s: seconds of CPU
of the second of them. `planned` is counted without numbers, its seconds estimated on a coarse grid;
ratio is planned ÷ measured.
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
PARTS = {"measured": ("step", "lead"), "planned": ("plan",)}
MIB = 2**20
STREAM = ("stream.lanes=1", "stream.pool_blocks=4")


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


def warm(options: list[str]) -> tuple[Any, Any]:
    """What learns on the grid, and its config, after a pass and a lead on a small one."""
    import torch

    from climate.planning.costs import CPU, learning_of, one_lead, one_pass, some_batch
    from climate.planning.plan import planned

    for grid in ("check.grid=17x32", options[0]):
        cfg, store = planned(compose_check([grid, *options[1:]]))
        learning = learning_of(cfg, store)
        if grid != options[0]:
            one_pass(learning, some_batch(learning, 1), lambda: None)
            with torch.no_grad():
                one_lead(learning, 1, CPU)
    return cfg, learning


def measure_step(options: list[str]) -> dict[str, float]:
    """Of training, on real tensors."""
    import torch

    from climate.planning.costs import one_pass, some_batch
    from vgbdm.training.memory import saved_bytes

    cfg, learning = warm(options)
    batch = some_batch(learning, cfg.batch)
    optimizer = torch.optim.AdamW(learning.field.parameters(), 1e-6, fused=True)

    def step() -> None:
        one_pass(learning, batch, lambda: None)
        optimizer.step()
        optimizer.zero_grad()

    own = learning.field
    return {
        "step_mib": growth(step),
        "step_s": cpu_seconds(step),
        "saved_mib": saved_bytes(own, lambda: learning.learner(batch, learning.values)) / MIB,
    }


def measure_lead(options: list[str]) -> dict[str, float]:
    """Of a forecast, on real tensors."""
    import torch

    from climate.planning.costs import CPU, one_lead

    _, learning = warm(options)
    with torch.no_grad():
        return {
            "forecast_mib": growth(lambda: one_lead(learning, 1, CPU)),
            "forecast_s": cpu_seconds(lambda: one_lead(learning, 1, CPU)),
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
        own = [f"{name}={value}" for name, value in told.items()]
        options = [f"check.grid={grid}", f"check.channels={channels}", *STREAM, *own]
        found: dict[str, dict[str, float]] = {}
        for kind, parts in PARTS.items():
            found[kind] = {k: v for part in parts for k, v in ask(part, options).items()}
        found["ratio"] = {n: found["planned"][n] / found["measured"][n] for n in COLUMNS}
        rows += [
            [grid, channels, told["size"], told["batch"], kind, *(f"{of[n]:.4g}" for n in COLUMNS)]
            for kind, of in found.items()
        ]
    with out.open("w", newline="") as file:
        head = ["grid", "channels", "size", "batch", "kind", *COLUMNS]
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


if __name__ == "__main__":
    asked = {"step": measure_step, "lead": measure_lead, "plan": plan}.get(sys.argv[1])
    if asked is None:
        main(sys.argv[1:])
    else:
        print(json.dumps(asked(sys.argv[2:])))
