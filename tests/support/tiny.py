"""The smallest training: a line fitted to points, with everything a run has."""

import contextlib
import math

import torch
from torch import nn

from vgbdm.training.backends.steps import ParameterGroup
from vgbdm.training.backends.torch import SingleBackend
from vgbdm.training.loop import Trainer
from vgbdm.training.plan import Plan
from vgbdm.training.schedules import Constant

STEADY = Constant(0.05)


class Line(nn.Module):
    """A linear map; y = W x + b of points (B, 3)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.register_buffer("scale", torch.ones(2))

    def forward(self, x):
        return self.layer(x) * self.scale


class Points:
    """A batch of points, drawn from the number of the batch."""

    def __init__(self, ids):
        self.ids, self.weights = ids, torch.ones(len(ids))
        self.origins = ids

    def __len__(self):
        return len(self.ids)

    def part(self, start, stop):
        return type(self)(self.ids[start:stop])

    def to(self, device):
        return type(self)(self.ids.to(device))

    def describe(self):
        return str(self.ids.tolist())


def misfit(field, batch, values):
    x = torch.sin(batch.ids[:, None] + torch.arange(3.0))
    return {"loss": (field(x) - x[:, :2]).square().mean(1)}


def validate(field):
    return {"score": misfit(field, Points(torch.arange(8)), {})["loss"].mean().item()}


@contextlib.contextmanager
def stream(consumed, backend, batch=Points):
    """This rank's share of batches of four."""
    share = slice(backend.rank, None, backend.world_size)
    yield (batch(torch.arange(k, k + 4)[share]) for k in range(consumed, 10**9, 4))


def one_group(field):
    return [ParameterGroup(list(field.parameters()), 1.0, 0.0)]


def make_trainer(
    run_dir, backend=None, told=None, score=validate, objective=misfit, groups=one_group,
    rate=STEADY, schedules=None, batch=Points, **options,
):  # fmt: skip
    """A trainer of six steps and two validations, unless ``options`` of the plan say otherwise.

    ``told`` is what its config says besides the store, ``groups`` makes groups of a field.
    """
    config = {"store": "s3://me:secret@host/store", **(told or {})}
    field = Line()
    backend = backend or SingleBackend(precision="fp32", clip=1.0, accumulation=1)
    run_dir.mkdir(exist_ok=True)
    plan = {"total_steps": 6, "validations": 2, "save_minutes": None} | options
    return Trainer(
        field,
        objective,
        groups=groups(field),
        backend=backend,
        open_stream=lambda consumed: stream(consumed, backend, batch),
        validate=score,
        rate=rate,
        schedules=schedules or {},
        global_batch=4,
        plan=Plan(**plan),
        run_dir=run_dir,
        identity={"must_match": {"seed": 0}, "config": config},
        free=("store",),
    )


def record(trainer):
    """Weights and moments, to compare."""
    return {
        n: {k: v.clone() for k, v in held.items()}
        for n, held in trainer.backend.state().tensors.items()
    }


def alike(first, second):
    return all(
        torch.equal(first[name][key], second[name][key]) for name in first for key in first[name]
    ) and math.isfinite(sum(float(v.sum()) for v in first["model"].values()))
