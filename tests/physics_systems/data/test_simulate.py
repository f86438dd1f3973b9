"""Simulated stores: deterministic, complete, within their ranges."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from system_fields import SYSTEMS, dataset

from physics_systems.data.simulate import draw_parameters, draw_times, simulate
from physics_systems.data.trajectories import (
    load_trajectories,
    read_parameters,
    read_truth,
    write,
)
from vgbdm.errors import InputError


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_store_holds_what_is_needed_and_comes_back(name, tmp_path):
    system, made = SYSTEMS[name], dataset(name)
    assert made["x"].shape == (12, system.frames, *system.shape)
    assert made["t"].shape == (12, system.frames)
    for k, parameter in enumerate(system.parameters):
        low, high = system.ranges[parameter]
        values = made["params"][:, k].values
        assert values.min() >= low and values.max() <= high and values.std() > 0
    facts = made.attrs
    assert facts["system"] == name and facts["seed"] == 3
    assert json.loads(facts["system_config"])["frames"] == system.frames
    write(made, tmp_path / "store")
    data = load_trajectories(tmp_path / "store", system, 5)
    assert np.array_equal(data.x.numpy(), made["x"].values)
    assert np.array_equal(data.t.numpy(), made["t"].values)
    found = read_parameters(tmp_path / "store", system)
    assert list(found) == list(system.parameters)
    with pytest.raises(InputError, match="exists"):
        write(made, tmp_path / "store")


def test_the_seed_and_the_split_decide_everything():
    system = SYSTEMS["lorenz"]
    again = simulate(system, 12, 3)
    assert np.array_equal(again["x"].values, dataset("lorenz")["x"].values)
    for other in (simulate(system, 12, 4), simulate(system, 12, 3, split="val")):
        assert not np.allclose(other["params"].values, again["params"].values)
        assert not np.allclose(other["x"][:, 0].values, again["x"][:, 0].values)


def test_irregular_times_increase_and_lie_on_the_same_trajectory():
    system = SYSTEMS["pendulum"]
    plain, moved = (simulate(system, 5, 1, irregular=share) for share in (0.0, 0.8))
    t = moved["t"].values
    assert (np.diff(t, axis=1) > 0).all()
    assert np.std(np.diff(t, axis=1)) > 0.1 * np.diff(t, axis=1).mean()
    assert np.allclose(t[:, [0, -1]], plain["t"].values[:, [0, -1]])
    assert np.array_equal(moved["params"].values, plain["params"].values)
    assert np.allclose(moved["x"][:, -1].values, plain["x"][:, -1].values, atol=1e-5)


def test_noise_has_the_width_asked_for():
    system = SYSTEMS["rlc"]
    clean, noisy = (simulate(system, 50, 1, noise=width)["x"].values for width in (0.0, 0.2))
    assert np.std(noisy - clean) == pytest.approx(0.2, rel=0.03)


def test_a_noisy_store_says_its_noise_and_keeps_the_states_without_it(tmp_path):
    system = SYSTEMS["pendulum"]
    clean, noisy = (simulate(system, 20, 1, noise=width) for width in (0.0, 0.2))
    assert np.array_equal(noisy["truth"].values, clean["x"].values) and "truth" not in clean
    for name, made, noise in (("clean", clean, 0.0), ("noisy", noisy, 0.2)):
        write(made, tmp_path / name)
        assert load_trajectories(tmp_path / name, system, 5).noise == noise
    truth = read_truth(tmp_path / "noisy", system)
    assert torch.equal(truth, torch.from_numpy(clean["x"].values))
    assert read_truth(tmp_path / "clean", system) is None
    with pytest.raises(InputError, match="truth of"):
        read_truth(noisy.assign(truth=noisy["truth"] * np.nan), system)


def test_noise_may_be_unknown_or_that_of_each_component_and_is_refused_otherwise():
    system, made = SYSTEMS["lorenz"], simulate(SYSTEMS["lorenz"], 3, 1)
    for noise, wanted in ((0.5, 0.5), ([0.1, 0.2, 0.3], (0.1, 0.2, 0.3))):
        assert load_trajectories(made.assign_attrs(noise=noise), system, 5).noise == wanted
    bare = made.drop_attrs()
    assert load_trajectories(bare, system, 5).noise is None
    for wrong in (-1.0, [0.1, 0.2], "white", float("nan")):
        with pytest.raises(InputError, match="attribute noise"):
            load_trajectories(made.assign_attrs(noise=wrong), system, 5)


def test_parameters_may_come_from_the_prior():
    system = SYSTEMS["rlc"]
    values = simulate(system, 400, 1, parameters="prior")["params"].values
    assert values[:, 0].mean() == pytest.approx(2.5, abs=0.15)
    assert values[:, 0].std() == pytest.approx(0.8, abs=0.1)
    assert values[:, :2].min() > 0
    assert values[:, 2].min() >= 1 and values[:, 2].max() <= 3


@pytest.mark.parametrize(
    "options", [{"irregular": 1.0}, {"noise": -1.0}, {"parameters": "posterior"}, {"count": 0}]
)
def test_options_that_cannot_be_are_refused(options):
    options = {"count": 2, "seed": 1, **options}
    with pytest.raises(InputError, match=next(iter(set(options) - {"seed"} - {"count"}), "n=0")):
        simulate(SYSTEMS["lorenz"], **options)


def test_parameters_are_uniform_in_their_ranges():
    drawn = draw_parameters(SYSTEMS["lorenz"], 4000, torch.Generator().manual_seed(0), "ranges")
    for name, (low, high) in SYSTEMS["lorenz"].ranges.items():
        values = drawn[name]
        assert float(values.mean()) == pytest.approx((low + high) / 2, abs=0.02 * (high - low))
        assert float(values.std()) == pytest.approx((high - low) / 12**0.5, rel=0.03)
        assert low <= float(values.min()) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < float(values.max()) <= high


def test_times_move_by_half_a_share_of_a_step_at_most():
    system = SYSTEMS["rlc"]
    step = system.horizon / (system.frames - 1)
    times = draw_times(system, 500, torch.Generator().manual_seed(0), 0.6)
    moved = (times - step * torch.arange(30)) / step
    assert not moved[:, [0, -1]].any()
    inner = moved[:, 1:-1]
    assert -0.3 <= float(inner.min()) < -0.29 and 0.29 < float(inner.max()) <= 0.3
    assert float(inner.std()) == pytest.approx(0.6 / 12**0.5, rel=0.03)
    assert abs(float(inner.mean())) < 0.01
    plain = draw_times(system, 1, torch.Generator(), 0.0)[0]
    assert torch.allclose(plain, step * torch.arange(30).double())


def test_draws_for_different_uses_are_apart():
    """Noise is added to the same trajectories; the prior changes only the known parameters."""
    system = replace(SYSTEMS["rlc"], frames=3, horizon=0.2)
    plain, prior = (simulate(system, 3, 1, parameters=kind) for kind in ("ranges", "prior"))
    assert np.array_equal(plain["params"][:, 2].values, prior["params"][:, 2].values)
    assert not np.allclose(plain["params"][:, :2].values, prior["params"][:, :2].values)
    assert np.array_equal(plain["x"][:, 0].values, prior["x"][:, 0].values)
