"""What is kept of windows is what computing them anew gives, bit for bit."""

import pytest
import torch
from system_fields import batch_of, make_field, smooth, trajectories

from vgbdm.fields.grey_box import Window
from vgbdm.latents.cache import WindowCache
from vgbdm.objectives.matching import Matching
from vgbdm.objectives.places import WindowSampler

VALUES = {"beta_theta": 0.1, "beta_zeta": 0.1, "gauge": 0.1}


def counting(asked):
    def compute(places):
        asked.append(places.tolist())
        return places[:, None] + torch.tensor([0.0, 0.5])

    return compute


def test_a_window_is_computed_once_whatever_batch_it_comes_in():
    cache, asked = WindowCache(3, 2), []
    first = cache.at(torch.tensor([0, 2, 0]), torch.tensor([0, 1, 1])).take(2, counting(asked))
    assert first.tolist() == [[0, 0.5], [1, 1.5], [2, 2.5]]
    again = cache.at(torch.tensor([2, 1, 0, 2]), torch.tensor([1, 1, 0, 0]))
    found = again.take(2, counting(asked))
    assert found.tolist() == [[1, 1.5], [1, 1.5], [0, 0.5], [3, 3.5]]  # the 1st and 3rd are known
    assert asked == [[0, 1, 2], [1, 3]]
    assert again.take(2, counting(asked)).tolist() == found.tolist() and len(asked) == 2


def test_one_window_is_computed_as_two():
    """Sums over a batch of one may be taken in another order."""
    cache, asked = WindowCache(3, 1), []
    found = cache.at(torch.tensor([1]), torch.tensor([0])).take(2, counting(asked))
    assert asked == [[0, 0]] and found.tolist() == [[0, 0.5]]


def test_windows_beyond_the_limit_are_computed_anew_and_those_at_the_first_frame_kept():
    cache, asked = WindowCache(3, 4, limit=5 * 2 * 4), []
    rows = torch.tensor([0, 1, 2, 0, 1, 2])
    start = torch.tensor([0, 0, 0, 1, 1, 3])
    for _ in range(2):
        found = cache.at(rows, start).take(2, counting(asked))
    assert asked == [[0, 1, 2, 3, 4, 5], [5, 5]] and cache.table.shape == (5, 2)
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["rlc", "pendulum", "lorenz", "reaction_diffusion"])
def test_features_do_not_depend_on_the_batch(name):
    field, data = make_field(name), trajectories(name)
    count = field.window
    frames = torch.cat([data.x[:, k : k + count] for k in range(4)])
    times = torch.cat([data.t[:, k : k + count] for k in range(4)])
    whole = field.coefficients(frames, times)
    for size in (2, 3, 7, 16, 29):
        for at in range(0, len(frames) - size, size):
            cut = slice(at, at + size)
            assert torch.equal(field.coefficients(frames[cut], times[cut]), whole[cut]), size


@pytest.mark.parametrize("options", [{}, {"grey": False}, {"inputs": "everything"}])
def test_training_is_the_same_with_and_without_a_cache(options):
    """Loss and gradients, bit for bit, when windows are new and when they are known."""
    data = smooth("lorenz", 6)
    field = make_field("lorenz", data=data, shake=0.1, **options)
    objective = Matching(field.path, WindowSampler(2, "trajectory", 3), 3)
    batch, cache = batch_of(data, field.path), WindowCache(6, 21)
    results = []
    for held in (None, cache, cache):
        batch.cache = held
        field.zero_grad()
        terms = objective(field, batch, VALUES)
        terms["loss"].sum().backward()
        results.append([terms["loss"], *(p.grad for p in field.parameters())])
    assert int(cache.known.sum()) == 6
    for plain, fresh, known in zip(*results, strict=True):
        assert torch.equal(plain, fresh) and torch.equal(plain, known)


def test_a_window_that_was_unmixed_is_not_known():
    """PhysVAE changes windows by what it learns: only ζ is inferred from the window as it is."""
    data = smooth("rlc", 4)
    field, asked = make_field("rlc", data=data, unmixing=True, shake=0.1), []
    original = field.coefficients
    field.coefficients = lambda x, t: asked.append(len(x)) or original(x, t)
    cache, zero = WindowCache(4, 1), torch.zeros(4, dtype=torch.long)
    window = Window(data.x[:, :10], data.t[:, :10], cache.at(torch.arange(4), zero))
    for _ in range(2):
        posterior, _ = field.infer(window)
    assert asked == [4, 4, 4]  # both at first, then the unmixed one
    plain, _ = field.infer(Window(window.frames, window.times))
    assert torch.equal(plain.theta.mean, posterior.theta.mean)
