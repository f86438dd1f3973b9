"""A training by script: its scores, its seconds and its samples are written down beforehand."""

import csv
import math
from types import SimpleNamespace

import torch
from tiny import Points, misfit

from vgbdm.training import checkpoint
from vgbdm.training.backends.steps import ParameterGroup
from vgbdm.training.schedules import Linear


class Clock:
    """Stands for the module `time` of the training: seconds pass when a script says so."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        stand_in = SimpleNamespace(perf_counter=lambda: self.now)
        for module in ("loop", "saving", "stopwatch"):
            monkeypatch.setattr(f"vgbdm.training.{module}.time", stand_in)

    def wait(self, seconds):
        """Let time pass."""
        self.now += seconds

    def steps(self, seconds):
        """An objective whose call k takes ``seconds(k)``."""
        calls = iter(range(10**6))

        def objective(field, batch, values):
            self.now += seconds(next(calls))
            return misfit(field, batch, values)

        return objective


class Script:
    """Validation scores in turn, each after so many seconds; notes the mode that it saw."""

    def __init__(self, *scores, clock=None, seconds=0.0):
        self.scores, self.clock, self.seconds = list(scores), clock, seconds
        self.modes, self.autocast = [], []

    def __call__(self, field):
        self.modes.append(field.training)
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        if self.clock:
            self.clock.now += self.seconds
        return {"score": self.scores.pop(0)}


def watch_commits(monkeypatch):
    """(step, best, waited, looked, score as best) of each checkpoint, as it is written."""
    found, commit = [], checkpoint.commit

    def watched(run_dir, part, state, score, *rest):
        found.append((*(state[n] for n in ("step", "best", "waited", "looked")), score))
        commit(run_dir, part, state, score, *rest)

    monkeypatch.setattr(checkpoint, "commit", watched)
    return found


def rows(path):
    """A CSV file's rows, as numbers by column."""
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


# --- a run that can be reckoned by hand ----------------------------------------------------------

CLIP, EMA = 1.2, 0.4
RATE = Linear(0.1, 0.02)
BROKEN = 3
"""The step whose loss is not finite."""


def scale(step, total):
    return math.nan if step == BROKEN else Linear(1.0, 3.0)(step, total)


SCHEDULES = {"scale": scale, "encoder": Linear(1.0, 0.2)}


class Padded(Points):
    """Of which every fifth sample is padding."""

    def __init__(self, ids):
        super().__init__(ids)
        self.weights = (ids % 5 != 2).float()


def scaled_misfit(field, batch, values):
    error = misfit(field, batch, values)["loss"]
    return {"loss": values["scale"] * error, "error": error}


def two_groups(field):
    weight, bias = field.layer.parameters()
    return [ParameterGroup([weight], 0.5, 0.3, "encoder"), ParameterGroup([bias], 2.0, 0.1)]


def by_hand(weight, bias, steps, total):
    """AdamW (Loshchilov & Hutter 2019) on the run above: its tensors by name, and a row per step.

    Gradients are of Σ w loss ÷ 4, clipped at `CLIP`; the mean of the weights starts at the weights.
    """
    values = {"layer.weight": weight.double(), "layer.bias": bias.double()}
    means = {name: value.clone() for name, value in values.items()}
    first, second = ({n: torch.zeros_like(v) for n, v in values.items()} for _ in range(2))
    moved, told = 0, []
    for step in range(steps):
        ids = torch.arange(4 * step, 4 * step + 4)
        x = torch.sin(ids[:, None] + torch.arange(3.0)).double()
        w, b = (v.clone().requires_grad_() for v in values.values())
        error = (x @ w.T + b - x[:, :2]).square().mean(1)
        loss = (Padded(ids).weights * error).sum() / 4
        gradients = torch.autograd.grad(scale(step, total) * loss, (w, b))
        norm = float(torch.cat([g.flatten() for g in gradients]).norm())
        told.append({"error": float(loss.detach()), "norm": norm, "rate": RATE(step, total)})
        if step == BROKEN:
            continue
        moved += 1
        encoder = Linear(1.0, 0.2)(step, total)
        for (name, value), gradient, factor, decay in zip(
            values.items(), gradients, (0.5 * encoder, 2.0), (0.3, 0.1), strict=True
        ):
            g, rate = gradient * min(1.0, CLIP / norm), factor * RATE(step, total)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g * g
            root = (second[name] / (1 - 0.999**moved)).sqrt() + 1e-8
            move = first[name] / (1 - 0.9**moved) / root
            values[name] = value * (1 - rate * decay) - rate * move
            keep = min(EMA, (1 + moved) / (10 + moved))
            means[name] = keep * means[name] + (1 - keep) * values[name]
    return {"model": values, "exp_avg": first, "exp_avg_sq": second, "ema": means}, told
