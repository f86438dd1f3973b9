"""How much is smoothed: as much as is best for rates, which only the truth could know."""

from dataclasses import replace

import pytest
import torch
from system_fields import SYSTEMS

from physics_systems.data.simulate import simulate
from vgbdm.paths.derivatives import derivatives
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.linear import LinearPath
from vgbdm.paths.noise import estimate_noise
from vgbdm.registry.build import rebuild

CASES = {"lorenz": (60, 2.0, 30), "pendulum": (60, 5.9, 25), "rlc": (60, 5.9, 25)}


@pytest.fixture(scope="module")
def clean():
    """Frames (B, L, C), times, and what wide differences of the whole say: (B, L, 3, C)."""
    found = {}
    for name, (frames, horizon, _) in CASES.items():
        system = replace(SYSTEMS[name], frames=frames, horizon=horizon)
        for irregular in (0.0, 0.5) if name == "pendulum" else (0.0,):
            made = simulate(system, 80, 1, irregular=irregular)
            x, t = (torch.from_numpy(made[k].values).double() for k in ("x", "t"))
            found[name, irregular] = x, t, torch.stack((x, *derivatives(x, t, 11)), 2)
    return found


def observed(x, noise):
    return x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(7)).double()


def rate_error(path, y, t, right, order, window):
    """Relative rms error of the highest rate at the frames of the first window, but the first."""
    at = path.at_frames(path.nodes(y[:, :window], t[:, :window]), t[:, :window])[order]
    wanted = right[:, :window, order]
    scale = right[:, :, order].square().mean((0, 1))
    return float(((at - wanted)[:, 3:].square().mean((0, 1)) / scale).mean().sqrt())


@pytest.mark.parametrize(
    ("name", "irregular", "noise", "order"),
    [
        ("lorenz", 0.0, 0.1, 1),
        ("lorenz", 0.0, 1.0, 1),
        ("pendulum", 0.0, 0.02, 2),
        ("pendulum", 0.5, 0.02, 2),
        ("rlc", 0.0, 0.05, 1),
    ],
)
def test_the_choice_is_nearly_the_best_there_is(clean, name, irregular, noise, order):
    x, t, right = clean[name, irregular]
    y, window = observed(x, noise), CASES[name][2]
    chosen = HermitePath().fitted(y, t, noise, order=order, window=window)
    error = rate_error(chosen, y, t, right, order, window)
    every = [HermitePath(smoothing=10.0 ** (k / 2)) for k in range(-8, 9)]
    best = min(rate_error(path, y, t, right, order, window) for path in every)
    assert error < 1.15 * best
    assert error < rate_error(HermitePath(), y, t, right, order, window) / 3
    again = rebuild(chosen.config())
    assert torch.equal(again.nodes(y, t), chosen.nodes(y, t))


def test_the_noise_that_frames_show_leads_to_the_same(clean):
    x, t, _ = clean["lorenz", 0.0]
    y = observed(x, 0.3)
    known, guessed = (
        HermitePath().fitted(y, t, noise, window=30) for noise in (0.3, estimate_noise(y, t))
    )
    assert 0.3 < guessed.smoothing / known.smoothing < 3.3
    assert known.noise == [0.3] * 3


def test_a_pendulum_starts_with_a_good_velocity(clean):
    """The rms of that velocity is 0.4; interpolation erred by 20, five frames by 1.1."""
    x, t, right = clean["pendulum", 0.0]
    y = observed(x, 0.02)
    path = HermitePath().fitted(y, t, 0.02, order=2, window=25)
    at = path.at_frames(path.nodes(y[:, :25], t[:, :25]), t[:, :25])
    off = (at.velocity[:, -1] - right[:, 24, 1]).square().mean().sqrt()
    assert float(off) < 0.2
    assert float((at.state[:, -1] - x[:, 24]).square().mean().sqrt()) < 0.02


@pytest.mark.parametrize(("name", "order"), [("lorenz", 1), ("pendulum", 2), ("rlc", 1)])
def test_what_is_nothing_beside_the_error_of_interpolation_is_not_smoothed(clean, name, order):
    x, t, _ = clean[name, 0.0]
    window = CASES[name][2]
    for noise in (0.0, 1e-8, estimate_noise(x.float(), t)):
        path = HermitePath()
        assert path.fitted(x, t, noise, order=order, window=window) is path


def test_whoever_says_how_much_is_obeyed(clean):
    x, t, _ = clean["lorenz", 0.0]
    y = observed(x, 1.0)
    for path in (HermitePath(smoothing=0.0), HermitePath(smoothing=2.0), LinearPath()):
        assert path.fitted(y, t, 1.0, window=30) is path


def test_grids_short_windows_and_short_trajectories_have_their_choice():
    numbers = torch.Generator().manual_seed(3)
    t = 0.1 * torch.arange(12).double().expand(6, -1)
    phase = torch.rand((6, 1, 2, 5, 5), generator=numbers) * 6
    x = torch.sin(2 * t[:, :, None, None, None] + phase) + 0.05 * torch.randn(
        (6, 12, 2, 5, 5), generator=numbers
    )
    for window in (2, 5, 12, None):
        path = HermitePath().fitted(x.float(), t, 0.05, window=window)
        assert path.smoothing and path.nodes(x.float(), t).shape == (6, 12, 4, 2, 5, 5)
    few = HermitePath().fitted(x[:, :3], t[:, :3], 0.05)
    assert few.smoothing is None
