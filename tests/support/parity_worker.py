"""One rank of many short runs of a toy field: every layout, and resumes across layouts.

Usage: parity_worker.py FOLDER JOBS, with the rank variables set; JOBS is a JSON list of jobs
    {"name", "layout": single | ddp | zero0 … zero3, "from": another job's name or null,
     "wrong": a control's name or null, "double": whether in float64,
     "frozen": whether the gain stands still}
Each leaves FOLDER/NAME (a run folder) and FOLDER/NAME-rankR.json: losses, norms, and draws.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vgbdm.networks import ResidualMLP
from vgbdm.randomness import keyed_normal, keyed_uniform
from vgbdm.training.backends import deepspeed as zero
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.deepspeed import DeepSpeedBackend
from vgbdm.training.backends.steps import ParameterGroup
from vgbdm.training.backends.torch import DDPBackend, SingleBackend
from vgbdm.training.loop import Trainer
from vgbdm.training.order import Order
from vgbdm.training.plan import Plan
from vgbdm.training.schedules import WarmupCosine
from vgbdm.training.shares import Share

STEPS, HALF, BATCH, SEED = 30, 15, 8, 3
STARTS = 37


class Toy(nn.Module):
    """A perceptron with parameters of odd sizes; ``gain`` has a group of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ResidualMLP(5, 3, width=13, depth=2)
        self.gain = nn.Parameter(torch.ones(7))
        self.register_buffer("unit", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * self.unit * self.gain.mean() + x[:, :3] * self.gain[:3]


@dataclass
class Batch:
    ids: Tensor
    anchors: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def origins(self) -> Tensor:
        return self.anchors

    def part(self, start: int, stop: int) -> Batch:
        cut = slice(start, stop)
        return Batch(self.ids[cut], self.anchors[cut], self.weights[cut])

    def to(self, device: torch.device) -> Batch:
        return Batch(self.ids.to(device), self.anchors.to(device), self.weights.to(device))

    def describe(self) -> str:
        return str(self.ids.tolist())


class Objective:
    """Flow matching in small: data by sample, s and noise by id."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def draw(self, batch):
        """Of a batch: data (B, 5), position (B, 1), noise (B, 5)."""
        s = keyed_uniform(SEED, "s", batch.ids, 1)
        x = keyed_normal(SEED, "data", batch.anchors, 5)
        return x, s, keyed_normal(SEED, "noise", batch.ids, 5)

    def __call__(self, field, batch, values):
        x, s, eps = self.draw(batch)
        target = torch.sin(2 * x[:, :3]) + 0.5 * s
        state = ((1 - 0.1 * s) * x + 0.1 * eps).to(self.dtype)
        return {"loss": (field(state) - target.to(self.dtype)).square().mean(1)}


def stream(order: Order, consumed: int, share: Share, swapped: bool):
    def batches():
        for group in order.groups(consumed, share):
            facts = (group.ids, group.anchors, group.weights)
            parts = (torch.from_numpy(fact).split(len(share)) for fact in facts)
            yield from map(Batch, *parts)

    def with_two_swapped(source):
        first, second = next(source), next(source)
        a, b = first.anchors.clone(), second.anchors.clone()
        a[0], b[0] = second.anchors[0], first.anchors[0]
        yield replace(first, anchors=a)
        yield replace(second, anchors=b)
        yield from source

    found = batches()
    return contextlib.closing(with_two_swapped(found) if swapped else found)


class Divisor(SingleBackend):
    """Control: three micro-batches where there are two."""

    def gradients(self, micro, values, last):
        kept, self.global_batch = self.global_batch, self.global_batch * 3 // 2
        try:
            return super().gradients(micro, values, last)
        finally:
            self.global_batch = kept


class Forgetful(SingleBackend):
    """Control: moments are not restored."""

    def load_moments(self, state, step):
        self.moved = step


class Deaf(DDPBackend):
    """Control: the last rank's gradient is dropped."""

    def gradients(self, micro, values, last):
        if self.rank == self.world_size - 1:
            micro = replace(micro, weights=torch.zeros_like(micro.weights))
        return super().gradients(micro, values, last)


CONTROLS = {"divisor": Divisor, "moments": Forgetful, "gradient": Deaf}


def backend_of(job) -> Backend:
    options = {"precision": "fp32", "clip": 1.0, "accumulation": 1, "ema": 0.9}
    options |= job.get("options", {})
    if job.get("wrong") in CONTROLS:
        return CONTROLS[job["wrong"]](**options)
    if job["layout"].startswith("zero"):
        return DeepSpeedBackend(int(job["layout"][-1]), **options)
    return {"single": SingleBackend, "ddp": DDPBackend}[job["layout"]](**options)


def run(folder: Path, job) -> None:
    run_dir, rank = folder / job["name"], int(os.environ["RANK"])
    ranks = int(os.environ["WORLD_SIZE"])
    backend = backend_of(job)
    if job.get("from") and rank == 0:
        shutil.copytree(folder / job["from"], run_dir)
        last = json.loads((run_dir / "last.json").read_text())
        last |= {"checkpoint": f"step-{HALF:08d}", "step": HALF}
        (run_dir / "last.json").write_text(json.dumps(last))
    if rank == 0:
        run_dir.mkdir(exist_ok=True)
    backend.barrier()
    torch.manual_seed(0)
    dtype = torch.float64 if job.get("double") else torch.float32
    toy = Toy().to(dtype)
    toy.gain.requires_grad_(not job.get("frozen"))
    objective = Objective(dtype)
    groups = [
        ParameterGroup(list(toy.net.parameters()), 1.0, 0.01),
        ParameterGroup([toy.gain] * toy.gain.requires_grad, 3.0, 0.0),
    ]
    groups = [group for group in groups if group.parameters]
    order = Order(np.arange(97), 97, BATCH, BATCH, SEED)
    share = Share.of(BATCH, BATCH, rank, ranks, backend.accumulation)
    heard: list[list[float]] = []
    drawn: list[list[float]] = []

    def validate(field) -> dict[str, float]:
        """Starts one by one: on 2 ranks one calls the field 19 times, the other 18."""
        total = torch.zeros((), dtype=torch.float64)
        with torch.no_grad():
            for start in range(rank, STARTS, ranks):
                own = Batch(*(torch.tensor([start]),) * 2, torch.ones(1))
                total += objective(field, own, {})["loss"].sum().double()
        return {"score": float(backend.sum(total)) / STARTS}

    trainer = Trainer(
        toy,
        objective,
        groups=groups,
        backend=backend,
        open_stream=lambda consumed: stream(order, consumed, share, job.get("wrong") == "swapped"),
        validate=validate,
        rate=WarmupCosine(0.02, 5),
        schedules={},
        global_batch=BATCH,
        plan=Plan(total_steps=STEPS, validations=2, keep=5),
        run_dir=run_dir,
        identity={"must_match": {}, "config": {}},
    )
    original = backend.step

    def step(batch, values, rate, *rest, **more):
        result = original(batch, values, rate, *rest, **more)
        host, (_, s, eps) = batch.host, objective.draw(batch.host)
        columns = (host.ids, host.anchors, s[:, 0], eps[:, 0])
        rows = zip(*(c[share.weights > 0].tolist() for c in columns), strict=True)
        drawn.extend(list(row) for row in rows)
        heard.append([result.terms["loss"], result.gradient_norm, rate])
        return result

    backend.step = step  # type: ignore[method-assign]
    trainer.fit()
    record = {"steps": heard, "drawn": drawn, "best": trainer.best}
    (folder / f"{job['name']}-rank{rank}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    zero.WHOLE_BELOW, zero.LEAST = 0, 64  # even a toy's weights are in parts, and in many of them
    place, jobs = Path(sys.argv[1]), json.loads(sys.argv[2])
    for one in jobs:
        run(place, one)
    os._exit(0)
