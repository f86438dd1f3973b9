"""Keyed randomness: same key, same numbers; another key, others."""

import math

import pytest
import torch

from vgbdm import randomness
from vgbdm.randomness import (
    checksum,
    keyed_bits,
    keyed_generator,
    keyed_normal,
    keyed_seed,
    keyed_uniform,
    pair_keys,
)


def draw(*key):
    return torch.rand(4, generator=keyed_generator(*key))


def test_numbers_depend_on_the_key_alone():
    first = draw(1, "noise", 5)
    draw(1, "noise", 6)
    assert torch.equal(draw(1, "noise", 5), first)


def test_seed_purpose_and_index_all_matter():
    keys = [(1, "noise", 5), (2, "noise", 5), (1, "path", 5), (1, "noise", 6), (1, "noise", 5, 0)]
    seeds = {keyed_seed(*key) for key in keys}
    assert len(seeds) == len(keys)


def test_seed_is_the_same_on_every_machine():
    assert keyed_seed(0, "matching", 0) == 181885768317645482


def test_keyed_draws_depend_on_the_id_and_not_on_the_batch():
    ids = torch.tensor([4, 900, 2**40])
    whole = keyed_uniform(7, "windows", ids, 5)
    assert torch.equal(keyed_uniform(7, "windows", ids[1:2], 5), whole[1:2])
    assert torch.equal(keyed_uniform(7, "windows", ids, 3), whole[:, :3])
    assert not torch.equal(keyed_uniform(8, "windows", ids, 5), whole)
    assert not torch.equal(keyed_uniform(7, "latents", ids, 5), whole)


def test_keyed_draws_have_their_distribution():
    ids = torch.arange(20000)
    uniform, normal = keyed_uniform(0, "a", ids, 4), keyed_normal(0, "a", ids, 4)
    assert uniform.min() > 0 and uniform.max() < 1
    assert torch.allclose(uniform.mean(0), torch.full((4,), 0.5).double(), atol=0.01)
    assert torch.allclose(uniform.var(0), torch.full((4,), 1 / 12).double(), atol=0.003)
    assert torch.allclose(normal.mean(0), torch.zeros(4), atol=0.03)
    assert torch.allclose(normal.std(0), torch.ones(4), atol=0.02)
    for draws in (uniform, normal):
        between = torch.corrcoef(torch.cat((draws, draws.roll(1, 0)), 1).T) - torch.eye(8)
        assert between.abs().max() < 0.03


def test_bits_are_those_of_every_machine():
    """Python's whole numbers, which no device rounds or wraps in its own way."""

    def mix(x):
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ x >> shift) * factor % 2**64
        return x ^ x >> 31

    golden = 0x9E3779B97F4A7C15
    bits = keyed_bits(3, "a", torch.tensor([5, 2**40]), torch.arange(3))
    for row, sample in zip(bits.tolist(), (5, 2**40), strict=True):
        base = mix((sample * golden + keyed_seed(3, "a")) % 2**64)
        assert [b % 2**64 for b in row] == [mix((base + k * golden) % 2**64) for k in (1, 2, 3)]


def test_normals_are_the_box_muller_pairs_of_the_bits(monkeypatch):
    monkeypatch.setitem(randomness.BLOCK, "cpu", 128)  # several blocks, the last one shorter
    ids, count = torch.arange(50), 13
    bits = keyed_bits(0, "a", ids, torch.arange(7))
    radius = (-2 * ((((bits >> 32) & (2**31 - 1)).double() + 0.5) / 2**31).log()).sqrt()
    low = bits & (2**32 - 1)
    angle = torch.where(low >= 2**31, low - 2**32, low).double() * (2 * math.pi / 2**32)
    expected = torch.cat((radius * angle.sin(), radius * angle.cos()), 1)[:, :count]
    drawn = keyed_normal(0, "a", ids, count)
    assert drawn.dtype == torch.float32 and drawn.shape == (50, count)
    assert torch.allclose(drawn.double(), expected, atol=2e-6)


def test_the_largest_normal_is_finite(monkeypatch):
    everything = torch.tensor([[0, -1, 2**32 - 1, 1 << 62]])
    monkeypatch.setattr(randomness, "_bits", lambda *key: everything.clone())
    drawn = keyed_normal(0, "a", torch.zeros(1, dtype=torch.int64), 8)
    assert drawn.isfinite().all() and 6 < drawn.abs().max() < 7


def test_a_pair_has_a_key_of_its_own():
    ids, numbers = torch.arange(300), torch.arange(40)
    keys = pair_keys(ids, numbers)
    assert keys.shape == (12000,) and len(keys.unique()) == 12000
    assert torch.equal(keys.view(300, 40)[7], pair_keys(torch.tensor([7]), numbers))
    assert torch.equal(keys.view(300, 40)[:, 3], pair_keys(ids, torch.tensor([3])))


def test_a_checksum_tells_sets_of_samples_apart_and_not_their_order():
    ids, origins = torch.arange(64), torch.arange(64) * 21600 + 1451606400
    whole = checksum(ids, origins)
    assert whole.min() >= 0 and whole.max() < 2**32
    assert len(whole.unique()) == 64
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert checksum(ids[order], origins[order]).sum() == whole.sum()
    swapped = origins.clone()
    swapped[[3, 9]] = origins[[9, 3]]
    assert checksum(ids, swapped).sum() != whole.sum()
    assert checksum(ids + 1, origins).sum() != whole.sum()
    assert checksum(torch.tensor([5]), torch.tensor([1451606400])).item() == 3126272306


@pytest.mark.slow
def test_compiled_draws_are_the_draws():
    """Of more numbers than are made at a time: a compiler reckons with the places of the rest."""
    ids = torch.arange(2)
    compiled = torch.compile(keyed_normal, fullgraph=True)
    ours, theirs = compiled(1, "a", ids, 2**16 + 3), keyed_normal(1, "a", ids, 2**16 + 3)
    assert ((ours - theirs).abs() <= 1e-6 * (1 + theirs.abs())).all()


@pytest.mark.parametrize(
    ("device", "ids", "count", "most"),
    [("meta", 3, 2**28, 2**26), ("cpu", 3, 2**17, 2**15), ("cpu", 2**16, 4, 2**16)],
)
def test_bits_are_made_in_pieces_that_fit_the_memory(monkeypatch, device, ids, count, most):
    """Half a GiB of an accelerator's, a quarter of a MiB of a cache; one place at least."""
    sizes, bits = [], randomness._bits

    def noting(bases, places):
        sizes.append(len(bases) * len(places))
        return bits(bases, places)

    monkeypatch.setattr(randomness, "_bits", noting)
    drawn = keyed_normal(0, "x", torch.arange(ids, device=device), count)
    assert drawn.shape == (ids, count) and sum(sizes) == ids * count // 2
    assert max(sizes) <= most and max(sizes) > 0.99 * most
