"""Rollouts and positive parameters on a field with a known solution."""

import math

import pytest
import torch
from torch import nn

from vgbdm.dynamics.parameters import LogNormalParameters
from vgbdm.dynamics.rollout import Driving, Solver, rollout
from vgbdm.dynamics.tendency import Dynamics, Tendency
from vgbdm.errors import InputError

STEP = 0.25


class Decay(Dynamics):
    """dx/dt = -k x + a t."""

    def __init__(self, ramp: float = 0.0) -> None:
        super().__init__()
        self.theta, self.ramp, self.seen = LogNormalParameters({"k": (0.8, 0.5)}, ()), ramp, []

    def encode(self, history):
        self.seen.append(history.clone())
        return history

    def forward(self, x, t, context, weight=1.0):
        theta, closure = self.theta(), self.ramp * t[:, None].to(x) * torch.ones_like(x)
        total = -theta["k"] * x * weight + closure
        return Tendency(total, {"source": closure}, theta, {})


def run(field: Dynamics, steps: int, solver: Solver) -> torch.Tensor:
    history = torch.tensor([[[1.0], [2.0], [3.0]], [[0.0], [0.0], [-1.0]]], dtype=torch.float64)
    seconds = torch.tensor([0.0, 10.0], dtype=torch.float64)
    field = field.double()
    times = seconds[:, None] + STEP * torch.arange(steps + 1)
    states = rollout(field, field.encode, history[:, -1], history, times, times.diff(dim=1), solver)
    return torch.stack(list(states), 1)


def test_samples_may_have_irregular_times_of_their_own():
    field, start = Decay().double(), torch.tensor([[3.0], [-1.0]], dtype=torch.float64)
    times = torch.tensor([[0.0, 0.1, 0.4], [5.0, 5.3, 5.35]], dtype=torch.float64)
    states = rollout(
        field, field.encode, start, start[:, None], times, times.diff(dim=1), Solver("rk4", 4)
    )
    got = torch.stack(list(states), 1)[..., 0]
    exact = start * torch.exp(-0.8 * (times[:, 1:] - times[:, :1]))
    assert torch.allclose(got, exact, rtol=1e-6)


def test_rollout_follows_the_exact_solution():
    got = run(Decay(), 8, Solver("rk4", 4))
    times = STEP * torch.arange(1, 9, dtype=torch.float64)
    assert torch.allclose(got[0, :, 0], 3 * torch.exp(-0.8 * times), rtol=1e-6)
    assert torch.allclose(got[1, :, 0], -torch.exp(-0.8 * times), rtol=1e-6)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_solvers_converge_with_their_order(method, order):
    exact = 3 * math.exp(-0.8 * STEP * 4)
    ends = [run(Decay(), 4, Solver(method, n))[0, -1, 0].item() for n in (2, 4)]
    errors = [abs(end - exact) for end in ends]
    assert math.log2(errors[0] / errors[1]) > order - 0.2


def test_every_sample_has_its_own_clock():
    got = run(Decay(ramp=1.0), 2, Solver("rk4", 4))
    k = 0.8

    def exact(start: float, x0: float, t: float) -> float:
        def particular(s: float) -> float:
            return s / k - 1 / k**2

        return particular(start + t) + (x0 - particular(start)) * math.exp(-k * t)

    assert float(got[0, 1, 0].detach()) == pytest.approx(exact(0.0, 3.0, 0.5), rel=1e-5)
    assert float(got[1, 1, 0].detach()) == pytest.approx(exact(10.0, -1.0, 0.5), rel=1e-5)


class Clocked(Dynamics):
    """dx/dt = 10 + t, whose calls are kept; a frame shows twice the state."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, x, t, context, weight=1.0):
        self.asked.append((t.tolist(), context.shape, weight))
        return Tendency((10 + t)[:, None] * torch.ones_like(x), {}, {}, {})

    def observe(self, x):
        return 2 * x


def test_the_clock_and_the_length_of_an_interval_have_their_own_units():
    """Times by the second, lengths by the hour: Σ length (10 + t) over two Euler substeps."""
    field, histories = Clocked(), []
    start = torch.tensor([[1.0], [2.0]]).double()
    times = torch.tensor([[0.0, 4.0, 5.0], [8.0, 10.0, 16.0]])
    lengths = torch.tensor([[0.5, 0.25], [1.0, 2.0]])
    first, second = rollout(
        field, lambda history: histories.append(history) or history, start, start[:, None],
        times, lengths, Solver("euler", 2),
    )  # fmt: skip
    assert [t for t, _, _ in field.asked] == [[0, 8], [2, 9], [4, 10], [4.5, 13]]
    one = start + torch.tensor([[0.25 * (10 + 12)], [0.5 * (18 + 19)]])
    two = one + torch.tensor([[0.125 * (14 + 14.5)], [1.0 * (20 + 23)]])
    assert torch.allclose(first, one) and torch.allclose(second, two)
    assert torch.equal(histories[1], 2 * one[:, None])


@pytest.mark.parametrize("solver", [Solver("rk4", 2), Solver("dopri5")])
def test_memory_may_be_paid_with_work(solver):
    """Activations computed again give the same states and gradients, by more calls."""
    ends, gradients = [], []
    for checkpoint in (False, True):
        field = Decay(0.3).double()
        start = torch.tensor([[3.0], [-1.0]], dtype=torch.float64)
        times = torch.tensor([[0.0, 0.3], [5.0, 5.2]], dtype=torch.float64)
        states = rollout(
            field, field.encode, start, start[:, None], times, times.diff(dim=1), solver,
            checkpoint=checkpoint,
        )  # fmt: skip
        end = next(states)
        end.square().sum().backward()
        ends.append(end.detach())
        gradients.append(field.theta.raw["k"].grad.clone())
    assert torch.equal(*ends) and torch.allclose(*gradients)
    k, gap = 0.8, times.diff(dim=1)
    particular = 0.3 * (times / k - 1 / k**2)
    exact = particular[:, 1:] + (start - particular[:, :1]) * torch.exp(-k * gap)
    assert torch.allclose(ends[0], exact, rtol=1e-4)


def test_history_slides_and_ends_at_the_current_state():
    field = Decay()
    got = run(field, 3, Solver("midpoint", 1))
    first, second, third = field.seen
    assert torch.equal(second[:, :2], first[:, 1:])
    assert torch.equal(second[:, 2], got[:, 0])
    assert torch.equal(third[:, 1:], got[:, :2])


def test_physical_parameters_are_positive_and_start_at_their_prior():
    theta = LogNormalParameters({"k": (0.8, 0.5), "r": (10.0, 0.1)}, (3,))
    assert torch.allclose(theta()["r"], torch.full((3,), 10.0))
    assert float(theta.penalty().detach()) == pytest.approx(0, abs=1e-10)
    with torch.no_grad():
        theta.raw["k"].fill_(-30.0)
    values = theta()
    assert bool((values["k"] > 0).all())
    assert float(theta.penalty().detach()) == pytest.approx(3 * 0.5 * 30**2, rel=1e-4)
    assert all(isinstance(p, nn.Parameter) for p in theta.parameters())


def test_no_substeps_are_refused():
    with pytest.raises(InputError, match="substeps=0"):
        Solver("rk4", 0)


def test_unknown_methods_are_refused_and_midpoint_is_usual():
    with pytest.raises(InputError, match=r"solver\.method=leapfrog: unknown; there are euler"):
        Solver("leapfrog", 1)
    assert Solver() == Solver("midpoint", 2) and Solver("rk4", 1).substeps == 1


class Pulled(Dynamics):
    """dx/dt = y, dy/dt = -5 y: the second is to be driven, the first feels it."""

    def forward(self, x, t, context, weight=1.0):
        return Tendency(torch.stack((x[:, 1], -5 * x[:, 1]), 1), {}, {}, {})


def pulled(share, known):
    """States (2, n, 2), of which a share follows what is known (n, 2, 2)."""
    start = torch.tensor([[1.0, 2.0], [0.0, -1.0]], dtype=torch.float64)
    times = STEP * torch.arange(len(known) + 1, dtype=torch.float64).expand(2, -1)
    driving = None if share is None else Driving(torch.tensor(share).double(), known)
    states = rollout(
        Pulled(), lambda history: history, start, start[:, None], times, times.diff(dim=1),
        Solver("rk4", 1), driving=driving,
    )  # fmt: skip
    return torch.stack(list(states), 1)


KNOWN = torch.tensor([[[9.0, 4.0], [9.0, 1.0]], [[9.0, -2.0], [9.0, 3.0]]], dtype=torch.float64)


def test_what_is_driven_is_what_is_known_and_moves_evenly_to_it():
    got = pulled([0.0, 1.0], KNOWN)
    assert torch.equal(got[..., 1], KNOWN[..., 1].T)
    begun = torch.tensor([[2.0, 4.0], [-1.0, 1.0]], dtype=torch.float64)
    mean = (begun + KNOWN[..., 1].T) / 2
    first = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    assert torch.allclose(got[..., 0], first + STEP * mean.cumsum(1))


def test_a_share_of_nothing_changes_no_bit_and_one_of_a_half_lies_between():
    free, alone = pulled(None, KNOWN), pulled([0.0, 0.0], KNOWN)
    assert torch.equal(free, alone)
    half, whole = (pulled([0.0, share], KNOWN[:1])[:, 0, 1] for share in (0.5, 1.0))
    low, high = torch.minimum(free[:, 0, 1], whole), torch.maximum(free[:, 0, 1], whole)
    assert ((low < half) & (half < high)).all()


def test_known_states_are_asked_for_step_by_step():
    asked = []

    def known():
        for k, states in enumerate(KNOWN):
            asked.append(k)
            yield states

    start = torch.zeros(2, 2, dtype=torch.float64)
    times = torch.arange(3.0).expand(2, -1)
    steps = rollout(
        Pulled(), lambda history: history, start, start[:, None], times, times.diff(dim=1),
        Solver("euler", 1), driving=Driving(torch.ones(2).double(), known()),
    )  # fmt: skip
    next(steps)
    assert asked == [0]
