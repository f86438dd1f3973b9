"""The sample's files: the layout of WeatherBench, whole years, nothing half-written."""

import numpy as np
import pytest
import xarray as xr

from climate.sample.write import ATTRIBUTES, FOLDERS, LAT, LON, make_sample
from vgbdm.errors import InputError

SMALL = {"seed": 3, "spin_up_days": 0, "truncation": 12}


def open_all(root, variable):
    paths = sorted((root / FOLDERS[variable]).glob("*.nc"))
    return [path.name for path in paths], [xr.load_dataset(path) for path in paths]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "new" / "folder"
    make_sample(out, days=3, start="2006-12-30", **SMALL)
    return out


def test_folders_and_years(sample):
    assert {path.name for path in sample.iterdir()} == {*FOLDERS.values(), "constants"}
    for variable, folder in FOLDERS.items():
        names, years = open_all(sample, variable)
        assert names == [f"{folder}_2006_5.625deg.nc", f"{folder}_2007_5.625deg.nc"]
        assert [len(year.time) for year in years] == [48, 24]
        whole = xr.concat(years, "time")
        hours = np.datetime64("2006-12-30") + np.arange(72) * np.timedelta64(1, "h")
        assert (whole.time.values == hours).all()
        assert np.isfinite(whole[variable].values).all()
    assert not list(sample.parent.glob(".*"))


def test_every_file_says_that_it_is_a_stand_in(sample):
    for path in sample.rglob("*.nc"):
        attributes = xr.load_dataset(path).attrs
        assert attributes["title"] == "Synthetic stand-in atmosphere, seed 3, 3 days, not ERA5"
        assert "grey-box" in attributes["comment"]


def test_layout_of_one_variable(sample):
    for variable in FOLDERS:
        dataset = open_all(sample, variable)[1][0]
        assert list(dataset.data_vars) == [variable]
        field = dataset[variable]
        assert field.dims == ("time", "lat", "lon") and field.dtype == np.float32
        assert field.attrs["units"] == ATTRIBUTES[variable]["units"]
        np.testing.assert_array_equal(dataset.lat, LAT)
        np.testing.assert_array_equal(dataset.lon, LON)


def test_layout_equals_that_of_real_files(sample, winds):
    pairs = [(f"10m_{k}_component_of_wind", f"{k}10") for k in "uv"]
    for folder, variable in [*pairs, ("constants", "orography"), ("constants", "lsm")]:
        real = xr.open_dataset(next((winds / folder).glob("*.nc")))
        ours = xr.open_dataset(sorted((sample / folder).glob("*.nc"))[0])
        assert real[variable].dims == ours[variable].dims
        assert real[variable].dtype == ours[variable].dtype
        assert real[variable].attrs["units"] == ours[variable].attrs["units"]
        for axis in ("lat", "lon"):
            assert real[axis].dtype == ours[axis].dtype
            np.testing.assert_allclose(real[axis], ours[axis], atol=1e-6)
        if folder == "constants":
            assert set(real.variables) == set(ours.variables)
            np.testing.assert_allclose(real["lat2d"], ours["lat2d"], atol=1e-6)
            np.testing.assert_allclose(real["lon2d"], ours["lon2d"], atol=1e-6)


def test_same_arguments_same_values(sample, tmp_path):
    make_sample(tmp_path / "again", days=3, start="2006-12-30", **SMALL)
    make_sample(tmp_path / "other", days=1, start="2006-12-30", **{**SMALL, "seed": 4})
    for variable in FOLDERS:
        first, again, other = (
            open_all(root, variable)[1][0][variable].values
            for root in (sample, tmp_path / "again", tmp_path / "other")
        )
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first[:24], other)


def test_a_longer_sample_begins_like_a_shorter_one(sample, tmp_path):
    make_sample(tmp_path / "short", days=1, start="2006-12-30", **SMALL)
    short = open_all(tmp_path / "short", "t2m")[1][0].t2m.values
    np.testing.assert_array_equal(short, open_all(sample, "t2m")[1][0].t2m.values[:24])


def test_spin_up_is_thrown_away(sample, tmp_path):
    options = {**SMALL, "spin_up_days": 2}
    make_sample(tmp_path / "spun", days=1, start="2007-01-01", **options)
    spun = open_all(tmp_path / "spun", "z")[1][0].z.values
    np.testing.assert_array_equal(spun, open_all(sample, "z")[1][1].z.values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"days": 0}, "days=0"),
        ({"spin_up_days": -1}, "spin_up_days=-1"),
        ({"start": "spring"}, "start=spring"),
        ({"start": "2006-01-01T00:30"}, "whole hour"),
        ({"truncation": 32}, "truncation 32"),
    ],
)
def test_bad_numbers_are_refused_and_nothing_is_left(tmp_path, change, message):
    options = {"days": 1, "start": "2006-01-01", **SMALL, **change}
    with pytest.raises(InputError, match=message) as error:
        make_sample(tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not an empty folder"):
        make_sample(tmp_path, days=1, start="2006-01-01", **SMALL)
    with pytest.raises(InputError, match="not an empty folder"):
        make_sample(tmp_path / "mine.txt", days=1, start="2006-01-01", **SMALL)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_an_empty_folder_is_taken(tmp_path):
    make_sample(tmp_path / "out", days=1, start="2006-01-01", **SMALL)
    (tmp_path / "empty").mkdir()
    make_sample(tmp_path / "empty", days=1, start="2006-01-01", **SMALL)
    assert len(list((tmp_path / "empty").rglob("*.nc"))) == 6
