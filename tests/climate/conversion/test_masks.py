"""A mask that stands still is kept; one that moves is missing values."""

import logging

import numpy as np
import pytest
import xarray as xr
from archives import write_zarr, zarr_source
from builders import CASE_SPLITS, LAT, LON, SPLITS, contents, hours, warm, waves
from entry import compose_config
from refusals import refused
from seals import manifest_of
from seas import LAND, TIMES, make_sea_store, sea_dataset, sst

from climate.conversion import convert as converting
from climate.conversion.append import append
from climate.conversion.convert import convert
from climate.conversion.monthly import open_monthly
from climate.conversion.verify import describe_store, find_damaged_shards, repair
from climate.grids.grid import Grid
from climate.grids.regions import Region
from climate.sources.opening import open_source
from climate.store.crop import crop
from climate.store.layout import open_store
from climate.store.mask import mask_lines, pack, percent, unpack
from climate.store.staging import stage
from vgbdm.storage.sealing import write_manifest

LATER = SPLITS | {"test": ["2016-01-16", "2016-01-25"]}


@pytest.fixture
def many_shards(monkeypatch):
    """Four shards for the 80 times."""
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 24)


@pytest.fixture(scope="module")
def sea(tmp_path_factory):
    return make_sea_store(tmp_path_factory.mktemp("sea") / "store")


def moments(values, kept, lat=LAT):
    """Mean and standard deviation by area over the points kept, in float64."""
    weights = np.broadcast_to(Grid(lat, LON).area_weights[:, None], kept.shape)[kept]
    points = values[:, kept].astype(np.float64)
    mean = np.average(points.mean(0), weights=weights)
    return mean, np.sqrt(np.average(((points - mean) ** 2).mean(0), weights=weights))


# --- what a store keeps ---------------------------------------------------------------------------


def test_it_is_kept_and_needs_no_allowance(sea):
    assert sea.channels == ("u10", "v10", "sst")
    assert not sea.mask[:2].any() and np.array_equal(sea.mask[2], LAND)
    states = sea.read(0, 80)
    assert np.array_equal(states[:, 2], sst(), equal_nan=True)
    assert np.isfinite(states[:, :2]).all()
    held = xr.open_zarr(sea.path, consolidated=False)
    assert held["mask"].dims == ("channel", "lat", "lon")
    assert not bool(held["filled"].any())
    facts = manifest_of(sea.path)
    assert facts["masked"] == ["sst"] and "mask/zarr.json" in facts["files"]
    assert not list(find_damaged_shards(sea.path))


def test_it_is_told_in_one_line(sea):
    line = "sst: 19 % of the points are masked, as in every time"
    assert mask_lines(sea.channels, sea.mask) == [line]
    assert [text for text in describe_store(sea.path) if text.startswith("mask")] == [
        f"mask        {line}"
    ]


def test_statistics_and_climatology_leave_it_out(sea):
    training = sst()[:48]
    mean, std = moments(training, ~LAND)
    held = sea.statistics
    assert held.mean[2] == pytest.approx(mean, rel=1e-9)
    assert held.std[2] == pytest.approx(std, rel=1e-9)
    changes = np.diff(training, axis=0)
    assert held.tendency_std[2] == pytest.approx(moments(changes, ~LAND)[1], rel=1e-6)
    assert (held.min[2], held.max[2]) == (np.nanmin(training), np.nanmax(training))
    assert np.array_equal(np.isnan(held.mean_map[2]), LAND)
    assert np.array_equal(np.isnan(sea.climatology.at(TIMES[:1])[0, 2]), LAND)
    assert np.isfinite(held.mean_map[:2]).all()


def test_statistics_of_whole_channels_are_those_without_a_masked_one(sea, tmp_path):
    whole = make_sea_store(tmp_path / "s", sea_dataset()[["u10", "v10"]])
    assert whole.mask is None and not (tmp_path / "s" / "mask").exists()
    for name in ("mean", "std", "min", "max", "tendency_std"):
        own, other = (getattr(s.statistics, name) for s in (sea, whole))
        assert np.allclose(own[:2], other, rtol=1e-13)


def test_many_shards_and_threads_give_the_same(sea, tmp_path, many_shards):
    one = make_sea_store(tmp_path / "one")
    two = make_sea_store(tmp_path / "two", scheduler="threads", workers=3)
    assert contents(one.path) == contents(two.path)
    assert np.array_equal(one.mask, sea.mask)
    assert np.allclose(one.statistics.std, sea.statistics.std, rtol=1e-12)
    assert np.array_equal(one.read(0, 80), sea.read(0, 80), equal_nan=True)


def test_stopped_before_its_end_it_ends_with_the_same_bytes(tmp_path, many_shards, monkeypatch):
    """Also where the mask that is planned is larger than that which stands."""
    moving = sst()
    moving[30, 6, 2:4] = np.nan
    moving[[0, 79], 7, 1] = np.nan
    make_sea_store(tmp_path / "whole", sea_dataset(values=moving), nan_allowance=0.1)

    def stop(*_, **__):
        raise KeyboardInterrupt

    for name in ("_settle_mask", "write_derived"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(converting, name, stop)
            make_sea_store(tmp_path / name, sea_dataset(values=moving), nan_allowance=0.1)
        make_sea_store(tmp_path / name, sea_dataset(values=moving), nan_allowance=0.1)
        assert contents(tmp_path / name) == contents(tmp_path / "whole")
    assert np.array_equal(open_store(tmp_path / "whole").mask[2], LAND)


def test_a_store_from_before_has_no_mask(sea, tmp_path):
    held = make_sea_store(tmp_path / "s", sea_dataset()[["u10", "v10"]])
    facts = manifest_of(held.path)
    del facts["masked"]
    write_manifest(held.path, facts)
    assert open_store(held.path).mask is None


def test_a_mask_is_packed_and_unpacked():
    mask = np.random.default_rng(0).random((3, 7, 5)) < 0.3
    assert np.array_equal(unpack(pack(mask), mask.shape), mask)
    assert [percent(x) for x in (0.281, 0.0004, 0.99999)] == ["28 %", "0.04 %", "99.999 %"]


# --- what is no mask ------------------------------------------------------------------------------


BIG = {"SMALL_FIELD_BYTES": 0, "SHARD_BYTES": 2 * 4 * LAND.size}
"""Sizes by which each time is two shards, the last of them of one channel."""


@pytest.mark.parametrize(("sizes", "every"), [({"SHARD_STEPS": 24}, 1), ({}, 1), (BIG, 8)])
def test_sea_ice_is_missing_values(tmp_path, monkeypatch, sizes, every):
    """Ice that comes and goes; the land beside it stands still."""
    for name, value in sizes.items():
        monkeypatch.setattr(f"climate.store.layout.{name}", value)
    ice = sst()
    ice[:20, 7] = np.nan  # open water at the beginning …
    ice[70:, 7] = np.nan  # … and at the end
    ice = ice[::every]
    dataset = sea_dataset(TIMES[::every], ice, name="siconc")
    words = "variable siconc", "beside those that are masked in every time", "nan_allowance is 0"
    refused(lambda: make_sea_store(tmp_path / "s", dataset), *words, "2016-01-")
    filled = make_sea_store(tmp_path / "s", dataset, nan_allowance=0.5, restart=True)
    assert np.array_equal(filled.mask[2], LAND)
    states = filled.read(0, len(ice))[:, 2]
    assert np.array_equal(np.isnan(states), np.broadcast_to(LAND, states.shape))
    marked = xr.open_zarr(filled.path, consolidated=False)["filled"][:, 2].values
    assert np.array_equal(marked, np.isnan(ice) & ~LAND)
    want = moments(states[: 48 // every], ~LAND)[0]
    assert filled.statistics.mean[2] == pytest.approx(want, rel=1e-9)


def test_a_mask_that_differs_between_shards_alone(tmp_path, many_shards):
    """In each shard it stands still, so that only all of them together tell."""
    values = sst()
    values[:24, 7] = np.nan
    values[72:, 7] = np.nan
    dataset = sea_dataset(values=values)
    words = "variable sst", "missing or not finite beside those that are masked in every time"
    refused(lambda: make_sea_store(tmp_path / "s", dataset), *words)
    held = make_sea_store(tmp_path / "s", dataset, nan_allowance=0.2, restart=True)
    assert np.array_equal(held.mask[2], LAND)
    assert np.isfinite(held.read(0, 80)[:, 2][:, ~LAND]).all()


def test_a_first_time_without_any_value_is_no_mask(tmp_path):
    values = warm(TIMES, 1)
    values[0] = np.nan
    refused(lambda: make_sea_store(tmp_path / "s", sea_dataset(values=values)), "variable sst")
    held = make_sea_store(
        tmp_path / "s", sea_dataset(values=values), nan_allowance=0.1, restart=True
    )
    assert held.mask is None


def test_a_channel_without_any_value_is_refused(tmp_path):
    nothing = np.full_like(warm(TIMES, 1), np.nan)
    refused(
        lambda: make_sea_store(tmp_path / "s", sea_dataset(values=nothing)),
        "variable sst: all its values", "leave out the variable",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["t2m", "z850", "u_500"])
def test_channels_of_the_atmosphere_must_be_whole(tmp_path, name):
    dataset = sea_dataset(name=name)
    words = (
        f"variable {name}: 19 % of the points are missing at all times", "cdo setmisstonn",
        f"leave {name} out of variables=",
    )  # fmt: skip
    for allowance in (0.0, 0.5):
        refused(
            lambda a=allowance: make_sea_store(
                tmp_path / "s", dataset, nan_allowance=a, restart=True
            ),
            *words,
        )
    make_sea_store(tmp_path / "s", dataset[["u10", "v10"]], restart=True)
    dataset[name] = dataset[name].fillna(280.0)
    assert make_sea_store(tmp_path / "whole", dataset).mask is None


@pytest.mark.parametrize("sizes", [{}, BIG])
def test_single_gaps_of_the_atmosphere_are_filled_as_far_as_allowed(tmp_path, monkeypatch, sizes):
    """The same point at both ends, which one time of a large map cannot tell from a mask."""
    for name, value in sizes.items():
        monkeypatch.setattr(f"climate.store.layout.{name}", value)
    times = TIMES[::8]
    values = warm(times, 1)
    values[[0, -1], 3, 4] = np.nan
    held = make_sea_store(tmp_path / "s", sea_dataset(times, values, "t2m"), nan_allowance=0.01)
    states = held.read(0, len(times))[:, 2]
    assert held.mask is None and np.isfinite(states).all()
    assert np.array_equal(states[1:-1], values[1:-1])
    filled = xr.open_zarr(held.path, consolidated=False)["filled"].values
    assert np.array_equal(filled[:, 2], np.isnan(values)) and not filled[:, :2].any()


# --- appended, mended, cut, averaged --------------------------------------------------------------


def add(path, values, times):
    append(sea_dataset(times, values), path, LATER, source={}, scheduler="synchronous")


def test_what_is_appended_must_have_the_mask(tmp_path, many_shards):
    times = hours("2016-01-01", 100, 6)
    held = make_sea_store(tmp_path / "s")
    melted = sst(times)
    melted[90, 3, 4] = 281.0
    refused(
        lambda: add(held.path, melted, times),
        "variable sst: has values at 2016-01-23T12:00:00 on 1 points that are masked",
        "convert all of it anew",
    )
    gap = sst(times)
    gap[90, 7] = np.nan
    append_again = {"restart": True, "source": {}, "scheduler": "synchronous"}
    refused(
        lambda: append(sea_dataset(times, gap), held.path, LATER, **append_again),
        "missing or not finite beside", "nan_allowance is 0",
    )  # fmt: skip
    append(sea_dataset(times), held.path, LATER, **append_again)
    longer = open_store(held.path)
    assert len(longer.times) == 100 and np.array_equal(longer.mask, held.mask)
    assert np.array_equal(longer.read(70, 100)[:, 2], sst(times)[70:], equal_nan=True)
    assert not list(find_damaged_shards(held.path))


def test_a_store_without_a_mask_gets_none_by_appending(tmp_path):
    times = hours("2016-01-01", 100, 6)
    held = make_sea_store(tmp_path / "s", sea_dataset(values=warm(TIMES, 1)))
    refused(lambda: add(held.path, sst(times), times), "variable sst: 18.75% of its values")


@pytest.mark.parametrize(
    "files", [("mask/c/0/0/0",), ("state/c/0/0/0/0", "mask/zarr.json"), ("mean_map/c/0/0/0",)]
)
def test_damage_is_mended(sea, tmp_path, files):
    path = make_sea_store(tmp_path / "s").path
    for name in files:
        (path / name).write_bytes(b"x")
    assert sorted(repair(path, sea_dataset(), {})) == sorted(files)
    assert contents(path) == contents(sea.path)


def test_it_is_staged(sea, tmp_path):
    assert np.array_equal(open_store(stage(str(sea.path), tmp_path / "near")).mask, sea.mask)


def test_a_box_is_cut_with_its_mask(sea):
    box = crop(sea, Region("box", -40, 40, 0, 180, halo=1))
    assert box.mask.shape == (3, len(box.lat), len(box.lon))
    assert np.array_equal(np.isnan(box.read(5, 6)[0]), box.mask)
    assert crop(sea, Region("sea", -40, 40, 225, 315, halo=0)).mask is None
    refused(
        lambda: crop(sea, Region("land", -40, 40, 70, 180, halo=1)),
        "region=land: sst is masked on all of its points",
    )


def test_monthly_means_have_it(tmp_path):
    times = hours("2015-01-01", 365, 24)
    year = np.sin(2 * np.pi * np.arange(len(times)) / 365.25)[:, None, None]
    values = (sst(times) + 7 * year).astype(np.float32)
    dataset = sea_dataset(times, values)
    dataset["u10"], dataset["v10"] = dataset["u10"] + 7 * year, dataset["v10"] - 7 * year
    splits = {
        "train": ["2015-01", "2015-06"], "val": ["2015-07", "2015-09"],
        "test": ["2015-10", "2015-12"],
    }  # fmt: skip
    convert(dataset.astype(np.float32), tmp_path / "s", splits, source={})
    monthly = open_monthly(open_store(tmp_path / "s"))
    assert np.array_equal(monthly.mask[2], LAND) and not monthly.mask[:2].any()
    assert np.array_equal(np.isnan(monthly.read(0, 3)[:, 2]), np.stack([LAND] * 3))


# --- files and archives ---------------------------------------------------------------------------


@pytest.mark.parametrize("allowance", [0.0, 0.35])
def test_sea_only(case, tmp_path, allowance):
    told = [
        "store=s", "source=cf_files", f"source.root={case('sea_only')}",
        "variables=[t2m,u10,v10,sst]", "+source.fields.sst={name: sst}",
    ]  # fmt: skip
    dataset, about = open_source(compose_config("convert_era5", told))
    convert(dataset, tmp_path / "s", CASE_SPLITS, source=about, nan_allowance=allowance)
    held = open_store(tmp_path / "s")
    assert mask_lines(held.channels, held.mask) == [
        "sst: 28 % of the points are masked, as in every time"
    ]
    numbers = held.statistics
    assert (numbers.mean[0], numbers.std[0]) == pytest.approx((281.987, 15.1527), abs=5e-4)
    assert (numbers.mean[3], numbers.std[3]) == pytest.approx((280.87, 14.62), abs=5e-3)


FIELDS = {"swvl1": {"name": "volumetric_soil_water"}}


def soil(path, lost=()):
    """Soil moisture in tiles: zarr-python does not write those that lie wholly in the sea."""
    times = hours("2016-01-01", 80, 6)
    values = np.float32(0.3) + np.float32(0.02) * waves(times, 0)
    values[:, :, :8] = np.nan  # the sea: whole tiles
    values[:, 5, 9] = np.nan  # and a lake in a tile of land
    content = xr.Dataset(
        {"volumetric_soil_water": (("time", "latitude", "longitude"), values, {"units": "m3 m-3"})},
        {"time": times, "latitude": LAT, "longitude": LON},
    )
    chunks = {"volumetric_soil_water": {"chunks": (20, 4, 8), "fill_value": np.nan}}
    root = write_zarr(content, path, encoding=chunks, zarr_format=3)
    for name in lost:
        (path / "volumetric_soil_water" / "c" / name).unlink()
    return root, values


def test_absent_chunks_of_the_sea_are_a_mask(tmp_path, caplog):
    root, values = soil(tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr/volumetric_soil_water/c/0/0/0").exists()
    assert (tmp_path / "a.zarr/volumetric_soil_water/c/3/1/1").exists()
    source = zarr_source(root, ("swvl1",), fields=FIELDS, static={})
    with caplog.at_level(logging.WARNING):
        convert(source.open(), tmp_path / "s", SPLITS, source={}, scheduler="synchronous")
    held = open_store(tmp_path / "s")
    sea = np.isnan(values[0])
    assert np.array_equal(held.mask[0], sea)
    assert np.array_equal(held.read(0, 80)[:, 0], values, equal_nan=True)
    assert held.statistics.mean[0] == pytest.approx(moments(values[:48], ~sea)[0], rel=1e-6)


@pytest.mark.parametrize(("chunk", "first"), [("2/1/1", "2016-01-11"), ("1/0/1", "2016-01-06")])
def test_absent_chunks_of_land_are_lost(tmp_path, chunk, first):
    root, _ = soil(tmp_path / "a.zarr", lost=(chunk,))
    dataset = zarr_source(root, ("swvl1",), fields=FIELDS, static={}).open()
    refused(
        dataset["swvl1"].load, f"chunk volumetric_soil_water/c/{chunk}", first,
        "++source.fields.swvl1.absent=fill",
    )  # fmt: skip


def test_of_the_atmosphere_no_absent_chunk_is_a_mask(tmp_path):
    root, _ = soil(tmp_path / "a.zarr")
    fields = {"t2m": {"name": "volumetric_soil_water", "units": "K"}}
    dataset = zarr_source(root, ("t2m",), fields=fields, static={}).open()
    refused(dataset["t2m"].load, "chunk volumetric_soil_water/c/0/0/0", "is absent")
