"""Variational matching, reckoned match by match on irregular times."""

import pytest
import torch
from system_fields import batch_of, make_field, smooth

from vgbdm.fields.grey_box import Past, Window
from vgbdm.objectives.matching import Matching, draw_posterior
from vgbdm.objectives.places import WindowSampler
from vgbdm.objectives.rollouts import weighted_kl
from vgbdm.paths.bridge import BridgePath
from vgbdm.paths.linear import LinearPath
from vgbdm.randomness import keyed_normal

VALUES = {"beta_theta": 0.3, "beta_zeta": 0.7, "gauge": 0.4, "physics": 0.6}
MATCHES, SEED = 3, 1
NOTHING = Past(0, (), (), None)


def asked(name, **options):
    """A field, a batch of it, the terms, and where the windows and matches are."""
    data = smooth(name)
    field = make_field(name, shake=0.3, data=data, **options)
    batch = batch_of(data, LinearPath())
    sampler = WindowSampler(MATCHES, "trajectory", SEED)
    terms = Matching(LinearPath(), sampler, SEED)(field, batch, VALUES)
    depth = max(field.memory, 1)
    return field, batch, terms, sampler(batch.ids, data.x.shape[1], field.window, depth)


def latents_of(field, batch, start):
    """The posterior of each window, and its draw, from the frames themselves."""
    frames = torch.stack(
        [x[k : k + field.window, 0] for x, k in zip(batch.nodes, start, strict=True)]
    )
    times = torch.stack([t[k : k + field.window] for t, k in zip(batch.times, start, strict=True)])
    count = len(field.parameter_names)
    noise = keyed_normal(SEED, "latents", batch.ids, field.latents + count)
    return field.infer(Window(frames, times), NOTHING, noise)


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
        context = field.context(field.past(history), latents)
        answer = field(state, begin + s * (end - begin), context, 0.6)
        squares = squares + ((answer.total - rate) / field.rate).square().flatten(1).mean(1)
        if field.grey:
            own = own + answer.residual["network"].reshape(*rate.shape[:2], -1).mean(2)
    assert torch.allclose(terms["matching"], squares / MATCHES, rtol=1e-3)
    loss, kl = terms["matching"], {"kl_zeta": posterior.zeta, "kl_theta": posterior.theta}
    for key, weight in (("kl_zeta", 0.7), ("kl_theta", 0.3)):
        if kl[key] is not None:
            mean, log_std = kl[key]
            exact = ((2 * log_std).exp() + mean**2 - 1 - 2 * log_std).sum(1) / 2
            assert torch.allclose(terms[key], exact, rtol=1e-4)
            loss = loss + weight * exact
    # a black box has nothing to share its work with, and pays no gauge
    assert ("gauge" in terms) == field.grey
    if field.grey:
        gauge = ((own / MATCHES + 1e-6).sqrt() - 1e-3).sum(1)
        assert torch.allclose(terms["gauge"], gauge, rtol=1e-3)
        loss = loss + 0.4 * gauge
    assert torch.allclose(terms["loss"], loss, rtol=1e-3)


def drawn(field, batch, start, seed=SEED):
    frames = field.trajectory(batch, None)
    return draw_posterior(field, batch.ids, frames, start, NOTHING, seed)


def test_latents_are_drawn_from_the_window_at_its_place():
    data = smooth("rlc")
    field = make_field("rlc", shake=0.1, data=data)
    batch = batch_of(data, LinearPath())
    start = torch.arange(12) % 5
    first, second = drawn(field, batch, start)[0], latents_of(field, batch, start)[1]
    assert torch.allclose(first.zeta, second.zeta) and torch.allclose(first.theta, second.theta)
    other = drawn(field, batch, start, SEED + 1)[0]
    assert not torch.allclose(first.zeta, other.zeta)


def test_each_kl_has_its_own_weight():
    kl = {"kl_zeta": torch.tensor([1.0, 2.0]), "kl_theta": torch.tensor([10.0, 20.0])}
    assert weighted_kl(kl, {"beta_zeta": 0.5, "beta_theta": 0.01}).tolist() == pytest.approx(
        [0.6, 1.2]
    )
    data = smooth("rlc")
    black = make_field("rlc", grey=False, data=data)
    batch = batch_of(data, LinearPath())
    latents, posterior = drawn(black, batch, torch.zeros(12, dtype=torch.int64))
    assert set(posterior.kl(None)) == {"kl_zeta"} and latents.theta is None


def test_every_match_of_a_bridge_has_noise_of_its_own():
    data = smooth("rlc")
    field, batch = make_field("rlc", data=data), batch_of(data, LinearPath())
    objective = Matching(BridgePath(), WindowSampler(MATCHES, "trajectory", SEED), SEED)
    frames = field.trajectory(batch, None)
    noise = objective.draw_noise(field, batch.ids, frames, 0.0).path
    assert torch.equal(noise.reshape(12, -1), keyed_normal(SEED, "bridge", batch.ids, 2 * MATCHES))
    assert len(noise.flatten().unique()) == noise.numel()
