"""What a conversion will take, counted by hand, and how gaps are told."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from builders import SPLITS, source, write_folder
from refusals import refused

from climate.conversion import plan
from climate.conversion.shards import Job
from climate.conversion.tasks import write_shards
from climate.store.coverage import gap_text, model_step
from climate.store.layout import chunk_shape

HOUR, MONTH = np.timedelta64(3600, "s"), np.timedelta64(1, "M")
DATASET = xr.Dataset({name: (("lat", "lon"), np.zeros((8, 16))) for name in "abc"})
FREE = 10 * 2**30


def job(**changed):
    numbers = dict.fromkeys(Job.__dataclass_fields__)
    numbers |= {"times": np.arange(100), "steps": 24, "channels": tuple("abc"), "share": 2}
    return Job(**numbers | {"dataset": DATASET} | changed)


@pytest.fixture
def make(monkeypatch, tmp_path):
    def planned(indices, bins=24, free=FREE, **changed):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(plan.shutil, "disk_usage", lambda path: usage)
        return plan.make_plan(job(**changed), indices, bins, "threads", 3, tmp_path)

    return planned


def test_a_plan_counts_states_climatology_and_mean_map(make):
    state = 4 * 3 * 8 * 16
    whole = make(range(10))
    assert (whole.steps, whole.shards, whole.threads) == (100, 10, 3)
    assert whole.size == state * (100 + 24 + 1)
    assert whole.shard == 4 * 8 * 16 * 2 * 24
    assert whole.free == FREE
    rest = make([8, 9], bins=0)  # the last four times
    assert rest.size == state * (4 + 1)
    assert make(range(10), steps=200).shard == 4 * 8 * 16 * 2 * 100
    assert f"{plan.TASK_SHARDS * whole.shard / 2**20:.1f} MiB of memory per task × 3" in str(whole)


def test_what_is_read_to_be_regridded_is_counted_too(make):
    read = DATASET.copy()
    read["b"] = read["b"].copy()
    read["b"].encoding = {"beside": 2**20}
    told = make(range(10), dataset=read)
    memory = plan.TASK_SHARDS * told.shard / 2**20 + plan.TASK_PIECES
    assert f"{memory:.1f} MiB of memory per task × 3" in str(told)


def test_what_does_not_fit_is_refused_to_the_byte(make):
    needed = 4 * 3 * 8 * 16 * 125 + plan.SPARE_BYTES
    assert make(range(10), free=needed).free == needed
    refused(lambda: make(range(10), free=needed - 1), "needs up to 64.2 MiB for 100 steps")


@pytest.mark.parametrize(
    ("first", "last", "step", "said"),
    [
        ("2016-01-01T00", "2016-01-01T02", HOUR, "1 step of 1 h"),
        ("2016-01-01T00", "2016-01-01T18", 6 * HOUR, "2 steps of 6 h"),
        ("2016-01", "2016-05", MONTH, "3 steps of 1 month"),
    ],
)
def test_a_gap_counts_the_steps_that_are_missing(first, last, step, said):
    gap = np.datetime64(first, "s"), np.datetime64(last, "s")
    assert f": {said} missing between them" in gap_text(gap, step)


@pytest.mark.parametrize(
    ("step", "want"), [(HOUR, 6), (3 * HOUR, 6), (4 * HOUR, 4), (12 * HOUR, 12), (6 * HOUR, 6)]
)
def test_the_usual_model_makes_steps_of_six_hours_where_it_can(step, want):
    assert model_step(step) == want * HOUR
    assert model_step(MONTH) == MONTH


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_the_bar_tells_all_bytes_when_all_shards_are_written(monkeypatch, scheduler):
    moved, written = [], []

    class Bar:
        def __init__(self, total, *_):
            moved.append(-total)

        def __enter__(self):
            return SimpleNamespace(update=moved.append)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr("climate.conversion.tasks.progress", Bar)
    monkeypatch.setattr("climate.conversion.tasks.write_shard", lambda job, k: written.append(k))
    write_shards(job(), [0, 1, 4, 5], scheduler, 2)
    assert sorted(written) == [0, 1, 4, 5]
    assert moved == [-48 * 3 * 8 * 16 * 4, *[12 * 3 * 8 * 16 * 4] * 4]


def test_large_states_are_dealt_to_shards_of_128_mib():
    """Small ones up to 720 steps, a whole number of chunks of 24; large ones map by map."""
    assert chunk_shape(5, 32, 64) == ((24, 5, 32, 64), (720, 5, 32, 64))
    assert chunk_shape(1, 512, 512) == ((24, 1, 512, 512), (120, 1, 512, 512))
    assert chunk_shape(3, 512, 512) == ((1, 1, 512, 512), (42, 3, 512, 512))
    assert chunk_shape(40, 721, 1440) == ((1, 1, 721, 1440), (1, 20, 721, 1440))


def test_a_preview_says_what_will_be_and_writes_nothing(tmp_path):
    files = write_folder(tmp_path / "files", ("z",))
    dataset = source(files, ("z",)).open()
    lines = plan.preview(dataset, tmp_path / "a" / "store", SPLITS, "threads", 2)
    assert "480 steps" in lines[0] and "free" in lines[0]
    assert lines[1:] == [
        "train       2016-01-01 … 2016-01-12 23:00, 288 times",
        "val         2016-01-13 … 2016-01-15, 72 times",
        "test        2016-01-16 … 2016-01-20, 120 times",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
