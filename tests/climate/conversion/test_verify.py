"""Damage in words, and repair that leaves alone what an append has begun to move."""

import json
import shutil

import pytest
from builders import hours
from refusals import refused

from climate.conversion.journal import Journal
from climate.conversion.verify import Damage, repair, verify_derived, verify_store
from climate.store.swap import swap_file

TIMES = hours("2016-01-01", 20).astype("M8[s]")


@pytest.fixture
def copied(store, tmp_path):
    shutil.copytree(store.path, tmp_path / "store")
    return tmp_path / "store"


def begin_to_swap(path):
    """As an append leaves it that was stopped while its files moved."""
    Journal(path).shards.mkdir(parents=True)
    swap_file(path).write_text(json.dumps({}))


def test_nothing_is_repaired_inside_a_half_moved_append(copied):
    begin_to_swap(copied)
    (copied / "lat/c/0").write_bytes(b"damaged")
    refused(lambda: repair(copied, None, {}), "an append was stopped", "append=true")
    assert swap_file(copied).exists()
    assert (copied / "lat/c/0").read_bytes() == b"damaged"


def test_what_is_whole_is_not_repaired(copied):
    before = (copied / "manifest.json").read_bytes()
    assert verify_store(copied) == []
    assert repair(copied, None, {}) == []
    assert (copied / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("shard", "times", "said"),
    [
        (None, TIMES, "x: bad"),
        ((1, 0), None, "x: bad; holds times 6 … 11"),
        ((1, 2), TIMES, "x: bad; holds 2016-01-01 06:00 … 2016-01-01 11:00"),
        ((3, 0), TIMES, "x: bad; holds 2016-01-01 18:00 … 2016-01-01 19:00"),
    ],
)
def test_damage_says_which_times_it_holds(shard, times, said):
    assert Damage("x", "bad", shard, 6).describe(times) == said


def test_only_what_is_derived_is_looked_at_beside_a_store(copied):
    for name in ("monthly", "initial_wind-1", "other"):
        (copied / name).mkdir()
        (copied / name / "manifest.json").write_text("{")
    lines = verify_derived(copied)
    assert [line.split("/")[0] for line in lines] == ["initial_wind-1", "monthly"]
    assert all("manifest.json" in line for line in lines)


def test_the_times_of_a_damaged_clock_are_not_told(copied):
    flip = bytearray((copied / "time/c/0").read_bytes())
    flip[-1] ^= 1
    (copied / "time/c/0").write_bytes(flip)
    shard = copied / "state/c/0/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    lines = verify_store(copied)
    assert len(lines) == 2
    assert any("holds times 0 … " in line for line in lines)
