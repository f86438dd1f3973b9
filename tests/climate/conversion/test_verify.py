"""Damage in words, and repair that leaves alone what an append has begun to move."""

import json
import shutil

import numpy as np
import pytest
from builders import ABOUT, SPLITS, hours, source, write_folder
from refusals import refused

from climate.conversion.convert import convert
from climate.conversion.journal import Journal
from climate.conversion.verify import Damage, repair, verify_derived, verify_store
from climate.store.layout import open_store
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


@pytest.mark.parametrize("hourly_bins", [False, True], ids=["of the step", "of every hour"])
def test_a_climatology_of_today_or_of_before_is_read_and_mended(tmp_path, monkeypatch, hourly_bins):
    """A store of six-hourly steps has four bins; one of before has one for every hour."""
    files = write_folder(tmp_path / "files", ("z",), days=20, step=6)
    with monkeypatch.context() as patch:
        if hourly_bins:
            patch.setattr("climate.store.statistics.parts_of_day", lambda step: 24)
        convert(source(files, ("z",)).open(), tmp_path / "store", SPLITS, source=ABOUT)
    store = open_store(tmp_path / "store")
    assert store.climatology.array.shape[0] == (24 if hourly_bins else 4)
    training = store.read(0, 48)
    for k in range(4):
        found = store.climatology.at(store.times[[48 + k]])[0]
        assert np.allclose(found, training[k::4].mean(0), atol=1e-4)
    chunk = store.path / "climatology/c/0/0/0/0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1])
    repaired = repair(store.path, source(files, ("z",)).open(), ABOUT)
    assert repaired == [str(chunk.relative_to(store.path))] and chunk.read_bytes() == whole
