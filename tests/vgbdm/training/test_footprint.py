"""Bytes of what operations make are counted while they live, fake ones as real ones."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vgbdm.training.footprint import Footprint

KIB = 1024


def rise_and_fall(footprint):
    """What is held after each step of a small computation; each tensor has 1 KiB."""
    held = []
    given = torch.zeros(256)
    with footprint:
        given.view(16, 16).add_(1)  # of what was there before
        held.append(footprint.held)
        first = given + 1
        held.append(footprint.held)
        second = first * 2
        held.append(footprint.held)
        second[10:].mul_(3)
        del first
        held.append(footprint.held)
    return held


@pytest.mark.parametrize("fake", [False, True])
def test_storages_count_once_from_their_making_to_their_end(fake):
    footprint = Footprint()
    if fake:
        with FakeTensorMode():
            held = rise_and_fall(footprint)
    else:
        held = rise_and_fall(footprint)
    assert held == [0, KIB, 2 * KIB, KIB]
    assert footprint.peak == 2 * KIB and footprint.held == 0
