"""Period, step, box and another grid against exact answers."""

import builders
import numpy as np
import pytest
import xarray as xr
from archives import FIELDS, archive, write_zarr, zarr_source
from builders import FINE_LAT, FINE_LON, hours
from refusals import refused

from climate.conversion.append import append
from climate.conversion.convert import convert
from climate.conversion.verify import describe_store, repair, verify_store
from climate.grids.cells import column_edges, row_edges
from climate.grids.named import parse_grid
from climate.grids.regions import parse_region
from climate.grids.regridding import Regridding, regridding
from climate.sources.select import parse_selection
from climate.sources.series import SeriesArray
from climate.store.crop import crop
from climate.store.layout import open_store
from climate.stream.views import open_view
from vgbdm.errors import InputError

TIMES = hours("2016-01-01", 96)
SPLITS = {
    "train": ["2016-01-01", "2016-01-02"],
    "val": ["2016-01-03", "2016-01-03"],
    "test": ["2016-01-04", "2016-01-04"],
}
BOX = [-40, 40, 330, 60]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("select") / "a.zarr"
    return write_zarr(archive(TIMES, FINE_LAT, FINE_LON), place)


def select(period=None, step=None, region=None, halo=2, regrid=None):
    return parse_selection(period, step, region, halo, regrid)


def wave(times, k=1):
    return builders.waves(times, k, FINE_LAT, FINE_LON)


def test_only_the_period_and_the_step_are_read(root, monkeypatch):
    read, asked = SeriesArray.read, []
    monkeypatch.setattr(
        SeriesArray, "read", lambda self, part, at: asked.extend(at) or read(self, part, at)
    )
    dataset = zarr_source(root, ("z",)).open(select(["2016-01-02T03", "2016-01-03"], "6h"))
    want = hours("2016-01-02T06", 7, 6)
    assert np.array_equal(dataset["time"], want)
    assert not asked
    assert np.array_equal(dataset["z"].values, wave(want))
    assert asked == list(range(30, 67, 6))


def test_steps_and_periods_that_cannot_be(root):
    for selection, words in (
        (select(step="1mo"), "task=monthly"),
        (select(["2017", "2018"]), "has no time there, only 2016-01-01 "),
    ):
        with pytest.raises(InputError, match=words):
            zarr_source(root).open(selection)
    with pytest.raises(InputError, match=r"^period="):
        select(["2017", "2016"])
    with pytest.raises(InputError, match=r"^step=6"):
        select(step="6")
    with pytest.raises(InputError, match=r"^regrid=7: want degrees"):
        select(regrid=7)
    with pytest.raises(InputError, match=r"a\.zarr: regrid=24x32: 7\.5° × 11\.25° are finer"):
        zarr_source(root).open(select(regrid="24x32"))


def test_a_step_that_hits_no_time(tmp_path):
    times = hours("2016-01-01T03", 12, 6)
    place = write_zarr(archive(times), tmp_path / "a.zarr")
    with pytest.raises(InputError, match="not a multiple of the source's step"):
        zarr_source(place).open(select(step="4h"))
    with pytest.raises(InputError, match="no time at whole steps from midnight UTC"):
        zarr_source(place).open(select(step="12h"))


def means(name):
    """From the fine grid to another one."""
    return regridding(row_edges(FINE_LAT), column_edges(FINE_LON), parse_grid(name), "x")


def test_a_source_is_regridded_with_its_ground(root):
    dataset = zarr_source(root).open(select(regrid="9x16"))
    make = means("9x16")
    assert np.array_equal(dataset["lat"], parse_grid("9x16").lat)
    assert np.array_equal(dataset["z"].values, make(wave(TIMES)))
    land = zarr_source(root).open()["lsm"].values
    assert np.array_equal(dataset["lsm"].values, make(land))
    assert dataset.attrs["regridding"].startswith("first-order conservative to 9 × 16 latitudes")
    assert "regridding" not in zarr_source(root).open().attrs


def test_a_source_from_north_to_south_and_from_180_is_regridded_alike(root, tmp_path):
    stored = archive(TIMES, FINE_LAT, FINE_LON)
    turned = stored.isel(latitude=slice(None, None, -1)).roll(longitude=15)
    turned = turned.assign_coords(longitude=(np.roll(FINE_LON, 15) + 180) % 360 - 180)
    other = zarr_source(write_zarr(turned, tmp_path / "b.zarr")).open(select(regrid="8x20"))
    want = zarr_source(root).open(select(regrid="8x20"))
    for name in ("z", "z8", "t2m", "lsm", "orography"):
        assert np.array_equal(other[name].values, want[name].values)


def test_all_of_a_store_is_on_the_other_grid_and_says_so(root, tmp_path):
    """Statistics and climatology are those of the regridded states."""
    selection = select(regrid=22.5)
    convert(zarr_source(root).open(selection), tmp_path / "s", SPLITS, source=selection.facts())
    store = open_store(tmp_path / "s")
    assert store.provenance["regridding"].startswith("first-order conservative to 8 × 16 ")
    with xr.open_zarr(tmp_path / "s", consolidated=False) as held:
        assert held.attrs["regridding"] == store.provenance["regridding"]
        mean_map = held["mean_map"].values[0]
    states = means("8x16")(wave(TIMES))
    assert np.array_equal(store.read(0, 96)[:, 0], states)
    weights = np.cos(np.deg2rad(store.lat))[:, None] + 0 * states[:48]
    mean = np.average(states[:48], weights=weights)
    assert store.statistics.mean[0] == pytest.approx(mean, rel=1e-5)
    assert f"regridded   {store.provenance['regridding']}" in describe_store(tmp_path / "s")
    assert mean_map == pytest.approx(states[:48].mean(0), abs=1e-4)


def test_damage_is_mended_by_the_same_regridding_and_by_no_other(root, tmp_path):
    source, right = zarr_source(root), select(regrid="8x16")
    convert(source.open(right), tmp_path / "s", SPLITS, source=right.facts())
    shard = tmp_path / "s/state/c/0/0/0/0"
    shard.write_bytes(shard.read_bytes()[::-1])
    for other in (select(), select(regrid="9x16")):
        refused(lambda other=other: repair(tmp_path / "s", source.open(other), {}), "source")
    assert repair(tmp_path / "s", source.open(right), {}) == ["state/c/0/0/0/0"]
    assert not verify_store(tmp_path / "s")


def test_later_times_are_appended_by_the_same_regridding_and_by_no_other(root, tmp_path):
    early = select(["2016-01-01", "2016-01-03"], regrid="8x16")
    source = zarr_source(root)
    convert(source.open(early), tmp_path / "s", SPLITS | {"val": ["2016-01-03T00", "2016-01-03T11"],
            "test": ["2016-01-03T12", "2016-01-03T23"]}, source={})  # fmt: skip
    refused(lambda: append(source.open(select()), tmp_path / "s", SPLITS, source={}), "latitudes")
    append(source.open(select(regrid=22.5)), tmp_path / "s", SPLITS, source={})
    assert np.array_equal(open_store(tmp_path / "s").read(0, 96)[:, 0], means("8x16")(wave(TIMES)))
    assert not verify_store(tmp_path / "s")


def test_a_grid_is_had_from_a_store(root, tmp_path):
    box = select(region=BOX, halo=4)
    for name, selection in (("coarse", select(regrid="8x16")), ("box", box)):
        convert(zarr_source(root).open(selection), tmp_path / name, SPLITS, source={})
    like = select(regrid={"like": tmp_path / "coarse"})
    dataset = zarr_source(root).open(like)
    assert np.array_equal(dataset["z"].values, means("8x16")(wave(TIMES)))
    boxed = zarr_source(root).open(select(regrid={"like": tmp_path / "box"}))
    want = zarr_source(root).open(box)
    assert np.allclose(boxed["lon"], want["lon"])
    assert np.allclose(boxed["z"].values, want["z"].values, rtol=1e-6)
    assert select(regrid={"like": None}).regrid is None
    refused(lambda: select(regrid={"like": tmp_path / "no"}), "regrid.like: ", "no")


def test_a_region_of_a_converted_region_is_that_of_the_globe(root, tmp_path):
    for name, selection in (("globe", select()), ("box", select(region=BOX, halo=4))):
        convert(zarr_source(root).open(selection), tmp_path / name, SPLITS,
                source=selection.facts())  # fmt: skip
    region = parse_region(BOX, 2)
    globe, box = (crop(open_store(tmp_path / name), region) for name in ("globe", "box"))
    assert open_store(tmp_path / "box").state.shape[-1] < 32
    assert np.array_equal(box.read(0, 96), globe.read(0, 96))
    assert np.allclose(box.lat, globe.lat) and np.allclose(box.lon, globe.lon)
    assert box.interior == globe.interior
    assert np.array_equal(box.static["lsm"], globe.static["lsm"])
    assert box.provenance["region_box"] == [-40, 40, 330, 60]
    with pytest.raises(InputError, match="take task=regional and a region inside it"):
        open_view(tmp_path / "box", np.timedelta64(3600, "s"))


def test_a_region_that_the_box_does_not_hold_is_refused():
    cut = parse_region(BOX, 2).cut(FINE_LAT, FINE_LON)
    lat, lon = FINE_LAT[cut.rows], cut.lon
    inner = parse_region(BOX, 0).cut(lat, lon)
    assert np.array_equal(inner.lon, cut.lon[cut.interior[1]])
    for box, halo in ((BOX, 3), ([-75, 40, 330, 60], 0), ([-40, 40, 290, 60], 0),
                      ([-40, 40, 330, 95], 0), ([-75, 75, 330, 60], 0)):  # fmt: skip
        with pytest.raises(InputError, match="is not inside the store"):
            parse_region(box, halo).cut(lat, lon)


def test_a_halo_that_ends_short_of_the_pole_does_so_in_a_box_too():
    region = parse_region([-10, 66, 330, 60], 4)
    globe = region.cut(FINE_LAT, FINE_LON)
    lat, lon = FINE_LAT[globe.rows], globe.lon
    box = region.cut(lat, lon)
    assert lat[-1] == FINE_LAT[-2]
    assert np.array_equal(lat[box.rows], lat) and np.array_equal(box.lon, lon)
    assert box.interior == globe.interior


def test_boxes_of_a_source_are_cut_from_the_regridded_globe(root, monkeypatch):
    """And only what they need of it is read."""
    box = [-60, 60, 300, 60]
    region = parse_region(box, 0)
    make = means("8x16")
    cut = region.cut(make.lat, make.lon)
    want = make(wave(TIMES))[:, cut.rows][..., cut.columns]
    seen = []
    monkeypatch.setattr(Regridding, "__call__", _noting(Regridding.__call__, seen))
    dataset = zarr_source(root).open(select(region=box, halo=0, regrid="8x16"))
    assert np.array_equal(dataset["z"].values, want)
    assert np.array_equal(dataset["lon"], cut.lon) and dataset["lon"][0] < 0
    assert {shape[-2:] for shape in seen} == {(12, 11)}


def test_what_is_regridded_is_read_in_smaller_pieces(tmp_path, monkeypatch):
    """Here of one stored chunk, eight times; how large they are is told."""
    seen = []
    monkeypatch.setattr(Regridding, "__call__", _noting(Regridding.__call__, seen))
    monkeypatch.setattr("climate.sources.series.REGRIDDED_BYTES", 1)
    chunks = {"geopotential": {"chunks": (8, 3, 32, 16)}}
    stored = archive(TIMES, FINE_LAT, FINE_LON)
    source = zarr_source(write_zarr(stored, tmp_path / "a.zarr", encoding=chunks), ("z",))
    dataset = source.open(select(regrid="8x16"))
    assert dataset["z"].encoding["beside"] == 4 * 8 * 3 * 32 * 16
    assert source.open()["z"].encoding["beside"] == 0
    seen.clear()
    values = dataset["z"].values
    assert {shape[0] for shape in seen} == {8}
    assert np.array_equal(values, means("8x16")(wave(TIMES)))


def _noting(call, seen):
    def noted(self, values):
        seen.append(values.shape)
        return call(self, values)

    return noted


def test_a_box_as_a_source_is_regridded_to_its_whole_cells_and_cut(tmp_path):
    lat, lon = np.arange(20.0, 71.0), np.arange(-30.0, 41.0)
    source = zarr_source(write_zarr(archive(TIMES[:48], lat, lon), tmp_path / "a.zarr"))
    whole = source.open(select(regrid=2.5))
    assert whole["lat"].values.tolist() == np.arange(22.5, 68.0, 2.5).tolist()
    assert whole["lon"].values.tolist() == np.arange(-27.5, 38.0, 2.5).tolist()
    cut = source.open(select(regrid=2.5, region=[35, 60, 350, 20], halo=2))
    assert cut["lon"].values.tolist() == np.arange(-15.0, 26.0, 2.5).tolist()
    part = whole["z"].sel(lat=cut["lat"], lon=cut["lon"])
    assert np.array_equal(cut["z"].values, part.values)
    refused(lambda: source.open(select(regrid=2.5, region=[35, 60, 350, 20], halo=9)), "not inside")


def test_a_mask_of_the_sea_is_had_by_halves_of_cells(tmp_path):
    """What is missing counts after regridding, against nan_allowance too."""
    data = archive(TIMES, FINE_LAT, FINE_LON).rename({"2m_temperature": "sst"})
    land = np.zeros((32, 16), bool)
    land[3:14, 4:9] = True
    data["sst"] = data["sst"].where(~xr.DataArray(land, dims=("longitude", "latitude")))
    data["sst"][50, 20, 12] = np.nan
    fields = FIELDS | {"sst": {"name": "sst"}}
    root = write_zarr(data, tmp_path / "a.zarr")
    source = zarr_source(root, ("z", "sst"), fields=fields)
    convert(source.open(select(regrid="8x16")), tmp_path / "s", SPLITS, source={})
    store = open_store(tmp_path / "s")
    want = np.isnan(means("8x16")(np.where(land.T, np.nan, 1.0)))
    assert np.array_equal(store.mask[1], want) and 0 < want.mean() < land.mean() * 1.3
    assert not store.mask[0].any()
    assert np.array_equal(np.isnan(store.read(0, 96)[:, 1]), np.broadcast_to(want, (96, 8, 16)))
