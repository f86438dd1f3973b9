"""The latents: smooth and even fields, closed-form KL, what prior and posterior see, draws."""

import functools
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from weather import (
    GRIDS,
    PRIORS,
    VALUES,
    Batch,
    make_latents,
    make_model,
    matching,
    shake,
    states,
)

from climate.models.sphere_latents import PointHead, SpherePoints
from climate.operators.sphere import SpectralOperators
from vgbdm.errors import InputError
from vgbdm.fields.grey_box import Window
from vgbdm.latents.distributions import DiagonalGaussian
from vgbdm.latents.members import Members, in_pairs
from vgbdm.paths.linear import LinearPath
from vgbdm.randomness import keyed_normal, pair_keys


@pytest.mark.parametrize("grid", ["centred", "poles"])
def test_white_values_make_smooth_fields_of_variance_one_everywhere(grid):
    points = SpherePoints(GRIDS[grid], 160)
    values = torch.randn((400, 1, points.count), generator=torch.manual_seed(0))
    fields = points.fields(values)[:, 0]
    variance = fields.var(0)
    assert float(variance.min()) > 0.7 and float(variance.max()) < 1.35
    # beyond degree 21 next to nothing: white noise on the grid has three quarters of it there
    sphere = SpectralOperators(GRIDS[grid])
    assert float((fields - sphere.project(fields)).var()) < 1e-3
    noise = torch.randn(fields.shape, generator=torch.manual_seed(0))
    assert float((noise - sphere.project(noise)).var()) > 0.5


def test_points_are_evenly_spread_and_means_know_their_place():
    grid = GRIDS["centred"]
    points = SpherePoints(grid, 100)
    assert points.count == 100
    latitude = torch.deg2rad(torch.tensor(grid.lat)).float()[:, None].expand(-1, 64)
    heights = points.means(latitude.sin()[None, None])[0, 0]
    # evenly spread points have evenly spread heights; bells flatten them a little
    assert torch.allclose(heights.diff(), torch.full((99,), -2 / 100), atol=0.01)
    assert torch.allclose(points.means(torch.ones(1, 1, 32, 64)), torch.ones(100), atol=1e-5)


def test_no_bell_underflows():
    """Products with numbers that do are many times slower."""
    points = SpherePoints(GRIDS["centred"], 256)
    for table in (points.to_fields, points.to_points):
        assert bool((table == 0).any())
        assert float(table[table != 0].min() / table.max()) > 1e-17


def test_kl_between_two_gaussians_is_that_of_monte_carlo():
    generator = torch.manual_seed(3)
    numbers = [0.5 * torch.randn((2, 3, 2), generator=generator) for _ in range(4)]
    q, p = DiagonalGaussian(*numbers[:2]), DiagonalGaussian(*numbers[2:])
    draws = q.draw(torch.randn((200000, 2, 3, 2), generator=generator))
    own, prior = (torch.distributions.Normal(g.mean, g.log_std.exp()) for g in (q, p))
    estimate = (own.log_prob(draws) - prior.log_prob(draws)).sum((2, 3)).mean(0)
    assert torch.allclose(q.kl(p), estimate, atol=0.03)
    assert torch.equal(q.kl(q), torch.zeros(2))
    standard = DiagonalGaussian(torch.zeros(2, 3, 2), torch.zeros(2, 3, 2))
    assert torch.allclose(q.kl(), q.kl(standard))


def infer(model, window):
    x = model.standardise(window)
    noise = torch.randn((len(x), model.latent_sizes.total), generator=torch.manual_seed(0))
    with torch.no_grad():
        past = model.past(x[:, :-1])
        posterior, latents = model.infer(Window(x, torch.zeros(x.shape[:2])), past, noise)
        return model.context(past, latents), posterior.kl(past.prior)


def test_the_posterior_sees_the_target_and_the_prior_does_not():
    model = make_model(GRIDS["coarse"], latents=make_latents())
    shake(model)
    window = states(model)
    other = window.clone()
    other[:, -1] += 0.5 * window[:, -1].roll(5, -1)
    seen, kl = infer(model, window)
    changed, other_kl = infer(model, other)
    assert not torch.allclose(seen.zeta, changed.zeta, rtol=1e-3)
    assert not torch.allclose(seen.theta["diffusion"], changed.theta["diffusion"], rtol=1e-3)
    assert not torch.allclose(kl["kl_zeta"], other_kl["kl_zeta"], rtol=1e-3)
    # forecasts are given the history alone; what the history says changes the prior
    history = model.standardise(window[:, :-1])
    before, after = (model.past(x).prior for x in (history, history + 0.1))
    assert not torch.allclose(before.zeta.mean, after.zeta.mean, rtol=1e-3)
    assert torch.equal(before.theta.log_std, after.theta.log_std)


def test_theta_is_a_sample_s_own_and_its_kl_counts_its_numbers():
    model = make_model(GRIDS["coarse"], latents=make_latents())
    context, kl = infer(model, states(model))
    assert context.theta["diffusion"].shape == (2, 3)
    assert float((context.theta["diffusion"][0] / context.theta["diffusion"][1]).log().abs().min())
    q = model.latents.posterior
    assert q.theta.linear.out_features == 2 * model.latents.thetas == 2 * 4 * 3
    assert kl["kl_theta"].shape == kl["kl_zeta"].shape == (2,)


def test_members_are_keyed_by_seed_sample_and_number():
    latents = make_model(GRIDS["coarse"], latents=make_latents()).latent_sizes
    ids = torch.tensor([5, 7])
    whole, part = Members(latents, 1, ids, range(1)), Members(latents, 1, ids[1:], range(1))
    assert torch.equal(whole.theta()[1:], part.theta())
    assert torch.equal(whole.theta(), whole.theta())
    for _ in range(3):
        assert torch.equal(whole.next_zeta()[1:], part.next_zeta())
    for seed, number in ((2, 0), (1, 1)):
        assert not torch.equal(
            Members(latents, seed, ids, range(number, number + 1)).theta(), whole.theta()
        )


def test_members_in_pairs_take_opposite_numbers():
    latents = make_model(GRIDS["coarse"], latents=make_latents(memory=0.6)).latent_sizes
    ids = torch.tensor([5, 7])
    numbers = in_pairs(range(5))
    assert numbers == [0, -1, 1, -2, 2]
    paired, plain = Members(latents, 3, ids, numbers), Members(latents, 3, ids, range(3))
    later = Members(latents, 3, ids, in_pairs(range(2, 4)))
    for _ in range(3):
        zeta, own = (each.next_zeta().unflatten(0, (2, -1)) for each in (paired, plain))
        assert torch.equal(zeta[:, ::2], own)
        assert torch.equal(zeta[:, 1::2], -own[:, :2])
        assert torch.equal(later.next_zeta().unflatten(0, (2, -1)), zeta[:, 2:4])
    assert torch.equal(paired.theta()[1::5], -plain.theta()[::3])


def test_theta_of_a_member_is_drawn_once_and_zeta_at_every_step():
    """ζ follows z' = m z + √(1 - m²) n from its first draw on, each number keyed by its step."""
    latents = make_model(GRIDS["coarse"], latents=make_latents(memory=0.6)).latent_sizes
    ids = torch.tensor([5, 7])
    members = Members(latents, 3, ids, range(1, 3))
    theta, expected = members.theta(), None
    for step in range(3):
        count = latents.total - latents.theta
        keys = pair_keys(ids, torch.arange(1, 3))
        fresh = keyed_normal(3, f"zeta {step} of a member", keys, count).unflatten(1, (2, -1))
        expected = fresh if step == 0 else 0.6 * expected + 0.8 * fresh
        assert torch.allclose(members.next_zeta(), expected, atol=1e-6)
        assert torch.equal(members.theta(), theta)
    assert torch.equal(theta, keyed_normal(3, "theta of a member", keys, latents.theta))
    assert members.rows == 4 and len(theta) == 4


def test_a_forecast_s_members_keep_their_theta_and_draw_their_zeta():
    model = make_model(GRIDS["coarse"], latents=make_latents())
    shake(model)
    past = model.past(model.standardise(states(model)[:, :4]))
    members = model.members(0, torch.tensor([4, 9]), range(3))
    first, second = model.next_context(past, members), model.next_context(past, members)
    for name, value in first.theta.items():
        assert value.shape == (6, 3) and torch.equal(second.theta[name], value)
        assert float((value[0] / value[1]).detach().log().abs().min()) > 0
    assert not torch.allclose(first.zeta, second.zeta, atol=0.1)


def test_theta_is_the_learned_value_moved_by_a_normal_of_its_prior_s_width():
    model = make_model(GRIDS["coarse"], latents=make_latents())
    prior = model.past(model.standardise(states(model)[:, :4])).prior
    assert torch.allclose(prior.theta.log_std.exp(), torch.tensor(0.3))
    members = model.members(1, torch.tensor([4, 9]), range(1))
    shift = 0.3 * members.theta().unflatten(1, (4, 3))
    past = model.past(model.standardise(states(model)[:, :4]))
    drawn = model.next_context(past, members).theta
    for k, (name, (median, spread)) in enumerate(PRIORS.items()):
        assert torch.allclose(drawn[name], median * torch.exp(spread * shift[:, k]), rtol=1e-5)


def test_widths_of_zeta_start_where_they_are_told_and_stay_within_a_factor():
    head = PointHead(8, 2, -1.0)
    features = torch.randn((3, 8, 5), generator=torch.manual_seed(0))
    with torch.no_grad():
        head.linear.weight.mul_(1000)
        wide = head(features).log_std
        head.linear.weight.zero_()
        assert torch.equal(head(features).log_std, torch.full((3, 2, 5), -1.0))
    assert -3 <= float(wide.min()) < -2.9 and 0.9 < float(wide.max()) <= 1


@pytest.mark.parametrize("memory", [0.0, 0.6, 1.0])
def test_draws_remember_as_much_as_they_are_told(memory):
    latents = make_model(
        GRIDS["coarse"], latents=make_latents(points=100, memory=memory)
    ).latent_sizes
    member = Members(latents, 0, torch.arange(200), range(1))
    steps = torch.stack([member.next_zeta() for _ in range(4)]).flatten(1)
    assert torch.allclose(steps.std(1), torch.ones(4), atol=0.02)
    for k in range(3):
        correlation = float((steps[k] * steps[k + 1]).mean())
        assert correlation == pytest.approx(memory, abs=0.02)
    assert float((steps[0] * steps[3]).mean()) == pytest.approx(memory**3, abs=0.02)


def test_terms_of_a_sample_do_not_depend_on_its_batch():
    model = make_model(GRIDS["coarse"], latents=make_latents())
    shake(model)
    objective, window = matching(LinearPath(), 3), states(model, batch=4)
    whole = objective(model, Batch(window), VALUES)
    part = objective(model, Batch(window[2:], [2, 3]), VALUES)
    for name in ("loss", "matching", "kl_zeta", "kl_theta", "gauge"):
        assert torch.allclose(whole[name][2:], part[name], rtol=1e-4), name
    other = matching(LinearPath(), 4)(model, Batch(window[2:], [2, 3]), VALUES)
    assert not torch.allclose(other["matching"], part["matching"], rtol=1e-3)


def test_the_loss_is_its_weighted_terms():
    model = make_model(GRIDS["coarse"], latents=make_latents())
    shake(model)
    objective, batch = matching(LinearPath(), 3), Batch(states(model))
    terms = objective(model, batch, VALUES)
    want = terms["matching"] + 1e-2 * terms["gauge"] + 1e-3 * terms["prior"]
    want = want + 1e-4 * (terms["kl_zeta"] + terms["kl_theta"]) + 0.5 * terms["crps"]
    assert torch.allclose(terms["loss"], want)
    assert math.isfinite(float(terms["loss"].sum()))
    without = objective(model, batch, VALUES | {"crps": 0.0})
    assert "crps" not in without
    assert torch.allclose(terms["loss"] - 0.5 * terms["crps"], without["loss"])


def test_two_draws_of_the_prior_are_scored_at_the_current_state():
    model = make_model(GRIDS["coarse"], latents=make_latents())
    shake(model)
    batch = Batch(states(model), [4, 8])
    got = matching(LinearPath(), 3)(model, batch, VALUES | {"noise": 0.0})["crps"]
    frames = model.standardise(batch.states)
    history, truth = frames[:, :-1], frames[:, -1] - frames[:, -2]
    one, two = (
        model(
            history[:, -1],
            batch.times.double(),
            model.next_context(model.past(history), model.members(3, batch.ids, range(k, k + 1))),
        ).total
        for k in range(2)
    )
    error = 0.5 * ((one - truth).abs() + (two - truth).abs() - (one - two).abs())
    area = torch.from_numpy(GRIDS["coarse"].area_weights).float()[:, None]
    want = (error / 0.4 * area).mean((1, 2, 3))
    assert torch.allclose(got, want, rtol=1e-4)


def test_latents_that_cannot_be_are_refused():
    for options in ({"channels": 0}, {"points": 2}, {"memory": 1.5}):
        with pytest.raises(InputError, match="latents"):
            make_model(GRIDS["coarse"], latents=make_latents(**options))


def test_the_posterior_of_zeta_starts_narrower_than_its_prior():
    latents = make_model(GRIDS["coarse"], latents=make_latents()).latents
    for head, width in ((latents.prior.zeta, 0.0), (latents.posterior.zeta, -1.0)):
        features = torch.zeros((1, head.linear.in_channels, 5))
        with torch.no_grad():
            head.linear.bias.zero_()
            assert torch.equal(head(features).log_std, torch.full_like(head(features).mean, width))


def test_bells_are_as_wide_as_points_lie_apart_and_their_squares_add_up_to_one():
    """exp((cos γ - 1) / (0.6 s)²), s² the share of the sphere of a point."""
    grid, count = GRIDS["coarse"], 50
    k = np.arange(count)
    height, turn = 1 - (2 * k + 1) / count, k * np.pi * (3 - np.sqrt(5))
    level = np.sqrt(1 - height**2)
    points = np.stack((level * np.cos(turn), level * np.sin(turn), height), 1)
    lat, lon = np.meshgrid(np.deg2rad(grid.lat), np.deg2rad(grid.lon), indexing="ij")
    places = np.stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))
    bells = np.exp((points @ places.reshape(3, -1) - 1) / (0.36 * 4 * np.pi / count))
    made = SpherePoints(grid, count)
    want = bells / np.sqrt((bells**2).sum(0))
    assert np.allclose(made.to_fields.numpy(), want, atol=1e-5)
    area = bells * np.cos(lat).ravel()
    assert np.allclose(made.to_points.numpy().T, area / area.sum(1, keepdims=True), atol=1e-5)


class Uniform(NamedTuple):
    """Another family than the Gaussian: independent uniforms, of one half width each."""

    mean: torch.Tensor
    log_half: torch.Tensor

    def draw(self, noise):
        return self.mean + self.log_half.exp() * torch.erf(noise / math.sqrt(2))

    def kl(self, prior):
        """To a wider one about the same place; an upper bound elsewhere."""
        apart = (self.mean - prior.mean).abs()
        return (prior.log_half - self.log_half + apart).flatten(1).sum(1)

    def about(self, mean):
        return Uniform(mean, self.log_half)

    def map(self, change):
        return Uniform(change(self.mean), change(self.log_half))


class UniformHead(torch.nn.Module):
    def __init__(self, width, channels, log_std):
        super().__init__()
        self.linear, self.log_half = torch.nn.Conv1d(width, channels, 1), log_std

    def forward(self, features):
        mean = self.linear(features)
        return Uniform(mean, torch.full_like(mean, self.log_half))


def test_another_family_of_zeta_is_one_class():
    latents = functools.partial(make_latents(), head=UniformHead)
    model = make_model(GRIDS["coarse"], latents=latents)
    window = states(model)
    loss = matching(LinearPath(), 1)(model, Batch(window), VALUES)["loss"].mean()
    loss.backward()
    heads = (model.latents.prior.zeta.linear, model.latents.posterior.zeta.linear)
    assert all(head.weight.grad.any() for head in heads)
    past = model.past(model.standardise(window[:, :-1]))
    members = Members(model.latent_sizes, 1, torch.arange(2), range(500))
    drawn = past.prior.zeta.map(lambda x: x.repeat_interleave(500, 0)).draw(members.next_zeta())
    apart = (drawn - past.prior.zeta.mean.repeat_interleave(500, 0)).abs()
    assert 0.95 < float(apart.max()) <= 1.0
    assert float(apart.mean()) == pytest.approx(0.5, abs=0.01)
