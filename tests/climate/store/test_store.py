"""The training store: exact round trip, statistics that do not leak, splits, gaps, refusals."""

import json

import builders
import numpy as np
import pytest
import xarray as xr
from builders import SPLITS, hours, make_store, source, write_folder, write_variable
from refusals import refused
from seals import rewrite

from climate.conventions.calendar import leap_day_of_year, parse_period
from climate.conversion.convert import convert
from climate.grids.grid import Grid
from climate.store.layout import SHARD_BYTES, chunk_shape, open_store
from vgbdm.errors import InputError

HOUR = np.timedelta64(3600, "s")
TIMES = hours("2016-01-01", 480)


def truth(k: int) -> np.ndarray:
    return builders.waves(TIMES, k)


def test_states_come_back_exactly(store):
    expected = np.stack([truth(0), truth(2), truth(3)], 1)
    assert store.channels == ("z", "u10", "v10")
    assert np.array_equal(store.read(0, 480), expected)
    assert np.array_equal(store.read(37, 41), expected[37:41])
    assert store.step == HOUR
    assert np.array_equal(store.times, TIMES.astype("datetime64[s]"))


def test_xarray_opens_the_store(store):
    dataset = xr.open_zarr(store.path, consolidated=False)
    assert dataset["state"].dims == ("time", "channel", "lat", "lon")
    assert np.array_equal(dataset["time"].values, TIMES)
    assert list(dataset["channel"].values) == list(store.channels)


def test_statistics_are_those_of_numpy_on_the_training_period(store):
    training = np.stack([truth(0), truth(2), truth(3)], 1)[:288].astype(np.float64)
    weights = Grid(store.lat, store.lon).area_weights[:, None]
    mean = (training * weights).mean((0, 2, 3))
    std = np.sqrt((((training - mean[:, None, None]) ** 2) * weights).mean((0, 2, 3)))
    assert np.allclose(store.statistics.mean, mean, rtol=1e-12, atol=1e-12)
    assert np.allclose(store.statistics.std, std, rtol=1e-12)
    assert np.allclose(store.statistics.mean_map, training.mean(0), atol=1e-5)
    assert store.statistics.count == 288


def test_other_test_years_change_no_statistic(tmp_path, store):
    root = write_folder(tmp_path / "files", ("z", "u10", "v10"))
    for name, k in (("z", 0), ("u10", 2), ("v10", 3)):
        values = truth(k)
        values[288:] += 20
        write_variable(root, name, TIMES, values=values)
    convert(source(root).open(), tmp_path / "store", SPLITS, source={}, odd_maps="keep")
    other = open_store(tmp_path / "store")
    assert other.statistics.hash == store.statistics.hash
    assert np.array_equal(other.climatology.at(TIMES), store.climatology.at(TIMES))
    values[100] += 1
    write_variable(root, "v10", TIMES, values=values)
    convert(source(root).open(), tmp_path / "changed", SPLITS, source={}, odd_maps="keep")
    assert open_store(tmp_path / "changed").statistics.hash != store.statistics.hash


def test_statistics_do_not_depend_on_the_shards(tmp_path, store, monkeypatch):
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 48)
    root = write_folder(tmp_path / "files", ("z", "u10", "v10"))
    convert(source(root).open(), tmp_path / "store", SPLITS, source={}, workers=4)
    other = open_store(tmp_path / "store")
    assert len(list((tmp_path / "store/state/c").iterdir())) == 10
    assert np.allclose(other.statistics.mean, store.statistics.mean, rtol=1e-12, atol=1e-13)
    assert np.allclose(other.statistics.std, store.statistics.std, rtol=1e-12)


def test_short_climatology_is_the_mean_of_the_hour(store):
    climatology = store.climatology.at(TIMES[[7, 31, 300]])
    want = truth(0)[:288][7::24].mean(0)
    assert np.allclose(climatology[0, 0], want, atol=1e-4)
    assert np.array_equal(climatology[0], climatology[1])
    assert store.climatology.rule == "mean of the training period per hour of day"


def test_leap_days_keep_their_place():
    days = np.array(["2015-02-28", "2015-03-01", "2016-02-29", "2016-03-01", "2016-12-31"], "M8[s]")
    assert leap_day_of_year(days).tolist() == [58, 60, 59, 60, 365]


def test_anchors_respect_splits_and_history(store):
    six = 6 * HOUR
    train = store.anchors("train", six, 3, 1)
    assert train[0] == 18
    assert train[-1] == 288 - 1 - 6
    val = store.anchors("val", six, 3, 1)
    assert val[0] == 288
    assert val[-1] == 360 - 1 - 6
    assert len(store.anchors("test", six, 3, 7)) == 120 - 42


def test_windows_hold_no_missing_time(tmp_path):
    root = tmp_path / "files"
    kept = np.delete(np.arange(480), [100, 101])
    write_variable(root, "z", TIMES[kept])
    convert(source(root, ("z",)).open(), tmp_path / "store", SPLITS, source={})
    store = open_store(tmp_path / "store")
    anchors = store.anchors("train", 2 * HOUR, 3, 1)
    for anchor in anchors:
        window = store.times[store.frames(anchor[None], 2 * np.arange(-3, 2))[0]]
        assert (np.diff(window) == 2 * HOUR).all()
    assert len(anchors) == 288 - 8 - 10
    gaps = json.loads((tmp_path / "store/manifest.json").read_text())["gaps"]
    assert gaps == [["2016-01-05T03:00:00", "2016-01-05T06:00:00"]]


def test_a_step_that_is_no_multiple_is_refused(store):
    with pytest.raises(InputError, match="not a multiple of the store's step"):
        store.stride(np.timedelta64(5400, "s"))


def test_no_window_fits_a_short_split(store):
    assert len(store.anchors("val", 24 * HOUR, 3, 3)) == 0


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"val": ["2016-01-12T10", "2016-01-15"]}, "without overlap"),
        ({"test": ["2016-01-10", "2016-01-11"]}, "without overlap"),
        ({"test": ["2017", "2018"]}, "has no time there"),
        ({"train": ["2016-01-12", "2016-01-02"]}, "end lies before"),
        ({"train": ["yesterday", "2016-01-02"]}, "ISO 8601"),
        ({"train": ["2016-01-01"]}, "want [START, END]"),
    ],
)
def test_splits_that_cannot_be_are_refused(tmp_path, split, words):
    root = write_folder(tmp_path / "files", ("z",))
    with pytest.raises(InputError) as caught:
        convert(source(root, ("z",)).open(), tmp_path / "store", SPLITS | split, source={})
    assert words in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_an_end_without_a_time_is_its_last_second():
    assert str(parse_period("train", ["2006", "2015"])[1]) == "2015-12-31T23:59:59"
    assert str(parse_period("train", ["2006", "2016-02"])[1]) == "2016-02-29T23:59:59"
    assert str(parse_period("train", ["2006", "2016-02-03"])[1]) == "2016-02-03T23:59:59"
    assert str(parse_period("train", ["2006", "2016-02-03T06"])[1]) == "2016-02-03T06:00:00"


def with_holes(tmp_path, count):
    values = truth(0)
    values[5].ravel()[:count] = np.nan
    root = tmp_path / "files"
    write_variable(root, "z", TIMES, values=values)
    return source(root, ("z",)).open()


def test_missing_values_beyond_the_allowance_are_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        convert(with_holes(tmp_path, 3), tmp_path / "store", SPLITS, source={})
    assert "variable z" in str(caught.value)
    assert "2016-01-01T05:00:00" in str(caught.value)
    with pytest.raises(InputError, match="not finished"):
        open_store(tmp_path / "store")


def test_missing_values_within_the_allowance_are_filled_and_marked(tmp_path):
    dataset = with_holes(tmp_path, 3)
    convert(dataset, tmp_path / "store", SPLITS, source={}, nan_allowance=1e-3)
    store = open_store(tmp_path / "store")
    assert np.isfinite(store.read(0, 480)).all()
    filled = xr.open_zarr(tmp_path / "store", consolidated=False)["filled"]
    assert int(filled.sum()) == 3
    assert bool(filled[5, 0, 0, :3].all())


def test_a_finished_store_is_not_overwritten(tmp_path):
    make_store(tmp_path)
    with pytest.raises(InputError, match="already finished"):
        make_store(tmp_path)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds other files"):
        make_store(tmp_path)
    assert (tmp_path / "store/thesis.tex").read_text() == "x"


def test_a_stopped_conversion_is_refused_by_readers_and_can_be_run_again(tmp_path):
    store = make_store(tmp_path)
    before = store.read(0, 480)
    (tmp_path / "store/manifest.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        open_store(tmp_path / "store")
    again = make_store(tmp_path)
    assert np.array_equal(again.read(0, 480), before)
    assert again.statistics.hash == store.statistics.hash


def test_a_missing_shard_is_never_read_as_values(tmp_path):
    store = make_store(tmp_path)
    (store.path / "state/c/0/0/0/0").unlink()
    with pytest.raises(InputError, match="states of 2016-01-01 … 2016-01-01 09:00 "):
        open_store(store.path).read(0, 10)


def test_a_flipped_bit_is_noticed(tmp_path):
    store = make_store(tmp_path)
    shard = store.path / "state/c/0/0/0/0"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        open_store(store.path).read(0, 480)


def test_a_damaged_manifest_is_refused(tmp_path):
    store = make_store(tmp_path)
    manifest = store.path / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["statistics"]["mean"][0] += 1
    rewrite(store.path, statistics=facts["statistics"])
    refused(lambda: open_store(store.path), "manifest.json", "do not match their hash")
    manifest.write_text(json.dumps(facts))
    refused(lambda: open_store(store.path), "manifest.json", "is damaged")
    manifest.write_text("{")
    refused(lambda: open_store(store.path), "manifest.json", "not readable as JSON")


@pytest.mark.parametrize(
    ("channels", "height", "width"),
    [(5, 32, 64), (40, 721, 1440), (16, 721, 1440), (137, 721, 1440), (33, 721, 1440), (1, 8, 16)],
)
def test_shards_stay_below_their_size_and_hold_whole_chunks(channels, height, width):
    chunks, shards = chunk_shape(channels, height, width)
    assert 4 * np.prod(shards) <= SHARD_BYTES
    assert all(s % c == 0 for s, c in zip(shards, chunks, strict=True))
    if (height, width) == (32, 64):
        assert (chunks[0], shards[0]) == (24, 720)
    if channels == 40:
        assert shards == (1, 20, 721, 1440)


def test_real_winds(winds, tmp_path):
    splits = {
        "train": ["2026-03-24T00", "2026-04-23T00"],
        "val": ["2026-04-23T06", "2026-04-25T12"],
        "test": ["2026-04-25T18", "2026-05-06T12"],
    }
    convert(source(winds, ("u10", "v10")).open(), tmp_path / "store", splits, source={})
    store = open_store(tmp_path / "store")
    assert store.step == 6 * HOUR
    assert len(store.anchors("train", 6 * HOUR)) == 112
    assert len(store.anchors("test", 6 * HOUR, 3, 7)) == 37
