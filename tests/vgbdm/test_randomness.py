"""Keyed randomness: same key, same numbers; another key, others."""

import torch

from vgbdm.randomness import checksum, keyed_generator, keyed_normal, keyed_seed, keyed_uniform


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
    assert torch.allclose(normal.mean(0), torch.zeros(4).double(), atol=0.03)
    assert torch.allclose(normal.std(0), torch.ones(4).double(), atol=0.02)
    for draws in (uniform, normal):
        between = torch.corrcoef(torch.cat((draws, draws.roll(1, 0)), 1).T) - torch.eye(8)
        assert between.abs().max() < 0.03


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
