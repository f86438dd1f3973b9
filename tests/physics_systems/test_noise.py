"""Training follows the noise of its store, and says what it took it for."""

import logging
from dataclasses import replace

import pytest
import torch
from system_fields import SYSTEMS, make_field

from physics_systems.data.simulate import simulate
from physics_systems.data.trajectories import Trajectories, load_trajectories
from physics_systems.training import fit_path
from vgbdm.errors import InputError
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.linear import LinearPath

LORENZ = replace(SYSTEMS["lorenz"], frames=40, horizon=39 * 2 / 59)


@pytest.fixture(scope="module")
def noisy():
    return load_trajectories(simulate(LORENZ, 60, 1, noise=0.5), LORENZ, 20)


def test_the_noise_of_the_store_is_taken_and_told(noisy, caplog):
    with caplog.at_level(logging.INFO):
        path = fit_path(HermitePath(), LORENZ, noisy, 20)
    assert path.noise == [0.5] * 3 and path.smoothing > 0
    assert "by their store: X 0.5, Y 0.5, Z 0.5; path: smoothed, α = " in caplog.text


def test_where_the_store_says_nothing_the_frames_do(noisy, caplog):
    with caplog.at_level(logging.INFO):
        path = fit_path(HermitePath(), LORENZ, Trajectories(noisy.x, noisy.t), 20)
    assert path.noise == pytest.approx([0.5] * 3, rel=0.2) and "as they show" in caplog.text
    known = fit_path(HermitePath(), LORENZ, noisy, 20)
    assert 0.3 < path.smoothing / known.smoothing < 3.5


def test_a_number_counts_more_than_the_store(noisy, caplog):
    with caplog.at_level(logging.INFO):
        path = HermitePath(noise=0.0)
        assert fit_path(path, LORENZ, noisy, 20) is path and not caplog.text
        more = fit_path(HermitePath(noise=[2.0, 2.0, 2.0]), LORENZ, noisy, 20)
    assert more.smoothing > fit_path(HermitePath(), LORENZ, noisy, 20).smoothing
    assert "as given: X 2" in caplog.text
    with pytest.raises(InputError, match="one for each of X, Y, Z"):
        fit_path(HermitePath(noise=[1.0, 2.0]), LORENZ, noisy, 20)


def test_a_store_without_noise_and_a_path_that_knows_none_are_left_alone(noisy):
    clean = load_trajectories(simulate(LORENZ, 6, 1), LORENZ, 20)
    path, straight = HermitePath(), LinearPath()
    assert fit_path(path, LORENZ, clean, 20) is path
    assert fit_path(straight, LORENZ, noisy, 20) is straight


def test_a_smoothed_path_is_part_of_the_field_and_starts_its_forecasts(noisy):
    path = HermitePath(smoothing=1.0)
    field = make_field("lorenz", path=path)
    x, t = noisy.x[:4, :10], noisy.t[:4, :10]
    start = field.begin(x, t, 9)
    assert torch.equal(start, path.at_frames(path.nodes(x, t), t).state[:, 9])
    assert not torch.allclose(start, x[:, 9])
