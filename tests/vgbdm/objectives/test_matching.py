"""Flow matching on windows against numpy: what is asked where and when, and each term's value."""

import math
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from unlike_units import AREA, CHANGE, MEAN, STD, UnlikeUnits
from weather import matching

from vgbdm.dynamics.tendency import Tendency
from vgbdm.fields.grey_box import Past, Trajectory
from vgbdm.latents.latents import Latents, LatentSizes
from vgbdm.objectives.matching import PAIR
from vgbdm.paths.bridge import BridgePath
from vgbdm.paths.linear import LinearPath
from vgbdm.randomness import keyed_normal, keyed_uniform

COUNT, LENGTH, SIZE = 6, 4, 3
VALUES = {
    "noise": 0.4, "physics": 0.6, "beta_zeta": 0.03, "beta_theta": 0.07, "crps": 0.9,
    "gauge": 0.2, "prior": 0.05,
}  # fmt: skip


class KnownDistances(NamedTuple):
    """A posterior that is told its distance from the prior."""

    distances: dict

    def kl(self, prior):
        return self.distances


class Asked(UnlikeUnits):
    """A field of known answers that keeps what it is asked; components are like places.

    Its rate is w (x · 0.7 + t / 10⁵) + mean of the past + latent.
    """

    memory, window = LENGTH - 1, LENGTH

    def __init__(self, stochastic=True, grey=True):
        self.grey, self.calls = grey, []
        self.latent_sizes = LatentSizes((SIZE,), 0, 0.0) if stochastic else None
        self.infers = []

    def past(self, history):
        return Past(len(history), (), (history.mean(1),), None)

    def infer(self, window, past, noise):
        change, mean = window.frames[:, -1] - window.frames[:, -2], past.seen[0]
        self.infers.append((mean, change, noise))
        kl = {"kl_zeta": change.square().sum(1), "kl_theta": mean.abs().sum(1)}
        return KnownDistances(kl), Latents(change * noise, None)

    def context(self, past, latents, repeats):
        return past.seen[0] + (0.0 if latents.zeta is None else latents.zeta)

    def members(self, seed, ids, numbers):
        return keyed_normal(seed, "members", ids, len(numbers)).flatten()

    def next_context(self, past, members):
        return past.seen[0].repeat_interleave(PAIR, 0) + members[:, None]

    def penalty(self):
        return torch.tensor(2.5) if self.grey else None

    def __call__(self, state, seconds, context, weight):
        self.calls.append((state, seconds, weight))
        total = weight * (0.7 * state + (seconds / 1e5)[:, None].to(state)) + context
        parts = {}
        if self.grey:
            parts = {"wind": state.square()[:, None], "source": 4 * context.square()[:, None]}
        return Tendency(total, parts, {}, {"cfl": 0 * seconds.float() + 3.0})


def window():
    generator = torch.manual_seed(4)
    states = MEAN + STD * torch.randn((COUNT, LENGTH, SIZE), generator=generator)
    ids = torch.tensor([3, 14, 15, 92, 65, 35])
    return SimpleNamespace(states=states, times=1e5 * torch.arange(1.0, COUNT + 1), ids=ids)


def ask(path, values=VALUES, **kind):
    """The terms, the field that was asked, and what its answers rest on."""
    objective, batch, field = matching(path, 7), window(), Asked(**kind)
    terms = objective(field, batch, values)
    frames = field.standardise(batch.states)
    s = keyed_uniform(7, "positions", batch.ids, 1)[:, 0]
    noise = keyed_normal(7, "matching", batch.ids, (LENGTH + 1) * SIZE)
    noise = noise.unflatten(1, (LENGTH + 1, SIZE))
    return terms, field, batch, frames, s, noise


def numpy_of(*tensors):
    return tuple(t.double().numpy() for t in tensors)


@pytest.mark.parametrize("path", [LinearPath(), BridgePath(0.3, 0.1)], ids=["linear", "bridge"])
def test_state_clock_and_past_are_those_of_the_position(path):
    _, field, batch, frames, s, noise = ask(path)
    state, seconds, weight = field.calls[0]
    own, x, eps = numpy_of(s, frames, noise)
    inside = own if isinstance(path, LinearPath) else 0.1 + 0.8 * own
    bump = 0.0 if isinstance(path, LinearPath) else 0.3
    q = inside[:, None]
    point = (1 - q) * x[:, -2] + q * x[:, -1] + bump * np.sqrt(q * (1 - q)) * eps[:, 0]
    added = 0.4 * CHANGE.double().numpy() * eps[:, 1:]
    assert np.allclose(state, point + added[:, 0], atol=1e-5)
    assert seconds.dtype == torch.float64
    assert np.allclose(seconds, batch.times.double().numpy() + 3600 * own)
    past, change, draws = field.infers[0]
    assert np.allclose(past, (x[:, :-1] + added[:, 1:]).mean(1), atol=1e-5)
    assert np.allclose(change, x[:, -1] - x[:, -2], atol=1e-5)
    assert torch.equal(draws, keyed_normal(7, "latents", batch.ids, SIZE))
    assert weight == 0.6


def test_the_loss_is_the_weighted_sum_of_what_it_is_made_of():
    terms, field, _, frames, _, _ = ask(LinearPath())
    state, seconds, _ = field.calls[0]
    x, now, c, area = numpy_of(frames, state, CHANGE, AREA)
    past, change, draws = numpy_of(*field.infers[0])
    context = past + change * draws
    total = 0.6 * (0.7 * now + seconds.numpy()[:, None] / 1e5) + context
    error = (total - (x[:, -1] - x[:, -2])) / c
    matching = (area * error**2).sum(1)
    parts = [(now**2).mean(1), ((2 * context) ** 2).mean(1)]
    exact = {
        "matching": matching,
        "kl_zeta": (change**2).sum(1),
        "kl_theta": np.abs(past).sum(1),
        "gauge": sum(np.sqrt(p + 1e-6) - 1e-3 for p in parts),
        "prior": np.full(COUNT, 2.5),
    }
    for name, value in exact.items():
        assert np.allclose(terms[name], value, rtol=1e-4), name
    weights = {"kl_zeta": 0.03, "kl_theta": 0.07, "gauge": 0.2, "prior": 0.05}
    loss = matching + 0.9 * terms["crps"].numpy()
    loss += sum(weight * exact[name] for name, weight in weights.items())
    assert np.allclose(terms["loss"], loss, rtol=1e-4)
    assert terms["cfl"].tolist() == [3.0] * COUNT


@pytest.mark.parametrize("path", [LinearPath(), BridgePath(0.3, 0.1)], ids=["linear", "bridge"])
def test_draws_from_the_prior_are_scored_at_the_current_state(path):
    """Fair CRPS of two: mean |X - y| - ½ |X - X'|, of velocities per change, by area."""
    terms, field, batch, frames, _, noise = ask(path)
    state, seconds, weight = field.calls[1]
    x, eps, c, area = numpy_of(frames, noise, CHANGE, AREA)
    a, b = x[:, -2], x[:, -1]
    start, velocity = a + 0.4 * c * eps[:, 1], b - a
    if isinstance(path, BridgePath):
        root = math.sqrt(0.1 * 0.9)
        start = start + 0.1 * (b - a) + 0.3 * root * eps[:, 0]
        velocity = velocity + 0.3 * (1 - 0.2) / (2 * root) * eps[:, 0]
    assert np.allclose(state, np.repeat(start, 2, 0), atol=1e-5)
    assert np.array_equal(seconds, np.repeat(batch.times.double().numpy(), 2))
    assert weight == 0.6
    past = field.infers[0][0].double().numpy()
    latents = field.members(7, batch.ids, range(2)).double().numpy().reshape(COUNT, 2)
    one, two = (
        (0.6 * (0.7 * start + batch.times.double().numpy()[:, None] / 1e5) + past + z[:, None]) / c
        for z in latents.T
    )
    truth = velocity / c
    score = (np.abs(one - truth) + np.abs(two - truth) - np.abs(one - two)) / 2
    assert np.allclose(terms["crps"], (area * score).sum(1), rtol=1e-4)


def test_what_a_field_has_not_is_not_asked_for():
    terms, field, *_ = ask(LinearPath(), VALUES | {"crps": 0.0})
    assert "crps" not in terms and len(field.calls) == 1
    terms, field, *_ = ask(LinearPath(), {"noise": 0.4}, stochastic=False, grey=False)
    assert set(terms) == {"loss", "matching", "cfl"} and len(field.calls) == 1
    assert torch.equal(terms["loss"], terms["matching"])
    assert field.calls[0][2] == 1.0


def test_draws_are_uniform_in_the_interval_and_normal_and_all_apart():
    ids, field, count = torch.arange(4000), Asked(), 4000
    frames = Trajectory(torch.zeros(count, 4, 1, 2), torch.zeros(count, 4), torch.zeros(count, 4))
    drawn = {}
    field.from_changes = lambda values: values
    for seed in (1, 2):
        objective = matching(BridgePath(), seed)
        places = objective.places(ids, 4, 4, 3)
        noise = objective.draw_noise(field, ids, frames, 1.0)
        assert places.interval.unique().tolist() == [2] and not places.start.any()
        parts = (noise.path[:, None], noise.state[:, None], noise.history)
        drawn[seed] = places.s[:, 0], torch.cat(parts, 1)
    s, noise = drawn[1]
    assert s.shape == (4000,) and noise.shape == (4000, 5, 2)
    assert float(s.min()) >= 0 and float(s.max()) <= 1
    assert float(s.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(s.var()) == pytest.approx(1 / 12, abs=0.005)
    assert (noise.mean(0).abs() < 0.07).all() and ((noise.std(0) - 1).abs() < 0.05).all()
    between = torch.corrcoef(noise.flatten(1).T) - torch.eye(10)
    assert between.abs().max() < 0.08
    assert not torch.equal(drawn[2][0], s) and not torch.equal(drawn[2][1], noise)
