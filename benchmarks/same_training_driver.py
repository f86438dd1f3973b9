"""Runs launchers of one checkout in processes forked from this one, which has imported libraries.

python benchmarks/same_training_driver.py CHECKOUT

Jobs come by standard input, a line of JSON each; each is answered by the exit codes of its ranks.
A rank with a ``record`` writes the gradients of its first steps and its last weights there. Of a
checkout only its command lines are known here, and torch.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

IMPORTED = (
    "torch._dynamo", "torch.distributed", "torch.utils.tensorboard", "torch_harmonics", "hydra",
    "pandas", "xarray", "netCDF4", "zarr", "dask.array", "safetensors.torch", "cf_units",
    "climate.training.run", "climate.sources.opening", "climate.conversion.convert",
    "climate.sample.write",
    "physics_systems.training", "physics_systems.data.simulate",
)  # fmt: skip
"""To be quick; what a checkout has not is left out."""
GRADIENTS = 2
"""Steps whose gradients are kept: at the first one much is 0, for last layers start there."""
GRACE_SECONDS = 10.0
"""For the other ranks to end after one has failed."""


def names_of(parameters: list[Tensor]) -> list[str]:
    """The names that the innermost module that holds all of them gives to parameters."""
    wanted = {id(p) for p in parameters}
    found: list[list[str]] = []
    for thing in gc.get_objects():
        if issubclass(type(thing), nn.Module):
            names = {id(p): name for name, p in thing.named_parameters()}
            if wanted <= names.keys():
                found.append([names[id(p)] for p in parameters])
    return min(found, key=lambda names: sum(map(len, names)))


class Recorder:
    """Writes gradients and weights of the optimiser that makes so many steps.

    Gradients are those that the optimiser moves by: averaged over ranks, and clipped; their norm
    before is in the log of the run.

    Args:
        path: of the record.
        steps: of the run.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.steps = path, steps
        self.kept: dict[Optimizer, list[list[Tensor | None]]] = {}
        self.made: dict[Optimizer, int] = {}

    def before(self, optimizer: Optimizer, *_: Any) -> None:
        """Keep the gradients of a first step."""
        kept = self.kept.setdefault(optimizer, [])
        if len(kept) < GRADIENTS:
            grads = [p.grad for p in parameters_of(optimizer)]
            kept.append([None if grad is None else grad.detach().clone() for grad in grads])

    def after(self, optimizer: Optimizer, *_: Any) -> None:
        """Write, if this was the last step."""
        self.made[optimizer] = self.made.get(optimizer, 0) + 1
        if self.made[optimizer] == self.steps:
            parameters = parameters_of(optimizer)
            record = {
                "names": names_of(parameters),
                "gradients": self.kept[optimizer],
                "weights": [p.detach().clone() for p in parameters],
            }
            torch.save(record, self.path)


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Those it moves, in its order."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def run_rank(job: dict[str, Any], rank: int) -> int:
    """In a process of its own: the launcher, as the command line runs it; its exit code."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=job["port"],
        WORLD_SIZE=str(job["ranks"]), LOCAL_WORLD_SIZE=str(job["ranks"]),
    )  # fmt: skip
    for stream in (1, 2):
        os.dup2(os.open(job["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    if job["record"]:
        recorder = Recorder(Path(f"{job['record']}-{rank}.pt"), job["steps"])
        register_optimizer_step_pre_hook(recorder.before)
        register_optimizer_step_post_hook(recorder.after)
    sys.argv = [job["script"], *job["options"]]
    sys.path.insert(0, str(Path(job["script"]).parent))
    try:
        runpy.run_path(job["script"], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def start(job: dict[str, Any], rank: int) -> int:
    """Fork a rank; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = run_rank(job, rank)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def run(job: dict[str, Any]) -> list[int]:
    """All ranks to their end; where one fails, the others are not waited for."""
    living = {start(job, rank): rank for rank in range(job["ranks"])}
    codes, end = [0] * job["ranks"], time.monotonic() + job["seconds"]
    while living:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            codes[living.pop(child)] = code = os.waitstatus_to_exitcode(status)
            end = min(end, time.monotonic() + GRACE_SECONDS) if code else end
        elif time.monotonic() > end:
            for late in living:
                os.kill(late, 9)
            end += job["seconds"]
        else:
            time.sleep(0.02)
    return codes


def main(checkout: Path) -> None:
    """Import what there is, then run job after job."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what imports print is no answer
    sys.path[0] = str(checkout)
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    strangers = [
        place
        for name in ("vgbdm", "climate", "physics_systems")
        if name in sys.modules
        for place in sys.modules[name].__path__
        if not Path(place).is_relative_to(checkout)
    ]
    if strangers:
        sys.exit(f"{checkout}: {strangers[0]} was imported instead")
    gc.freeze()
    with contextlib.suppress(BrokenPipeError):  # who asked may be gone
        for line in sys.stdin:
            answers.write(json.dumps(run(json.loads(line))) + "\n")
            answers.flush()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]).resolve())
