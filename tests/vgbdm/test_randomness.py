"""Keyed randomness: same key, same numbers; another key, others."""

import torch

from vgbdm.randomness import keyed_generator, keyed_seed


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
