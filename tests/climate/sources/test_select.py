"""Period, step, box and coarsening against exact answers."""

import builders
import numpy as np
import pytest
from archives import archive, write_zarr, zarr_source
from builders import FINE_LAT, FINE_LON, hours

from climate.conversion.convert import convert
from climate.grids.grid import Grid
from climate.grids.regions import parse_region
from climate.sources.coarsen import coarsening
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
POLES = Grid(np.linspace(-90, 90, 13), np.arange(24) * 15.0)
CENTRED = Grid(-90 + 15 * (np.arange(12) + 0.5), np.arange(24) * 15.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("select") / "a.zarr"
    return write_zarr(archive(TIMES, FINE_LAT, FINE_LON), place)


def select(period=None, step=None, region=None, halo=2, coarsen=None):
    return parse_selection(period, step, region, halo, coarsen)


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
    with pytest.raises(InputError, match=r"^coarsen=1"):
        zarr_source(root).open(select(coarsen=1))


def test_a_step_that_hits_no_time(tmp_path):
    times = hours("2016-01-01T03", 12, 6)
    place = write_zarr(archive(times), tmp_path / "a.zarr")
    with pytest.raises(InputError, match="not a multiple of the source's step"):
        zarr_source(place).open(select(step="4h"))
    with pytest.raises(InputError, match="no time at whole steps from midnight UTC"):
        zarr_source(place).open(select(step="12h"))


def area(grid):
    """Exact areas of the cells (H,)."""
    half = (grid.lat[1] - grid.lat[0]) / 2
    edges = np.clip(np.append(grid.lat - half, grid.lat[-1] + half), -90, 90)
    return np.diff(np.sin(np.deg2rad(edges)))


@pytest.mark.parametrize("grid", [POLES, CENTRED], ids=["poles", "centred"])
@pytest.mark.parametrize("factor", [2, 3, 6])
def test_coarsening_keeps_constants_and_integrals(grid, factor):
    make = coarsening(grid, factor)
    ones = np.full((2, len(grid.lat), 24), 7.0)
    assert np.array_equal(make(ones), np.full((2, len(make.grid.lat), 24 // factor), 7.0))
    assert make.grid.includes_poles == grid.includes_poles
    field = np.random.default_rng(0).normal(size=(len(grid.lat), 24))
    fine = area(grid) @ field.mean(1)
    assert area(make.grid) @ make(field).astype(np.float64).mean(1) == pytest.approx(fine, abs=1e-6)


def test_coarsening_is_the_mean_over_each_cell():
    """Every cell against the mean over a grid so fine that borders fall between its points."""
    factor, many = 2, 64
    for grid in (POLES, CENTRED):
        field = np.random.default_rng(1).normal(size=(len(grid.lat), 24))
        coarse = coarsening(grid, factor)
        d = 15.0
        phi = -90 + (np.arange(12 * many) + 0.5) * d / many
        lam = (np.arange(24 * many) + 0.5) * d / many
        row = np.abs(phi[:, None] - grid.lat).argmin(1)
        column = np.floor(lam / d + 0.5).astype(int) % 24
        points, weights = field[row][:, column], np.cos(np.deg2rad(phi))
        row = np.abs(phi[:, None] - coarse.grid.lat).argmin(1)
        column = np.floor(lam / d / factor + 0.5).astype(int) % 12
        for i in range(len(coarse.grid.lat)):
            for j in range(12):
                cell = points[np.ix_(row == i, column == j)]
                want = np.average(cell.mean(1), weights=weights[row == i])
                assert coarse(field)[i, j] == pytest.approx(want, abs=1e-3)


def test_a_missing_value_spoils_its_own_cells_only():
    field = np.zeros((12, 24))
    field[4, 6] = np.nan
    assert np.argwhere(np.isnan(coarsening(CENTRED, 3)(field))).tolist() == [[1, 2]]


@pytest.mark.parametrize(("factor", "words"), [(5, "; 2, 3, 6 would"), (0, "2 or more")])
def test_factors_that_do_not_divide_are_refused(factor, words):
    with pytest.raises(InputError, match=words):
        coarsening(POLES, factor)


def test_a_source_is_coarsened_with_its_ground(root):
    dataset = zarr_source(root).open(select(coarsen=2))
    make = coarsening(Grid(FINE_LAT, FINE_LON), 2)
    assert np.array_equal(dataset["lat"], make.grid.lat)
    assert np.array_equal(dataset["z"].values, make(wave(TIMES)))
    land = zarr_source(root).open()["lsm"].values
    assert np.array_equal(dataset["lsm"].values, make(land))


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


def test_boxes_of_a_source_are_cut_from_the_box_and_coarsened_first(root):
    region = parse_region([-60, 60, 300, 60], 0)
    dataset = zarr_source(root).open(select(region=[-60, 60, 300, 60], halo=0, coarsen=2))
    make = coarsening(Grid(FINE_LAT, FINE_LON), 2)
    cut = region.cut(make.grid.lat, make.grid.lon)
    want = make(wave(TIMES))[:, cut.rows][..., cut.columns]
    assert np.array_equal(dataset["z"].values, want)
