"""Zarr stores of others: any order and direction of axes, levels, packing, URLs; the refusals."""

import collections
import pickle

import builders
import numpy as np
import pytest
import zarr
from archives import archive, write_zarr, zarr_source
from builders import LAT, LON, hours

from climate.sources import series
from climate.sources.select import Selection, parse_selection
from climate.sources.series import SeriesArray
from vgbdm.errors import InputError

TIMES = hours("2016-01-01", 48)
HELD = {"z": (builders.waves, 1), "z8": (builders.waves, 2), "t2m": (builders.warm, 3)}


def check(dataset):
    for name, (make, k) in HELD.items():
        assert dataset[name].dims == ("time", "lat", "lon")
        assert dataset[name].dtype == np.float32
        assert np.array_equal(dataset[name].values, make(TIMES, k))
    assert np.array_equal(dataset["lat"], LAT)
    assert np.array_equal(dataset["lon"], LON)
    assert set(np.unique(dataset["orography"].values).round(3)) == {0.0, 900.0}
    assert dataset["orography"].attrs["units"] == "m"
    assert np.array_equal(dataset["lsm"].values * 900, dataset["orography"].values.round(3))


@pytest.fixture
def plain():
    return archive(TIMES)


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_as_weatherbench_2_has_it(tmp_path, plain, version):
    dataset = zarr_source(write_zarr(plain, tmp_path / "a.zarr", zarr_format=version)).open()
    assert list(dataset.data_vars)[:3] == ["z", "z8", "t2m"]
    assert not dataset["z"].variable._in_memory
    assert dataset.attrs["title"] == "waves"
    check(dataset)


def test_a_lazy_dataset_can_be_sent_to_other_processes(tmp_path, plain):
    dataset = zarr_source(write_zarr(plain, tmp_path / "a.zarr")).open()
    check(pickle.loads(pickle.dumps(dataset)))


def test_other_orders_directions_and_longitudes(tmp_path, plain):
    lon = np.where(LON >= 180, LON - 360, LON)
    turned = (
        plain.assign_coords(longitude=lon).sortby("longitude").isel(latitude=slice(None, None, -1))
    )
    turned = turned.transpose("latitude", "level", "time", "longitude", missing_dims="ignore")
    check(zarr_source(write_zarr(turned, tmp_path / "a.zarr")).open())


def test_a_memory_url(plain):
    check(zarr_source(write_zarr(plain, "memory://test_zarr_store/a.zarr")).open())


def test_packed_integers_are_decoded(tmp_path, plain):
    field = plain["geopotential"]
    plain["geopotential"] = ((field * 4).round() / 4).assign_attrs(field.attrs)
    packing = {"dtype": "int16", "scale_factor": 0.25, "add_offset": 8.0, "_FillValue": -32768}
    root = write_zarr(plain, tmp_path / "a.zarr", encoding={"geopotential": packing})
    assert zarr.open_group(root)["geopotential"].dtype == np.int16
    dataset = zarr_source(root).open()
    want = plain["geopotential"].sel(level=500).transpose("time", "latitude", "longitude")
    assert np.array_equal(dataset["z"].values, want.values)
    assert set(dataset["z"].encoding) == {"file_at", "beside"}  # no packing


def test_times_without_data_and_static_fields_with_times(tmp_path, plain):
    """As in ARCO-ERA5: the axis is longer than the data, and the ground has a time axis."""
    where = (plain["time"] >= TIMES[24]) & (plain["time"] < TIMES[44])
    content = plain.where(where)
    content.attrs = {"valid_time_start": "2016-01-02", "valid_time_stop": "2016-01-02T19"}
    dataset = zarr_source(write_zarr(content, tmp_path / "a.zarr")).open()
    assert np.array_equal(dataset["time"], TIMES[24:44])
    assert np.array_equal(dataset["z"].values, builders.waves(TIMES, 1)[24:44])
    assert dataset["orography"].dims == ("lat", "lon")
    with pytest.raises(InputError, match="no time there, only 2016-01-02 "):
        zarr_source(tmp_path / "a.zarr").open(
            parse_selection(["2016-01-01", "2016-01-01"], None, None, 0, None)
        )


def test_a_stored_chunk_of_many_levels_is_read_once_per_block(tmp_path, plain, monkeypatch):
    chunks = {"geopotential": {"chunks": (6, 3, 16, 8)}, "2m_temperature": {"chunks": (6, 16, 8)}}
    root = write_zarr(plain, tmp_path / "a.zarr", encoding=chunks)
    dataset = zarr_source(root).open()
    reads = collections.Counter()
    get = zarr.storage.LocalStore.get

    async def counted(self, key, *args, **options):
        reads[key] += 1
        return await get(self, key, *args, **options)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    # arrays of other tests may still be there: they wait for the collector, as of a refusal's trace
    monkeypatch.setattr(series, "_kept", series._PerThread())
    block = dataset[["z", "t2m", "z8"]].isel(time=slice(24, 48)).load()
    assert np.array_equal(block["z8"].values, builders.waves(TIMES[24:], 2))
    assert not series._kept.levels
    data = {k: n for k, n in reads.items() if "/c/" in k or k[-1].isdigit()}
    assert len(data) == 8
    assert set(data.values()) == {1}


def test_a_block_is_read_in_pieces_of_few_chunks(tmp_path, plain, monkeypatch):
    chunks = {"geopotential": {"chunks": (6, 3, 16, 8)}}
    root = write_zarr(plain, tmp_path / "a.zarr", encoding=chunks)
    monkeypatch.setattr("climate.sources.series.PIECE_BYTES", 2 * 6 * 3 * 16 * 8 * 4)
    pieces = []
    read = SeriesArray.read
    monkeypatch.setattr(
        SeriesArray,
        "read",
        lambda self, part, at: pieces.append((at[0], at[-1])) or read(self, part, at),
    )
    values = zarr_source(root, ("z",)).open()["z"].isel(time=slice(3, 41)).values
    assert pieces == [(3, 11), (12, 23), (24, 35), (36, 40)]
    assert np.array_equal(values, builders.waves(TIMES, 1)[3:41])


def test_any_index_is_that_of_numpy(tmp_path, plain):
    dataset = zarr_source(write_zarr(plain, tmp_path / "a.zarr")).open()
    for name in ("z", "t2m", "z8"):
        make, k = HELD[name]
        want = make(TIMES, k)
        assert np.array_equal(dataset[name][5], want[5])
        assert np.array_equal(dataset[name][[7, 3, 40], 2], want[[7, 3, 40], 2])
        assert np.array_equal(dataset[name][40:3:-5, ::-1, 3:9], want[40:3:-5, ::-1, 3:9])
        assert np.array_equal(dataset[name][1:1].shape, (0, 8, 16))


def refused(source, *words, selection=None):
    with pytest.raises(InputError) as caught:
        source.open(selection)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_what_is_not_there(tmp_path, plain):
    refused(zarr_source(tmp_path / "none.zarr"), "none.zarr", "source.root")
    refused(zarr_source("memory://test_zarr_store/none"), "not a Zarr store")
    root = write_zarr(plain, tmp_path / "a.zarr")
    fields = {
        "w": {"name": "vertical_velocity", "level": 500},
        "z": {"name": "geopotential", "level": 700},
        "zz": {"name": "geopotential"},
        "t2m": {"name": "2m_temperature", "level": 1000},
    }
    refused(zarr_source(root, ("q",), fields=fields), "variable q is unknown", "+source.fields.q=")
    refused(
        zarr_source(root, ("w",), fields=fields), "no variable vertical_velocity", "geopotential"
    )
    refused(zarr_source(root, ("z",), fields=fields), "levels 300, 500, 850, not 700")
    refused(zarr_source(root, ("zz",), fields=fields), "levels 300, 500, 850; give one")
    refused(zarr_source(root, ("t2m",), fields=fields), "2m_temperature has no levels")


@pytest.mark.parametrize("url", ["gs://bucket/a.zarr", "s3://bucket/a.zarr"])
def test_a_url_without_its_package(url, monkeypatch):
    import fsspec

    def missing(protocol):
        raise ImportError("Please install the package")

    monkeypatch.setattr(fsspec.core, "get_filesystem_class", missing)
    refused(zarr_source(url), url, "pip install 'vgbdm[cloud]'")


def test_an_unknown_kind_of_url():
    refused(zarr_source("foo://bucket/a.zarr"), "Protocol not known")


def test_a_gaussian_grid(tmp_path):
    lat = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(8)[0]))
    root = write_zarr(archive(TIMES, lat), tmp_path / "a.zarr")
    refused(zarr_source(root), "a Gaussian grid of 8 latitudes; give regrid=8x16")


def test_uneven_latitudes(tmp_path):
    lat = LAT + np.where(LAT > 60, 3.0, 0)
    refused(
        zarr_source(write_zarr(archive(TIMES, lat), tmp_path / "a.zarr")),
        "irregular",
        "regrid=8x16",
    )


def test_curvilinear_and_unstructured_grids(tmp_path, plain):
    lat, lon = np.meshgrid(LAT, LON)
    curved = plain.rename(longitude="x", latitude="y").drop_vars(["x", "y"])
    curved = curved.assign_coords(lat=(("x", "y"), lat), lon=(("x", "y"), lon))
    refused(zarr_source(write_zarr(curved, tmp_path / "a.zarr")), "curvilinear", "regrid")
    flat = plain.drop_vars(["longitude", "latitude"]).stack(cell=("longitude", "latitude"))
    flat = flat.drop_vars(["cell", "longitude", "latitude"], errors="ignore")
    flat = flat.assign_coords(lat=("cell", lat.ravel()), lon=("cell", lon.ravel()))
    refused(zarr_source(write_zarr(flat, tmp_path / "b.zarr")), "unstructured", "regrid")
    none = plain.drop_vars(["longitude", "latitude"])
    refused(zarr_source(write_zarr(none, tmp_path / "c.zarr")), "dimension latitude has no numbers")


def test_a_cyclic_column_and_another_dimension(tmp_path, plain):
    again = plain.isel(longitude=[*range(16), 0]).assign_coords(longitude=[*LON, 360.0])
    refused(zarr_source(write_zarr(again, tmp_path / "a.zarr")), "longitude 0 comes twice")
    members = plain.expand_dims(number=2)
    refused(zarr_source(write_zarr(members, tmp_path / "b.zarr")), "2 of number")


def test_a_broken_chunk_is_one_line(tmp_path, plain):
    root = tmp_path / "a.zarr"
    write_zarr(plain, root, zarr_format=3, encoding={"2m_temperature": {"chunks": (48, 16, 8)}})
    (root / "2m_temperature/c/0/0/0").write_bytes(b"nonsense")
    dataset = zarr_source(root, ("t2m",)).open(Selection())
    with pytest.raises(InputError, match="2m_temperature cannot be read"):
        dataset["t2m"].load()


@pytest.mark.parametrize("version", [2, 3])
def test_groups_are_named_and_can_be_given(tmp_path, version):
    for name in ("surface", "ground"):
        archive(TIMES[:4]).to_zarr(tmp_path / "a.zarr", group=name, zarr_format=version)
    with pytest.raises(InputError) as caught:
        zarr_source(f"{tmp_path}/a.zarr/").open()
    said = str(caught.value)
    assert "holds its variables in the groups ground, surface; give one of them" in said
    root = said.partition("source.root=")[2]
    assert root == f"{tmp_path}/a.zarr/ground"
    assert np.array_equal(zarr_source(root).open()["time"], TIMES[:4])
