"""Split steps on a fast turn with a slow push that has no short formula."""

import itertools
import math

import pytest
import torch

from vgbdm.dynamics.rollout import Driving, Solver, rollout
from vgbdm.dynamics.splitting import SplitSolver
from vgbdm.dynamics.tendency import Context, SplitDynamics, Tendency
from vgbdm.errors import InputError

NOTHING = Context({}, None, ())
LENGTH = 1.5


class Driven(SplitDynamics):
    """dx/dt = turn · (-y, x) + a (cos(t + y), sin(2 x) - x): turned fast, pushed slowly."""

    def __init__(self, turn: float = 8.0) -> None:
        super().__init__()
        self.turn, self.asked = turn, 0
        self.push = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def slow(self, x, t, context):
        self.asked += 1
        along = torch.cos(t + x[:, 1])
        return (self.push * along, self.push * (torch.sin(2 * x[:, 0]) - x[:, 0]))

    def fast(self, x, slow, context):
        return torch.stack((-self.turn * x[:, 1] + slow[0], self.turn * x[:, 0] + slow[1]), 1)

    def forward(self, x, t, context, weight=1.0):
        return Tendency(self.fast(x, self.slow(x, t, context), context), {}, {}, {})


def carried(field, solver, steps=1, checkpoint=False):
    """States (2, steps, 2) of two samples whose intervals are of unlike length."""
    start = torch.tensor([[0.8, -0.3], [0.1, 1.1]], dtype=torch.float64)
    lengths = torch.tensor([LENGTH, 0.6 * LENGTH], dtype=torch.float64)
    times = torch.outer(lengths, torch.arange(steps + 1, dtype=torch.float64)) / steps + 0.4
    states = rollout(
        field,
        lambda _: NOTHING,
        start,
        start[:, None],
        times,
        times.diff(dim=1),
        solver,
        checkpoint,
    )
    return torch.stack(list(states), 1)


def test_split_steps_are_of_second_order():
    field = Driven()
    with torch.no_grad():
        exact = carried(field, Solver("rk4", 512))[:, -1]
        errors = [
            (carried(field, SplitSolver(calls, 64 // calls))[:, -1] - exact).norm(dim=1)
            for calls in (8, 16, 32)
        ]
    for sample in range(2):
        for coarse, fine in itertools.pairwise(errors):
            assert math.log2(coarse[sample] / fine[sample]) > 1.8


def test_more_calls_in_a_step_are_shorter_steps():
    field = Driven()
    whole = carried(field, SplitSolver(8, 3))[:, -1]
    parts = carried(field, SplitSolver(2, 3), steps=4)[:, -1]
    assert torch.allclose(whole, parts, rtol=1e-12)


def test_where_all_is_slow_they_are_the_midpoint_rule():
    field = Driven(turn=0.0)
    want = carried(field, Solver("midpoint", 2), steps=3)
    assert torch.allclose(carried(field, SplitSolver(4, 1), steps=3), want, rtol=1e-12)


@pytest.mark.parametrize(("calls", "substeps"), [(2, 1), (2, 39), (6, 4)])
def test_the_slow_part_is_asked_as_often_as_was_wanted(calls, substeps):
    field = Driven()
    carried(field, SplitSolver(calls, substeps), steps=3)
    assert field.asked == 3 * calls


def test_activations_computed_again_give_the_same_gradient():
    gradients = []
    for checkpoint in (False, True):
        field = Driven()
        carried(field, SplitSolver(2, 4), steps=2, checkpoint=checkpoint).square().sum().backward()
        gradients.append(field.push.grad)
        assert field.asked == (2 + 2 * checkpoint) * 2
    assert gradients[0].abs() > 0.1
    assert torch.equal(*gradients)


@pytest.mark.parametrize("calls", [1, 3])
def test_calls_come_in_pairs(calls):
    with pytest.raises(InputError, match=f"model.network_calls={calls}: they come in pairs; want"):
        SplitSolver(calls, 1)


def test_what_is_driven_moves_evenly_under_split_steps_too():
    """The first part follows t on both sides; the second is then turned by it: y' = turn · x."""
    field = Driven(turn=3.0).double()
    with torch.no_grad():
        field.push.zero_()
    start = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    times = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    known = Driving(torch.tensor([1.0, 0.0]).double(), [torch.tensor([[1.5, 7.0]]).double()])
    (end,) = rollout(
        field, lambda _: NOTHING, start, start[:, None], times, times.diff(dim=1),
        SplitSolver(2, 1), driving=known,
    )  # fmt: skip
    assert end[0, 0] == 1.5
    assert end[0, 1].item() == pytest.approx(3.0 * 2.0 * (0.5 + 1.5) / 2)
