"""Variational matching, reckoned match by match on irregular times."""

import pytest
import torch
from systems import batch_of, make_field, smooth

from vgbdm.objectives.variational import VariationalMatching, draw_latents, kl_terms, weighted_kl
from vgbdm.objectives.windows import WindowSampler
from vgbdm.paths import BridgePath, LinearPath
from vgbdm.randomness import keyed_normal

VALUES = {"beta_theta": 0.3, "beta_zeta": 0.7, "gauge": 0.4, "physics": 0.6}
MATCHES, SEED = 3, 1


def asked(name, **options):
    """A field, a batch of it, the terms, and where the windows and matches are."""
    data = smooth(name)
    field = make_field(name, shake=0.3, data=data, **options)
    batch = batch_of(data, LinearPath())
    sampler = WindowSampler(MATCHES, "trajectory", SEED)
    terms = VariationalMatching(sampler, LinearPath(), SEED)(field, batch, VALUES)
    depth = field.history if field.everything else 1
    return field, batch, terms, sampler(batch, field.window, depth)


def latents_of(field, batch, start):
    """The posterior of each window, and its draw, from the frames themselves."""
    frames = torch.stack(
        [x[k : k + field.window, 0] for x, k in zip(batch.nodes, start, strict=True)]
    )
    times = torch.stack([t[k : k + field.window] for t, k in zip(batch.times, start, strict=True)])
    count = len(field.parameter_names)
    noise = keyed_normal(SEED, "latents", batch.ids, field.latents + count)
    return field.infer(frames, times, (noise[:, : field.latents], noise[:, field.latents :]))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rlc", {}),
        ("rlc", {"grey": False}),
        ("rlc", {"inputs": "everything"}),
        ("lorenz", {}),
        ("reaction_diffusion", {}),
    ],
)
def test_terms_are_the_means_over_all_matches(name, options):
    field, batch, terms, places = asked(name, **options)
    posterior, latents = latents_of(field, batch, places.start)
    x, rows = batch.nodes[:, :, 0], torch.arange(len(batch.ids))
    squares, own = 0.0, 0.0
    for k, s in zip(places.interval.T, places.s.T, strict=True):
        begin, end = batch.times[rows, k], batch.times[rows, k + 1]
        along = s.reshape(-1, *[1] * (x.dim() - 2)).float()
        gap = (end - begin).reshape(along.shape).float()
        state = x[rows, k] + along * (x[rows, k + 1] - x[rows, k])
        rate = (x[rows, k + 1] - x[rows, k]) / gap
        history = torch.stack((x[rows, k - 1], x[rows, k]), 1) if field.everything else None
        context = field.condition(latents, history)
        answer = field(state, begin + s * (end - begin), context, 0.6)
        squares = squares + ((answer.total - rate) / field.rate).square().flatten(1).mean(1)
        own = own + answer.residual["network"].reshape(*rate.shape[:2], -1).mean(2)
    matching, network = squares / MATCHES, own / MATCHES
    gauge = ((network + 1e-6).sqrt() - 1e-3).sum(1)
    assert torch.allclose(terms["matching"], matching, rtol=1e-3)
    assert torch.allclose(terms["gauge"], gauge, rtol=1e-3)
    loss, kl = terms["matching"], {"kl_zeta": posterior.zeta, "kl_theta": posterior.theta}
    for key, weight in (("kl_zeta", 0.7), ("kl_theta", 0.3)):
        if kl[key] is not None:
            mean, log_std = kl[key]
            exact = ((2 * log_std).exp() + mean**2 - 1 - 2 * log_std).sum(1) / 2
            assert torch.allclose(terms[key], exact, rtol=1e-4)
            loss = loss + weight * exact
    # a black box has nothing to share its work with, and pays no gauge
    loss = loss + (0.4 * gauge if field.grey else 0.0)
    assert torch.allclose(terms["loss"], loss, rtol=1e-3)


def drawn(field, batch, start, seed=SEED):
    return draw_latents(field, batch, start, seed)


def test_latents_are_drawn_from_the_window_at_its_place():
    data = smooth("rlc")
    field = make_field("rlc", shake=0.1, data=data)
    batch = batch_of(data, LinearPath())
    start = torch.arange(12) % 5
    first, second = (draw(field, batch, start)[1] for draw in (drawn, latents_of))
    assert torch.allclose(first.zeta, second.zeta) and torch.allclose(first.theta, second.theta)
    other = drawn(field, batch, start, SEED + 1)[1]
    assert not torch.allclose(first.zeta, other.zeta)


def test_each_kl_has_its_own_weight():
    kl = {"kl_zeta": torch.tensor([1.0, 2.0]), "kl_theta": torch.tensor([10.0, 20.0])}
    assert weighted_kl(kl, {"beta_zeta": 0.5, "beta_theta": 0.01}).tolist() == pytest.approx(
        [0.6, 1.2]
    )
    data = smooth("rlc")
    black = make_field("rlc", grey=False, data=data)
    batch = batch_of(data, LinearPath())
    posterior, latents = draw_latents(black, batch, torch.zeros(12, dtype=torch.int64), SEED)
    assert set(kl_terms(posterior)) == {"kl_zeta"} and latents.theta is None


def test_every_match_of_a_bridge_has_noise_of_its_own():
    batch = batch_of(smooth("rlc"), LinearPath())
    objective = VariationalMatching(WindowSampler(MATCHES, "trajectory", SEED), BridgePath(), SEED)
    noise = objective._noise(batch, torch.zeros(12 * MATCHES, 2), MATCHES)
    assert torch.equal(noise.reshape(12, -1), keyed_normal(SEED, "bridge", batch.ids, 2 * MATCHES))
    assert len(noise.flatten().unique()) == noise.numel()
