"""Fixed-step Runge-Kutta: torchdiffeq's answers, orders of convergence, no read by the host."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchdiffeq import odeint

from vgbdm.dynamics.parameters import LogNormalParameters
from vgbdm.dynamics.rollout import ADAPTIVE, Solver, rollout
from vgbdm.dynamics.rungekutta import METHODS, integrate
from vgbdm.dynamics.tendency import Dynamics, Tendency

STEPS = 5
HOST_READS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")


class NoHostReads(TorchDispatchMode):
    """Raises where the host would wait for a number, or for a size that depends on numbers."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = name.startswith("index") and any(
            i is not None and i.dtype == torch.bool for a in args if isinstance(a, list) for i in a
        )
        if name in HOST_READS or masks:
            raise AssertionError(f"a read by the host: {func}")
        return func(*args, **(kwargs or {}))


class Coupled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.mix = torch.nn.Parameter(torch.randn(3, 3, generator=generator, dtype=torch.float64))

    def forward(self, s, x):
        tick = torch.cos(torch.as_tensor(s, dtype=torch.float64))
        return torch.tanh(x @ self.mix) + tick * x


def solve(method, begin=0.0, steps=STEPS, size=0.2):
    """Ours and torchdiffeq's ends, and the gradients of the sums of their squares."""
    for ours in (True, False):
        rate = Coupled()
        start = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3).requires_grad_()
        if ours:
            end = integrate(rate, start, method, steps, size, begin)
        else:
            ends = torch.tensor([begin, begin + steps * size], dtype=torch.float64)
            end = odeint(rate, start, ends, method=method, options={"step_size": size})[-1]
        end.square().sum().backward()
        yield end.detach(), start.grad, rate.mix.grad


@pytest.mark.parametrize("begin", [0.0, 3.0])
@pytest.mark.parametrize("method", METHODS)
def test_states_and_gradients_are_torchdiffeqs(method, begin):
    for ours, theirs in zip(*solve(method, begin), strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-12


def error(method, steps):
    """At s = 1 of dx/ds = -x² + (x - 1/(1 + s)) sin s, x(0) = 1, whose solution is 1/(1 + s)."""
    one = torch.ones(1, dtype=torch.float64)
    end = integrate(
        lambda s, x: -(x**2) + (x - 1 / (1 + s)) * math.sin(s), one, method, steps, 1 / steps
    )
    return abs(float(end) - 0.5)


@pytest.mark.parametrize("method", METHODS)
def test_methods_converge_with_their_order(method):
    measured = math.log2(error(method, 16) / error(method, 32))
    assert METHODS[method].order - 0.2 <= measured < METHODS[method].order + 0.9


@pytest.mark.parametrize("method", METHODS)
def test_tableaux_are_explicit_and_consistent(method):
    tableau = METHODS[method]
    assert [len(row) for row in tableau.stages] == list(range(len(tableau.weights)))
    assert sum(tableau.weights) == pytest.approx(1, abs=1e-15)
    assert [sum(row) for row in tableau.stages] == pytest.approx(list(tableau.nodes), abs=1e-15)


class Driven(Dynamics):
    """dx/dt = -k x + sin t."""

    def __init__(self):
        super().__init__()
        self.theta = LogNormalParameters({"k": (0.8, 0.5)}, ())

    def encode(self, history):
        return history

    def forward(self, x, t, context, weight=1.0):
        theta = self.theta()
        return Tendency(-theta["k"] * x + t[:, None].sin().to(x), {}, theta, {})


def follow(solver, checkpoint=False):
    field = Driven()
    history = torch.ones(2, 3, 1)
    times = torch.tensor([[0.0, 0.5, 1.5], [4.0, 4.1, 4.2]], dtype=torch.float64)
    lengths = times.diff(dim=1)
    with NoHostReads():
        states = rollout(
            field, field.encode, history[:, -1], history, times, lengths, solver, checkpoint
        )
        end = torch.stack(list(states), 1)
        end.sum().backward()
    return end, field.theta.raw["k"].grad


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_rollout_of_fixed_steps_is_never_read_by_the_host(method, checkpoint):
    end, gradient = follow(Solver(method, 3), checkpoint)
    assert bool(end.isfinite().all()) and gradient is not None and float(gradient) != 0


def test_adaptive_steps_are_read_by_the_host():
    """The control of the test above."""
    for method in ADAPTIVE:
        with pytest.raises(AssertionError, match="a read by the host"):
            follow(Solver(method))


@pytest.mark.parametrize(
    "wrong", [lambda x: x[x > 0], lambda x: x.max().item(), bool, torch.nonzero]
)
def test_the_mode_sees_reads(wrong):
    with pytest.raises(AssertionError, match="a read by the host"), NoHostReads():
        wrong(torch.ones(1))


def test_adaptive_rollouts_are_fixed_ones_up_to_their_tolerance():
    field, start = Driven().double(), torch.ones(2, 1, dtype=torch.float64)
    times = torch.tensor([[0.0, 0.5, 1.5], [4.0, 4.1, 4.2]], dtype=torch.float64)
    ends = [
        torch.stack(
            list(
                rollout(
                    field, field.encode, start, start[:, None], times, times.diff(dim=1), solver
                )
            )
        )
        for solver in (Solver("dopri5"), Solver("rk4", 32))
    ]
    assert torch.allclose(*ends, rtol=1e-6)
