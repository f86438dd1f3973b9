"""A step that is discarded has not been: weights, moments and all that follows are the same."""

import math

import pytest
import torch
from ports import free_port
from torch import nn

from vgbdm.training.backends.steps import ParameterGroup
from vgbdm.training.backends.torch import SingleBackend
from vgbdm.training.transfer import arrive


class Numbers:
    """A batch of plain numbers."""

    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(4, 3, generator=generator)
        self.ids, self.weights, self.origins = torch.arange(4), torch.ones(4), torch.arange(4)

    def __len__(self):
        return 4

    def to(self, device):
        return self

    def part(self, start, stop):
        part = Numbers(0)
        part.x, part.ids, part.weights = (v[start:stop] for v in (self.x, self.ids, self.weights))
        return part


def arrived(seed):
    return arrive(Numbers(seed), torch.device("cpu"))


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("one", torch.ones(1))

    def forward(self, x):
        return self.linear(x)


def objective(field, batch, values):
    loss = field(batch.x).square().mean(1)
    return {"loss": loss * values["scale"], "other": loss * values["other"]}


def deepspeed(stage):
    def make(accumulation):
        from vgbdm.training.backends.deepspeed import DeepSpeedBackend

        return DeepSpeedBackend(stage, precision="fp32", clip=1.0, accumulation=accumulation)

    return make


def run(make, accumulation, bad):
    """Three steps, after the first one some bad ones: the state, and the results."""
    torch.manual_seed(0)
    field, backend = Line(), make(accumulation)
    backend.start(field, objective, [ParameterGroup(list(field.parameters()), 1.0, 0.01)], 4)
    good, results = {"scale": 1.0, "other": 1.0}, []
    for seed in range(3):
        results.append(backend.step(arrived(seed), good, 0.1))
        for values in bad if seed == 0 else ():
            result = backend.step(
                arrived(7), {**good, **values}, 0.1, (), lambda terms: terms["loss"] < 1e3
            )
            assert not math.isfinite(result.gradient_norm)
    return backend.state().tensors, results


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda a: SingleBackend(precision="fp32", clip=1.0, accumulation=a), id="single"
        ),
        *(pytest.param(deepspeed(k), id=f"zero{k}", marks=pytest.mark.slow) for k in range(4)),
    ],
)
def test_a_discarded_step_leaves_no_trace(make, accumulation, monkeypatch):
    place = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_PORT": free_port()}
    for name, value in place.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    nan, inf = math.nan, math.inf
    bad = [{"scale": nan}, {"other": inf}, {"scale": 1e9}, {"scale": -inf}]
    state, results = run(make, accumulation, bad)
    expected, others = run(make, accumulation, [])
    assert results == others
    for name, tensors in expected.items():
        assert all(torch.equal(state[name][key], value) for key, value in tensors.items())
