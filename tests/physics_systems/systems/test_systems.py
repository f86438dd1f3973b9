"""The four systems against exact answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from system_fields import SYSTEMS

from physics_systems.data.simulate import solve_system
from physics_systems.systems.lorenz import Lorenz
from physics_systems.systems.pendulum import Pendulum
from physics_systems.systems.reaction_diffusion import SPACING, ReactionDiffusion, laplacian
from physics_systems.systems.rlc import RLC
from vgbdm.errors import InputError

TIMES = torch.linspace(0, 2, 21, dtype=torch.float64)[None]


def of(system, **values):
    return {name: torch.tensor([float(values[name])], dtype=torch.float64) for name in values}


def test_a_circuit_without_source_or_resistance_rings_at_its_frequency(monkeypatch):
    system = SYSTEMS["rlc"]
    monkeypatch.setattr(RLC, "forcing", lambda self, t: torch.zeros_like(t)[..., None])
    start = torch.tensor([[1.5, 0.0]], dtype=torch.float64)
    states = solve_system(system.full, start, TIMES, of(system, L=2.0, C=0.5, R=0.0), "")
    omega = 1.0  # 1 / √(LC)
    assert torch.allclose(states[0, :, 0], 1.5 * torch.cos(omega * TIMES[0]), atol=1e-6)
    current = -1.5 * 0.5 * omega * torch.sin(omega * TIMES[0])
    assert torch.allclose(states[0, :, 1], current, atol=1e-6)


def test_a_driven_circuit_reaches_its_exact_steady_state():
    """Phasors: U'' + (R/(LC)) U' ... solved for V = 1 + 2.5 sin 2t."""
    system, values = SYSTEMS["rlc"], {"L": 1.3, "C": 0.8, "R": 1.7}
    omega, (inductance, capacity, resistance) = 2.0, values.values()
    # I = C U'; L C U'' + R U' + U = V, with the benchmark's drop R I / C
    response = 1 / (1 - inductance * capacity * omega**2 + 1j * resistance * omega)
    times = torch.linspace(40, 44, 21, dtype=torch.float64)

    def voltage(t):
        return 1 + 2.5 * (response * complex(math.cos(omega * t), math.sin(omega * t))).imag

    clock = torch.cat((torch.zeros(1, dtype=torch.float64), times))[None]
    start = torch.zeros(1, 2, dtype=torch.float64)
    states = solve_system(system.full, start, clock, of(system, **values), "")
    exact = torch.tensor([voltage(float(t)) for t in times], dtype=torch.float64)
    assert torch.allclose(states[0, 1:, 0], exact, atol=1e-5)


def test_a_small_damped_pendulum_is_linear():
    system = SYSTEMS["pendulum"]
    start = torch.tensor([[1e-4, 0.0]], dtype=torch.float64)
    states = solve_system(system.full, start, TIMES, of(system, omega=2.0, gamma=1.0), "")
    damped = math.sqrt(4 - 0.25)
    wave = torch.cos(damped * TIMES[0]) + 0.5 / damped * torch.sin(damped * TIMES[0])
    assert torch.allclose(states[0, :, 0], 1e-4 * torch.exp(-TIMES[0] / 2) * wave, atol=2e-9)


def test_pure_diffusion_decays_each_wave_at_its_rate():
    system = SYSTEMS["reaction_diffusion"]
    cells = torch.arange(32, dtype=torch.float64)
    wave = torch.cos(2 * math.pi * 3 * cells / 32)[None, :].expand(32, 32)
    rate = (2 - 2 * math.cos(2 * math.pi * 3 / 32)) / SPACING**2
    assert torch.allclose(laplacian(wave), -rate * wave, atol=1e-9)
    known = system.known(
        torch.stack((wave, 0 * wave))[None], torch.zeros(1), of(system, a=0.002, b=0.005)
    )
    assert torch.allclose(known[0, 0], -0.002 * rate * wave, atol=1e-12)
    assert torch.allclose(known[0, 1], wave, atol=1e-12)


def test_lorenz_rests_at_its_fixed_points_and_agrees_with_scipy():
    system, values = SYSTEMS["lorenz"], {"sigma": 10.0, "rho": 28.0, "beta": 8 / 3}
    root = math.sqrt(values["beta"] * (values["rho"] - 1))
    point = torch.tensor([[root, root, values["rho"] - 1]], dtype=torch.float64)
    assert system.full(point, torch.zeros(1), of(system, **values)).abs().max() < 1e-12
    start = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    ours = solve_system(system.full, start, TIMES, of(system, **values), "")

    def rate(_, s):
        a, b, c = s
        return [10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c]

    theirs = solve_ivp(rate, (0, 2), start[0].numpy(), t_eval=TIMES[0].numpy(), rtol=1e-10)
    assert torch.allclose(ours[0], torch.from_numpy(theirs.y.T), atol=1e-4)


def test_the_equations_are_those_of_the_benchmark():
    """Term by term, at states and times where none of them is small."""
    t = torch.tensor([0.3, 1.7], dtype=torch.float64)
    x = torch.tensor([[1.5, -0.7, 2.0], [-2.0, 0.4, 0.9]], dtype=torch.float64)
    a, b, c = x.T
    given = {k: torch.tensor(v, dtype=torch.float64) for k, v in {
        "L": [1.2, 2.5], "C": [0.6, 1.4], "R": [1.9, 1.1], "omega": [0.9, 2.1],
        "gamma": [0.7, 1.3], "sigma": [9.6, 10.4], "rho": [27.2, 28.7], "beta": [2.65, 2.75],
    }.items()}  # fmt: skip
    source = 1 + 2.5 * torch.sin(2 * t)
    of_rlc = (b / given["C"], (source - a) / given["L"])
    drop = given["R"] * b / given["C"] / given["L"]
    of_lorenz = (given["sigma"] * (b - a), -b, a * b - given["beta"] * c)
    lift = a * (given["rho"] - c)
    of_pendulum = -(given["omega"] ** 2) * torch.sin(a)
    exact = {
        "rlc": (of_rlc, (of_rlc[0], of_rlc[1] - drop)),
        "pendulum": ((of_pendulum,), (b, of_pendulum - given["gamma"] * b)),
        "lorenz": (of_lorenz, (of_lorenz[0], of_lorenz[1] + lift, of_lorenz[2])),
    }
    for name, (known, full) in exact.items():
        state = x[:, : len(full)]
        assert torch.allclose(SYSTEMS[name].known(state, t, given), torch.stack(known, 1)), name
        assert torch.allclose(SYSTEMS[name].full(state, t, given), torch.stack(full, 1)), name
    assert torch.allclose(SYSTEMS["rlc"].forcing(t), source[:, None])
    assert SYSTEMS["lorenz"].forcing(t).shape == (2, 0)


def test_the_equations_of_reaction_and_diffusion():
    system, generator = SYSTEMS["reaction_diffusion"], torch.Generator().manual_seed(0)
    x = torch.rand((2, 2, 32, 32), generator=generator, dtype=torch.float64)
    u, v = x.unbind(1)
    given = {"a": [0.001, 0.002], "b": [0.004, 0.006], "k": [0.3, 0.5]}
    a, b, k = (torch.tensor(q, dtype=torch.float64)[:, None, None] for q in given.values())

    def spread(f):
        f = f.numpy()
        around = sum(np.roll(f, shift, axis) for shift in (1, -1) for axis in (1, 2))
        return torch.from_numpy((around - 4 * f) * 15.5**2)

    theta = {name: torch.tensor(q, dtype=torch.float64) for name, q in given.items()}
    known = torch.stack((a * spread(u), b * spread(v) + u - v), 1)
    assert torch.allclose(system.known(x, torch.zeros(2), theta), known)
    full = known + torch.stack((u - u**3 - k - v, torch.zeros_like(v)), 1)
    assert torch.allclose(system.full(x, torch.zeros(2), theta), full)


def test_starts_are_drawn_as_the_benchmark_says():
    count, generator = 4000, torch.Generator().manual_seed(0)
    voltage, current = SYSTEMS["rlc"].start(count, generator).T
    assert float(voltage.std()) == pytest.approx(1.0, abs=0.04) and not current.any()
    assert abs(float(voltage.mean())) < 0.05
    angle, speed = SYSTEMS["pendulum"].start(count, generator).T
    assert float(angle.std()) == pytest.approx(1.57 / 3**0.5, rel=0.03) and not speed.any()
    assert 1.5 < float(angle.max()) <= 1.57 and -1.57 <= float(angle.min()) < -1.5
    lorenz = SYSTEMS["lorenz"].start(count, generator)
    assert lorenz.shape == (count, 3) and ((lorenz.std(0) - 0.5).abs() < 0.02).all()
    cells = replace(SYSTEMS["reaction_diffusion"], start_range=(-1.0, 3.0)).start(9, generator)
    assert cells.shape == (9, 2, 32, 32)
    assert float(cells.mean()) == pytest.approx(1.0, abs=0.05)
    assert -1 <= float(cells.min()) < -0.99 and 2.99 < float(cells.max()) <= 3


@pytest.mark.parametrize(
    ("name", "missing"),
    [("rlc", [1]), ("pendulum", [1]), ("reaction_diffusion", [0]), ("lorenz", [1])],
)
def test_only_what_is_said_to_be_unknown_is_missing(name, missing):
    system = SYSTEMS[name]
    state = system.start(3, torch.manual_seed(0)) + 0.5
    values = {n: torch.full((3,), sum(system.ranges[n]) / 2).double() for n in system.parameters}
    t = torch.zeros(3, dtype=torch.float64)
    full = system.full(state, t, values)
    known = system.known(state, t, {n: values[n] for n in system.prior})
    rows = full[:, -known.shape[1] :] if system.order == 2 else full
    place = [k for k in range(rows.shape[1]) if not torch.allclose(rows[:, k], known[:, k])]
    assert place == ([0] if system.order == 2 else missing)


def test_presets_that_cannot_be_are_refused():
    ranges, prior = {"sigma": [9, 10], "rho": [27, 29], "beta": [2, 3]}, {"sigma": [10, 1]}
    for options, words in (
        ((60, 2.0, ranges, {"tau": [1, 1]}), "prior.tau"),
        ((60, 2.0, {"sigma": [9, 10]}, prior), "missing"),
        ((60, 2.0, ranges | {"rho": [29, 27]}, prior), "want low"),
        ((1, 2.0, ranges, prior), "frames=1"),
    ):
        with pytest.raises(InputError, match=words):
            Lorenz(*options[:3], prior=options[3])
    assert Pendulum.order == 2
    assert ReactionDiffusion.grid == (32, 32)
