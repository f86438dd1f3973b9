"""Zarr stores: absent chunks, written zeros, fills of version 2, stale consolidated metadata."""

import collections
import logging
from pathlib import Path

import builders
import numpy as np
import pytest
import zarr
from archives import archive, write_zarr, zarr_source
from builders import hours
from entry import compose_config
from refusals import refused

from climate.sources.opening import open_source
from climate.sources.select import parse_selection

TIMES = hours("2016-01-01", 48)
CHUNKS = {"2m_temperature": {"chunks": (12, 16, 8)}, "geopotential": {"chunks": (12, 1, 16, 8)}}
FIELDS = {"t2m": {"name": "2m_temperature"}}


def from_case(root, *options):
    told = [
        "store=s", "source=weatherbench2", f"source.root={root}/all.zarr",
        "variables=[t2m,u10,v10]", *options,
    ]  # fmt: skip
    return open_source(compose_config("convert_era5", told))[0]


def test_lost_chunks_v3(case):
    root = case("lost_chunks_v3")
    dataset = from_case(root)
    assert dataset["t2m"][:20].load().sizes["time"] == 20
    refused(
        dataset["t2m"].load, "all.zarr: 2m_temperature", "chunk 2m_temperature/c/1/0/0",
        "2010-01-06T00:00 … 2010-01-10T18:00", "would read as 0.0",
        "++source.fields.t2m.absent=fill",
    )  # fmt: skip
    assert dataset["u10"].load().sizes["time"] == 240


def test_lost_chunks_v2_are_refused_too(case):
    dataset = from_case(case("lost_chunks_v2"))
    refused(dataset["u10"].load, "10m_u_component_of_wind/6.0.0", "would read as nan", "absent")


@pytest.mark.parametrize("version", [2, 3])
def test_absent_chunks_that_mean_the_fill_value(tmp_path, version):
    content, missing = archive(TIMES), {"fill_value": np.nan} if version == 3 else {}
    encoding = CHUNKS | {"2m_temperature": CHUNKS["2m_temperature"] | missing}
    root = write_zarr(content, tmp_path / "a.zarr", encoding=encoding, zarr_format=version)
    array = zarr.open_group(root, mode="r+", use_consolidated=False)["2m_temperature"]
    name = "c/2/0/0" if version == 3 else "2.0.0"
    (tmp_path / "a.zarr" / "2m_temperature" / name).unlink()
    words = f"2m_temperature/{name}", "2016-01-02T00:00 … 2016-01-02T11:00", f"{array.fill_value}"
    refused(zarr_source(root, ("t2m",)).open()["t2m"].load, *words, "t2m.absent=fill")
    first_day = parse_selection(["2016-01-01", "2016-01-01"], None, None, 0, None)
    assert zarr_source(root, ("t2m",)).open(first_day)["t2m"].load().sizes["time"] == 24
    fields = {"t2m": {"name": "2m_temperature", "absent": "fill"}}
    values = zarr_source(root, ("t2m",), fields=fields).open()["t2m"].values
    assert np.isnan(values[24:36]).all() and np.isfinite(values[36:]).all()
    fields = {"t2m": {"name": "2m_temperature", "absent": "zero"}}
    refused(zarr_source(root, ("t2m",), fields=fields).open, "t2m.absent=zero", "want fill")


def test_calm_that_zarr_did_not_write(tmp_path):
    root = write_zarr(archive(TIMES), tmp_path / "a.zarr", encoding=CHUNKS)
    group = zarr.open_group(root, mode="r+", use_consolidated=False)
    values = builders.waves(TIMES, 0).swapaxes(1, 2).copy()
    values[12:24] = 0.0
    array = group.create_array(
        "u", shape=values.shape, dtype="f4", chunks=(12, 16, 8), attributes={"units": "m s-1"},
        dimension_names=("time", "longitude", "latitude"),
    )  # fmt: skip
    array[...] = values
    zarr.consolidate_metadata(root)
    fields = {"u10": {"name": "u"}}
    refused(zarr_source(root, ("u10",), fields=fields).open()["u10"].load, "u/c/1/0/0", "0.0")
    fields = {"u10": {"name": "u", "absent": "fill"}}
    found = zarr_source(root, ("u10",), fields=fields).open()["u10"].values
    assert np.array_equal(found, values.swapaxes(1, 2))


def with_axis(root, name, chunk, version, units=None):
    """A store one of whose coordinates has chunks of its own, of fill value 0, by zarr-python."""
    content = archive(TIMES)
    content["time"].encoding = {"units": units or "hours since 1900-01-01", "dtype": "int64"}
    write_zarr(content, root, zarr_format=version, consolidated=False)
    group = zarr.open_group(root, mode="r+", use_consolidated=False)
    values, about = group[name][...], dict(group[name].attrs)
    del group[name]
    named = {"dimension_names": [name]} if version == 3 else {}
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=(chunk,),
                               attributes=about, fill_value=0, **named)  # fmt: skip
    array[...] = values
    return root / name / ("c" if version == 3 else ".")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("name", "chunk", "lost", "read"),
    [
        ("time", 1, 20, "1900-01-01"),
        ("time", 1, 0, "1900-01-01"),
        ("time", 10, 2, "1900-01-01"),
        ("time", 48, 0, "1900-01-01"),
        ("latitude", 8, 0, "0.0"),
        ("longitude", 4, 3, "0.0"),
        ("level", 1, 1, "0"),
    ],
)
def test_a_lost_chunk_of_an_axis_is_named(tmp_path, version, name, chunk, lost, read):
    place = with_axis(tmp_path / "a.zarr", name, chunk, version)
    zarr_source(tmp_path / "a.zarr").open()
    (place / str(lost)).unlink()
    key = f"{name}/c/{lost}" if version == 3 else f"{name}/{lost}"
    words = f"a.zarr: {name}: its chunk {key} is absent and would read as {read};"
    refused(zarr_source(tmp_path / "a.zarr").open, words, "fetch it again")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["time", "longitude"])
def test_a_first_coordinate_of_zero_need_not_be_written(tmp_path, version, name):
    place = with_axis(tmp_path / "a.zarr", name, 1, version, "hours since 2016-01-01")
    assert not (place / "0").exists() and (place / "1").exists()
    dataset = zarr_source(tmp_path / "a.zarr").open()
    assert dataset["time"][0] == TIMES[0] and dataset["lon"][0] == 0.0


def test_no_request_but_those_of_reading(tmp_path, monkeypatch):
    root = write_zarr(archive(TIMES), tmp_path / "a.zarr", encoding=CHUNKS)
    dataset = zarr_source(root).open()
    asked = collections.Counter()
    get = zarr.storage.LocalStore.get

    async def counted(self, key, *args, **options):
        asked[key] += 1
        return await get(self, key, *args, **options)

    def never(*_):
        raise AssertionError("listed")

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    for name in ("list", "list_dir", "list_prefix", "exists"):
        monkeypatch.setattr(zarr.storage.LocalStore, name, never)
    dataset[["z", "t2m"]].load()
    assert len(asked) == 4 + 4 * 2 and set(asked.values()) == {1}


def test_zeros_are_values_v2(case):
    root = case("zeros_are_values_v2")
    dataset = from_case(root)
    assert set(np.unique(dataset["lsm"].values)) == {0.0, 1.0}
    u = dataset["u10"].values
    assert np.isfinite(u).all() and (u == 0).any()


@pytest.mark.parametrize(
    ("fill", "packing"),
    [
        (-9999.0, {}),
        (1e20, {}),
        (-32768, {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0}),
    ],
)
def test_fills_of_version_2_that_are_no_values_are_missing(tmp_path, fill, packing):
    content = archive(TIMES)
    content["2m_temperature"][5, 3] = np.nan
    coding = {"2m_temperature": {"_FillValue": fill, **packing}}
    root = write_zarr(content, tmp_path / "a.zarr", encoding=coding, zarr_format=2)
    values = zarr_source(root, ("t2m",)).open()["t2m"].values
    assert np.isnan(values[5, :, 3]).all() and np.isnan(values).sum() == 8
    assert np.nanmax(np.abs(values - builders.warm(TIMES, 3))) < 0.006


def test_stale_consolidated(case, caplog):
    with caplog.at_level(logging.WARNING):
        dataset = from_case(case("stale_consolidated"))
    assert dataset.sizes["time"] == 240
    assert "consolidated metadata are older" in caplog.text
    assert np.isfinite(dataset["t2m"].values).all()


def test_stale_consolidated_of_version_3(tmp_path, caplog):
    place = tmp_path / "a.zarr"
    write_zarr(archive(TIMES[:24]), place, consolidated=True)
    kept = (place / "zarr.json").read_bytes()
    archive(TIMES[24:])[["geopotential", "2m_temperature"]].to_zarr(
        str(place), append_dim="time", consolidated=False
    )
    (place / "zarr.json").write_bytes(kept)
    dataset = zarr_source(place).open()
    assert "older" in caplog.text and dataset.sizes["time"] == 48
    assert np.array_equal(dataset["z"].values, builders.waves(TIMES, 1))


def changed(root, version, change):
    """A store that is changed by ``change(group, content)`` without its consolidated metadata."""
    content = archive(TIMES)
    content["time"].encoding = {"units": "hours since 2016-01-01", "dtype": "int64"}
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}
    coding = {"2m_temperature": packing | {"chunks": (12, 16, 8)}}
    write_zarr(content, root, zarr_format=version, consolidated=True, encoding=coding)
    kept = root / (".zmetadata" if version == 2 else "zarr.json")
    told = kept.read_bytes()
    change(zarr.open_group(root, mode="r+", use_consolidated=False), content)
    kept.write_bytes(told)
    return zarr_source(root, ("t2m",)).open()


def relabel(group, _):
    group["time"].attrs["units"] = "hours since 2016-02-01"


def repack(group, content):
    array = group["2m_temperature"]
    array[...] = np.rint((content["2m_temperature"].values - 270.0) / 0.02).astype("i2")
    array.attrs.update({"scale_factor": 0.02, "add_offset": 270.0})


def retype(group, content):
    values, array = content["2m_temperature"].values, group["2m_temperature"]
    about = {k: v for k, v in array.attrs.items() if k not in ("scale_factor", "add_offset")}
    named = (
        {"dimension_names": content["2m_temperature"].dims}
        if group.metadata.zarr_format == 3
        else {}
    )
    del group["2m_temperature"]
    made = group.create_array("2m_temperature", shape=values.shape, dtype="f4", chunks=(6, 16, 8),
                              fill_value=np.nan, attributes=about | {"_FillValue": "AAAAAAAA+H8="},
                              **named)  # fmt: skip
    made[...] = values


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("change", "words", "start"),
    [
        (relabel, 'time: its units is "hours since 2016-01-01" there', "2016-02-01"),
        (repack, "2m_temperature: its add_offset is 280.0 there, 270.0 stored", "2016-01-01"),
        (retype, "2m_temperature: ", "2016-01-01"),
    ],
)
def test_whatever_has_changed_since_consolidation_is_seen(
    tmp_path, caplog, version, change, words, start
):
    dataset = changed(tmp_path / "a.zarr", version, change)
    assert "consolidated metadata are older" in caplog.text and words in caplog.text
    assert dataset["time"][0] == np.datetime64(start)
    assert np.abs(dataset["t2m"].values - builders.warm(TIMES, 3)).max() < 0.011


@pytest.mark.parametrize("version", [2, 3])
def test_a_variable_added_after_consolidation_is_found(tmp_path, caplog, version):
    root, content = tmp_path / "a.zarr", archive(TIMES)
    write_zarr(content[["geopotential"]], root, zarr_format=version, consolidated=True)
    kept = root / (".zmetadata" if version == 2 else "zarr.json")
    told = kept.read_bytes()
    assert "2m_temperature" not in told.decode()
    content[["2m_temperature"]].to_zarr(
        str(root), mode="a", zarr_format=version, consolidated=False
    )
    kept.write_bytes(told)
    dataset = zarr_source(root).open()
    assert "2m_temperature is not in them" in caplog.text
    assert np.array_equal(dataset["t2m"].values, builders.warm(TIMES, 3))


@pytest.mark.parametrize("version", [2, 3])
def test_consolidated_metadata_that_are_right_are_used(tmp_path, caplog, version):
    content = archive(TIMES)
    content["2m_temperature"].attrs["odd"] = 8421.5  # then NaN, which not every Zarr writes
    root = write_zarr(content, tmp_path / "a.zarr", zarr_format=version, consolidated=True)
    for document in [*Path(root).rglob("zarr.json"), *Path(root).rglob(".z*")]:
        document.write_text(document.read_text().replace("8421.5", "NaN"))
    refused(zarr_source(root, ("q",), fields={"q": {"name": "q"}}).open, "no variable q there")
    zarr_source(root).open()
    assert not caplog.text
