"""The noise that frames show, of systems that are simulated with a known one."""

from dataclasses import replace

import pytest
import torch
from system_fields import SYSTEMS, dataset

from physics_systems.data.simulate import simulate
from vgbdm.paths.noise import estimate_noise, per_component

SPACING = {"lorenz": 2.0 / 59, "pendulum": 0.1}


@pytest.fixture(scope="module")
def clean():
    """Frames and times as far apart as published ones, regular and not."""
    found = {}
    for name, gap in SPACING.items():
        system = replace(SYSTEMS[name], frames=60, horizon=59 * gap)
        for irregular in (0.0, 0.5):
            made = simulate(system, 120, 1, irregular=irregular)
            found[name, irregular] = tuple(torch.from_numpy(made[k].values) for k in ("x", "t"))
    return found


@pytest.mark.parametrize("irregular", [0.0, 0.5])
@pytest.mark.parametrize("name", SPACING)
@pytest.mark.parametrize("noise", [0.02, 0.1, 1.0])
def test_it_is_found_within_a_tenth(clean, name, noise, irregular):
    x, t = clean[name, irregular]
    extra = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    found = torch.tensor(estimate_noise(x + noise * extra, t))
    assert float(found.square().mean().sqrt()) == pytest.approx(noise, rel=0.1)


@pytest.mark.parametrize("name", SYSTEMS)
def test_without_noise_next_to_none_is_found(clean, name):
    made = dataset(name, 12)
    x, t = (torch.from_numpy(made[k].values) for k in ("x", "t"))
    x, t = clean.get((name, 0.0), (x, t))
    assert max(estimate_noise(x, t)) < 1e-5 * float(x.std())


def test_components_have_noise_of_their_own(clean):
    x, t = clean["lorenz", 0.0]
    extra = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    sizes = torch.tensor([0.1, 0.5, 2.0])
    assert torch.tensor(estimate_noise(x + sizes * extra, t)) / sizes == pytest.approx(1.0, rel=0.1)


def test_grids_and_long_stores_are_looked_at_in_part():
    numbers = torch.Generator().manual_seed(4)
    x = torch.randn((3, 12, 2, 40, 40), generator=numbers) * torch.tensor([0.3, 3.0])[:, None, None]
    found = estimate_noise(x, torch.arange(12.0).expand(3, -1))
    assert found == pytest.approx((0.3, 3.0), rel=0.05)
    long = 0.7 * torch.randn((2, 200_000, 1), generator=numbers)
    assert estimate_noise(long, torch.arange(200_000.0).expand(2, -1)) == pytest.approx(
        (0.7,), rel=0.05
    )


def test_too_few_frames_tell_nothing():
    assert estimate_noise(torch.randn(3, 4, 2), torch.arange(4.0).expand(3, -1)) == (0.0, 0.0)


def test_one_number_is_that_of_every_component():
    assert per_component(0.1, 3) == [0.1] * 3 and per_component((1, 2), 2) == [1.0, 2.0]
