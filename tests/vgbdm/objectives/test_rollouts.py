"""The objectives that simulate, reckoned again: errors, efforts and regularisers by value."""

import copy

import numpy as np
import pytest
import torch
from systems import batch_of, make_field, smooth

from vgbdm.latents.latents import Latents
from vgbdm.objectives.aphynity import Aphynity
from vgbdm.objectives.physvae import PhysVAE
from vgbdm.objectives.rollouts import RolloutMatching
from vgbdm.paths.hermite import HermitePath
from vgbdm.randomness import keyed_normal

HORIZON, SEED = 6, 1
VALUES = {
    "beta_theta": 0.3, "beta_zeta": 0.7, "multiplier": 2.5, "balance": 0.2, "unmixing": 0.5,
    "self_supervision": 0.11,
}  # fmt: skip


def asked(kind, name, **options):
    """A field, a batch on irregular times, what was simulated, and the terms."""
    data, path = smooth(name), HermitePath()
    field = make_field(name, shake=0.2, data=data, **options)
    batch = batch_of(data, path)
    objective = kind(HORIZON, SEED, path)
    return field, batch, objective.simulate(field, batch, VALUES), objective(field, batch, VALUES)


def frames_of(batch, begin, count):
    return torch.stack([x[k : k + count, 0] for x, k in zip(batch.nodes, begin, strict=True)])


def times_of(batch, begin, count):
    return torch.stack([t[k : k + count] for t, k in zip(batch.times, begin, strict=True)])


def mean_square(difference, field):
    """(B,) in standard deviations, by numpy."""
    scaled = (difference / field.std[: field.size]).detach().double().numpy()
    return (scaled**2).reshape(len(scaled), -1).mean(1)


def kl_of(terms):
    return sum(VALUES[f"beta_{n[3:]}"] * terms[n] for n in terms if n.startswith("kl_"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (RolloutMatching, {"grey": False}),
        (RolloutMatching, {"inputs": "everything"}),
        (Aphynity, {}),
        (PhysVAE, {"unmixing": True}),
    ],
)
@pytest.mark.parametrize("name", ["rlc", "pendulum"])
def test_the_error_is_the_mean_square_in_standard_deviations(kind, name, options):
    field, batch, done, terms = asked(kind, name, **options)
    truth = frames_of(batch, done.begin.at, HORIZON + 1)
    assert torch.equal(done.begin.clock, times_of(batch, done.begin.at, HORIZON + 1))
    assert torch.allclose(done.begin.start[:, : field.size], truth[:, 0])
    if field.order == 2:
        slopes = torch.stack([x[k, 1] for x, k in zip(batch.nodes, done.begin.at, strict=True)])
        assert torch.allclose(done.begin.start[:, 1:], slopes, rtol=1e-4)
    assert done.states.shape[1] == HORIZON
    exact = mean_square(done.states[:, :, : field.size] - truth[:, 1:], field)
    assert np.allclose(terms["trajectory"].detach(), exact, rtol=1e-4)
    if kind is RolloutMatching:
        assert torch.allclose(terms["loss"], terms["trajectory"] + kl_of(terms), rtol=1e-5)
        assert set(terms) == {"loss", "trajectory", "kl_zeta"} | (
            {"kl_theta"} if field.grey else set()
        )


def test_simulations_begin_after_the_history_and_are_no_longer_than_the_data():
    _, batch, done, _ = asked(RolloutMatching, "rlc", inputs="everything")
    plain = asked(RolloutMatching, "rlc")[2]
    assert done.begin.at.min() == 1 and plain.begin.at.min() == 0
    longest = RolloutMatching(1000, SEED, HermitePath())
    whole = longest.simulate(make_field("rlc", data=smooth("rlc")), batch, VALUES)
    assert whole.states.shape[1] == batch.times.shape[1] - 1
    assert not whole.begin.at.any()


@pytest.mark.parametrize(("horizon", "last"), [(6, 20), (26, 3), (27, 2)])
def test_simulations_begin_anywhere_from_which_they_fit(horizon, last):
    """Of 30 frames; the window of 10 must fit, too."""
    field, path, data = make_field("rlc", grey=False), HermitePath(), smooth("rlc")
    begins, batch = set(), batch_of(data, path)
    for seed in range(12):
        objective = RolloutMatching(horizon, seed, path)
        begins |= set(objective.begin(field, batch, {}, field.window).at.tolist())
    assert (min(begins), max(begins)) == (0, last)


def test_a_simulation_is_a_solution_of_the_field():
    """Against many small steps of Heun, at the field's own times and from the data's frame."""
    field, _, done, _ = asked(RolloutMatching, "rlc")
    context, x = field.context(field.past(None), done.latents), done.begin.start
    for k in range(HORIZON):
        t, gap = done.begin.clock[:, k], done.begin.clock[:, k + 1] - done.begin.clock[:, k]
        size = (gap / 20)[:, None].float()
        for j in range(20):
            first = field(x, t + j * gap / 20, context).total
            ahead = field(x + size * first, t + (j + 1) * gap / 20, context).total
            x = x + size * (first + ahead) / 2
        assert torch.allclose(done.states[:, k], x, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("options", [{}, {"inputs": "everything", "history": 3}])
def test_aphynity_pays_the_square_of_its_network_where_it_has_been(options):
    field, _, done, terms = asked(Aphynity, "rlc", **options)
    before = list(done.begin.history.unbind(1)) if field.memory else [done.begin.start] * 2
    seen = before[1 - field.history :] + list(done.states.unbind(1))
    squares = []
    for k in range(HORIZON):
        history = torch.stack(seen[k : k + field.history], 1)
        context = field.context(field.past(history), done.latents)
        answer = field(done.states[:, k], done.begin.clock[:, k + 1], context)
        known = field.physics.known(done.states[:, k], done.begin.clock[:, k + 1], context.theta)
        squares.append(((answer.total - known) / field.rate).square())
    effort = torch.stack(squares).mean(0).sum(1)
    assert torch.allclose(terms["effort"], effort, rtol=1e-3, atol=1e-6)
    loss = effort + 2.5 * terms["trajectory"] + kl_of(terms)
    assert torch.allclose(terms["loss"], loss, rtol=1e-3)


def test_aphynity_means_over_the_cells_of_a_grid():
    field, _, done, terms = asked(Aphynity, "reaction_diffusion")
    context, squares = field.context(field.past(None), done.latents), []
    for k in range(HORIZON):
        answer = field(done.states[:, k], done.begin.clock[:, k + 1], context)
        known = field.physics.known(done.states[:, k], done.begin.clock[:, k + 1], context.theta)
        squares.append(((answer.total - known) / field.rate).square().mean((2, 3)))
    assert torch.allclose(terms["effort"], torch.stack(squares).mean(0).sum(1), rtol=2e-3)


@pytest.mark.parametrize("name", ["rlc", "pendulum"])
def test_physvae_regularises_by_what_the_physics_alone_makes(name):
    field, batch, done, terms = asked(PhysVAE, name, unmixing=True)
    bare = copy.deepcopy(field)
    for p in bare.network.last.parameters():
        torch.nn.init.zeros_(p)
    size, window = field.size, field.window
    alone = bare.simulate(
        done.begin.start, done.begin.start[:, None, :size], done.begin.clock, done.latents
    )
    balance = mean_square((done.states - alone)[:, :, :size], field)
    assert np.allclose(terms["balance"].detach(), balance, rtol=1e-3)
    cleaned = field.unmix(frames_of(batch, done.begin.at, window), done.latents.zeta)
    unmixing = mean_square(cleaned[:, 1 : HORIZON + 1] - alone[:, :, :size], field)
    assert np.allclose(terms["unmixing"].detach(), unmixing, rtol=1e-3)
    y = keyed_normal(SEED, "prior", batch.ids, len(field.parameter_names))
    drawn, times = Latents(done.latents.zeta, y), times_of(batch, done.begin.at, window)
    made = bare.simulate(done.begin.start, done.begin.start[:, None, :size], times, drawn)
    made = torch.cat((done.begin.start[:, None], made), 1)[:, :, :size]
    mean = field.theta_of(made, times, done.latents.zeta).mean
    exact = (mean - y).square().sum(1)
    assert torch.allclose(terms["self_supervision"], exact, rtol=2e-3)
    loss = terms["trajectory"] + kl_of(terms) + 0.2 * terms["balance"]
    loss = loss + 0.5 * terms["unmixing"] + 0.11 * terms["self_supervision"]
    assert torch.allclose(terms["loss"], loss, rtol=1e-5)


def test_unmixing_compares_no_more_frames_than_there_are():
    """A horizon beyond the window: frames 1 … T - 1 of both."""
    data, path = smooth("rlc"), HermitePath()
    field = make_field("rlc", shake=0.2, unmixing=True, data=data)
    batch = batch_of(data, path)
    objective = PhysVAE(15, SEED, path)
    done, terms = objective.simulate(field, batch, VALUES), objective(field, batch, VALUES)
    bare = copy.deepcopy(field)
    for p in bare.network.last.parameters():
        torch.nn.init.zeros_(p)
    alone = bare.simulate(
        done.begin.start, done.begin.start[:, None], done.begin.clock, done.latents
    )
    cleaned = field.unmix(frames_of(batch, done.begin.at, field.window), done.latents.zeta)
    exact = mean_square(cleaned[:, 1:] - alone[:, : field.window - 1], field)
    assert np.allclose(terms["unmixing"].detach(), exact, rtol=1e-3)
