"""The objectives that simulate, reckoned again: errors, efforts and regularisers by value."""

import copy

import numpy as np
import pytest
import torch
from system_fields import batch_of, make_field, smooth

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


def starts(objective, field, data, count=400):
    """First frames of simulations and of their windows, of many samples."""
    batch = batch_of(data, objective.path, torch.arange(count) % len(data))
    batch.ids = torch.arange(count)
    begin = objective.begin(field, batch, {})
    return begin.at, objective.window(field, batch.ids, begin, field.past(begin.history))


def test_simulations_begin_after_the_history_and_are_no_longer_than_the_data():
    _, batch, done, _ = asked(RolloutMatching, "rlc", inputs="everything", history=4)
    plain = asked(RolloutMatching, "rlc")[2]
    assert done.begin.at.min() >= 3 and plain.begin.at.min() < 3
    assert torch.equal(done.begin.history, frames_of(batch, done.begin.at - 3, 4))
    longest = RolloutMatching(1000, SEED, HermitePath())
    whole = longest.simulate(make_field("rlc", data=smooth("rlc")), batch, VALUES)
    assert whole.states.shape[1] == batch.times.shape[1] - 1
    assert not whole.begin.at.any()


@pytest.mark.parametrize(
    ("ahead", "depth", "last"), [(6, 1, 23), (20, 1, 9), (6, 4, 23), (28, 1, 1)]
)
def test_simulations_begin_wherever_they_fit_forecasts_among_them(ahead, depth, last):
    """Of 30 frames, with windows of 10: forecasts start at frame 9, from a window at frame 0."""
    inputs = {"inputs": "everything", "history": depth} if depth > 1 else {}
    data = smooth("rlc")
    field = make_field("rlc", grey=False, data=data, **inputs)
    at, window = starts(RolloutMatching(ahead, SEED, HermitePath()), field, data, 4000)
    shares = torch.bincount(at, minlength=last + 1).double() / len(at)
    assert shares.shape == (last + 1,) and not shares[: depth - 1].any()
    assert torch.allclose(
        shares[depth - 1 :], torch.tensor(1 / (last + 2 - depth)).double(), atol=0.03
    )
    assert (ahead > 20) or bool(((at == 9) & (window == 0)).any())
    assert float((window == 0).double().mean()) == pytest.approx(0.5 + 0.5 / 21, abs=0.03)
    assert (window.min(), window.max()) == (0, 20)
    behind = ((at + 1 < window + 10) & (at + ahead >= window)).double().mean()
    assert behind > 0.4, "windows hold frames that are scored"


def test_a_horizon_that_grows_moves_no_start():
    data, path = smooth("rlc"), HermitePath()
    field, objective = make_field("rlc", data=data), RolloutMatching(9, SEED, path)
    batch = batch_of(data, path)
    short, whole = (objective.simulate(field, batch, VALUES | h) for h in ({"horizon": 3.0}, {}))
    assert torch.equal(short.begin.at, whole.begin.at) and torch.equal(short.window, whole.window)
    assert short.states.shape[1] == 3 and whole.states.shape[1] == 9
    assert torch.allclose(short.states, whole.states[:, :3], rtol=1e-4)


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
    times, frames = (f(batch, done.window, window) for f in (times_of, frames_of))
    first = frames[:, 0]
    if field.order == 2:
        slopes = torch.stack([x[k, 1] for x, k in zip(batch.nodes, done.window, strict=True)])
        first = torch.cat((first, slopes), 1)
    shown = bare.simulate(first, frames[:, :1], times, done.latents)[:, :, :size]
    unmixing = mean_square(field.unmix(frames, done.latents.zeta)[:, 1:] - shown, field)
    assert np.allclose(terms["unmixing"].detach(), unmixing, rtol=1e-3)
    y = keyed_normal(SEED, "prior", batch.ids, len(field.parameter_names))
    drawn = Latents(done.latents.zeta, y)
    made = bare.simulate(first, frames[:, :1], times, drawn)[:, :, :size]
    made = torch.cat((frames[:, :1], made), 1)
    mean = field.theta_of(made, times, done.latents.zeta).mean
    exact = (mean - y).square().sum(1)
    assert torch.allclose(terms["self_supervision"], exact, rtol=2e-3)
    loss = terms["trajectory"] + kl_of(terms) + 0.2 * terms["balance"]
    loss = loss + 0.5 * terms["unmixing"] + 0.11 * terms["self_supervision"]
    assert torch.allclose(terms["loss"], loss, rtol=1e-5)
