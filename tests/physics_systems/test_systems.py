"""The four systems against exact answers."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp
from systems import SYSTEMS

from physics_systems.lorenz import Lorenz
from physics_systems.pendulum import Pendulum
from physics_systems.reaction_diffusion import SPACING, ReactionDiffusion, laplacian
from physics_systems.rlc import RLC
from physics_systems.simulate import integrate
from vgbdm.errors import InputError

TIMES = torch.linspace(0, 2, 21, dtype=torch.float64)[None]


def of(system, **values):
    return {name: torch.tensor([float(values[name])], dtype=torch.float64) for name in values}


def test_a_circuit_without_source_or_resistance_rings_at_its_frequency(monkeypatch):
    system = SYSTEMS["rlc"]
    monkeypatch.setattr(RLC, "forcing", lambda self, t: torch.zeros_like(t)[..., None])
    start = torch.tensor([[1.5, 0.0]], dtype=torch.float64)
    states = integrate(system.full, start, TIMES, of(system, L=2.0, C=0.5, R=0.0), "")
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
    states = integrate(system.full, start, clock, of(system, **values), "")
    exact = torch.tensor([voltage(float(t)) for t in times], dtype=torch.float64)
    assert torch.allclose(states[0, 1:, 0], exact, atol=1e-5)


def test_a_small_damped_pendulum_is_linear():
    system = SYSTEMS["pendulum"]
    start = torch.tensor([[1e-4, 0.0]], dtype=torch.float64)
    states = integrate(system.full, start, TIMES, of(system, omega=2.0, gamma=1.0), "")
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
    ours = integrate(system.full, start, TIMES, of(system, **values), "")

    def rate(_, s):
        a, b, c = s
        return [10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c]

    theirs = solve_ivp(rate, (0, 2), start[0].numpy(), t_eval=TIMES[0].numpy(), rtol=1e-10)
    assert torch.allclose(ours[0], torch.from_numpy(theirs.y.T), atol=1e-4)


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
            Lorenz(*options)
    assert Pendulum.order == 2
    assert ReactionDiffusion.grid == (32, 32)
