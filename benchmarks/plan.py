"""What a plan without data says of a grid, beside what a training step there takes.

python benchmarks/plan.py out=FILE.csv [grids=[1.5]] [channels=40] [size=small] [batch=2]
python benchmarks/marks.py                          then the pages that show it

Steps, leads and plans are of processes of their own, on one thread. saved_mib: what the forward
pass keeps for the backward one. step_mib: by how much the resident memory of a process grows at its
peak in the first training step; weights, tables and batch are there, a small grid was computed
before, and what that left free was given back. forecast_mib: the same of the first lead of one
forecast. step_mapped_mib, forecast_mapped_mib: again, where the C library maps whatever is larger
than 64 KiB by itself and so gives back all that is freed; what either is more is holes in its heap.
step_s, forecast_s: seconds of CPU, the least of some. `planned` is counted without numbers, its
seconds by rates on a coarse grid, the least of some; plans and measurements alternate, as others
may be at work. ratio is planned ÷ measured.
"""

from __future__ import annotations

import csv
import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marks import remember

HERE = Path(__file__).resolve()
MEMORY = ("saved_mib", "step_mib", "step_mapped_mib", "forecast_mib", "forecast_mapped_mib")
COLUMNS = (*MEMORY, "step_s", "forecast_s")
MAPPED = {"MALLOC_MMAP_THRESHOLD_": "65536"}
OWN: Mapping[str, str] = MappingProxyType({})
ROUNDS = 2
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
    ctypes.CDLL(None).malloc_trim(0)
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
            one_pass(learning, some_batch(learning, 1))
            with torch.no_grad():
                one_lead(learning, 1, CPU)
    return cfg, learning


def measure(options: list[str]) -> dict[str, float]:
    """Of training and of a forecast, on real tensors."""
    import torch

    from climate.planning.costs import CPU, one_lead, one_pass, some_batch
    from vgbdm.training.memory import saved_bytes

    cfg, learning = warm(options)
    batch = some_batch(learning, cfg.batch)
    optimizer = torch.optim.AdamW(learning.field.parameters(), 1e-6, fused=True)

    def step(values: Mapping[str, float] | None = None) -> None:
        one_pass(learning, batch, values=values)
        optimizer.step()
        optimizer.zero_grad()

    def every() -> None:
        for values, _ in learning.kinds:
            step(values)

    def lead() -> None:
        with torch.no_grad():
            one_lead(learning, 1, CPU)

    own = learning.field
    return {
        "forecast_mib": growth(lead),
        "step_mib": growth(every),
        "saved_mib": max(
            saved_bytes(own, partial(learning.learner, batch, values)) / MIB
            for values, _ in learning.kinds
        ),
        "step_s": sum(
            share * min(cpu_seconds(partial(step, values)) for _ in range(3))
            for values, share in learning.kinds
        ),
        "forecast_s": cpu_seconds(lead),
    }


def plan(options: list[str]) -> dict[str, float]:
    """The same, counted on tensors without numbers, and seconds by rates."""
    import torch

    from climate.planning.pace import measure_pace
    from climate.planning.plan import needs_of, planned

    cfg, store = planned(compose_check(options))
    needs = needs_of(cfg, store)
    pace = measure_pace(cfg, store, torch.device("cpu"))
    step, lead = needs.costs.peak / MIB, needs.forecast.peak / MIB
    return {
        "saved_mib": needs.costs.kept / MIB,
        **dict.fromkeys(("step_mib", "step_mapped_mib"), step),
        **dict.fromkeys(("forecast_mib", "forecast_mapped_mib"), lead),
        "step_s": needs.micro_batches * needs.costs.work.seconds(pace.training),
        "forecast_s": needs.forecast.work.seconds(pace.forecast),
    }


def ask(kind: str, options: list[str], environment: Mapping[str, str] = OWN) -> Any:
    """Figures of a process of its own."""
    command = [sys.executable, str(HERE), kind, *options]
    found = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    own = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": found, **environment}
    answer = subprocess.run(command, env=own, capture_output=True, text=True, check=True)
    print(kind, *environment, answer.stdout.splitlines()[-1], file=sys.stderr, flush=True)
    return json.loads(answer.stdout.splitlines()[-1])


def figures(options: list[str]) -> dict[str, dict[str, float]]:
    """Measured, planned and their ratio."""
    asked = [(ask("measure", options), ask("plan", options)) for _ in range(ROUNDS)]
    measured, planned = ({**of[0]} for of in zip(*asked, strict=True))
    mapped = ask("measure", options, MAPPED)
    measured |= {f"{n}_mapped_mib": mapped[f"{n}_mib"] for n in ("step", "forecast")}
    for name in ("step_s", "forecast_s"):
        measured[name], planned[name] = (min(o[k][name] for o in asked) for k in (0, 1))
    ratio = {name: planned[name] / measured[name] for name in COLUMNS}
    return {"measured": measured, "planned": planned, "ratio": ratio}


def main(arguments: list[str]) -> None:
    """Measure and plan each grid, and write the table."""
    told = dict(argument.split("=", 1) for argument in arguments)
    out, grids = Path(told.pop("out")), json.loads(told.pop("grids", "[1.5]"))
    told = {"channels": "40", "size": "small", "batch": "2", **told}
    channels = told.pop("channels")
    rows = []
    for grid in grids:
        own = [f"{name}={value}" for name, value in told.items()]
        options = [f"check.grid={grid}", f"check.channels={channels}", *STREAM, *own]
        rows += [
            [grid, channels, told["size"], told["batch"], kind, *(f"{of[n]:.4g}" for n in COLUMNS)]
            for kind, of in figures(options).items()
        ]
    with out.open("w", newline="") as file:
        head = ["grid", "channels", "size", "batch", "kind", *COLUMNS]
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
    remember(out, arguments)


if __name__ == "__main__":
    asked = {"measure": measure, "plan": plan}.get(sys.argv[1])
    if asked is None:
        main(sys.argv[1:])
    else:
        print(json.dumps(asked(sys.argv[2:])))
