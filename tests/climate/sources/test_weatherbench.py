"""WeatherBench folders: what is taken, and the one line of each refusal."""

import builders
import numpy as np
import pytest
import xarray as xr
from builders import LAT, LON, hours, source, write_constants, write_folder, write_variable

from vgbdm.errors import InputError

TIMES = hours("2016-01-01", 48)


def refused(root, *words, variables=("z", "u10")):
    with pytest.raises(InputError) as caught:
        source(root, variables).open()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path, ("z", "u10"), days=2)


def test_a_folder_is_read_lazily_with_its_static_fields(root):
    dataset = source(root, ("u10", "z")).open()
    assert list(dataset.data_vars)[:2] == ["u10", "z"]
    assert {"orography", "lsm"} <= set(dataset.data_vars)
    assert not dataset["z"].variable._in_memory
    assert np.array_equal(dataset["z"].values, builders.waves(TIMES, 0))
    assert dataset["u10"].attrs["units"] == "m s-1"


def test_yearly_files_are_joined_in_time(tmp_path):
    for k, file in enumerate(("2016", "2017")):
        write_variable(tmp_path, "z", hours("2016-01-01", 96)[48 * k : 48 * (k + 1)], file=file)
    dataset = source(tmp_path, ("z",)).open()
    assert np.array_equal(dataset["z"].values, builders.waves(hours("2016-01-01", 96), 0))


def test_missing_root(tmp_path):
    refused(tmp_path / "none", "none", "no such folder")


def test_missing_variable_folder(root):
    refused(root, "10m_v_component_of_wind", "missing", variables=("z", "v10"))


def test_empty_variable_folder(root):
    (root / "2m_temperature").mkdir()
    refused(root, "2m_temperature", "no file", variables=("z", "t2m"))


def test_unknown_variable(root):
    refused(root, "variable q is unknown", "known are", variables=("z", "q"))


def test_a_variable_named_twice(root):
    refused(root, "once", variables=("z", "z"))


def test_a_file_without_its_variable(root):
    path = next((root / "geopotential_500").iterdir())
    xr.open_dataset(path).load().rename(z="w").to_netcdf(path.with_name("x_5.625deg.nc"))
    path.unlink()
    refused(root, "holds w, not z")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"no netcdf at all", "is a text"),
        (b"\x89HDF\r\n\x1a\n cut", "is cut off"),
    ],
)
def test_corrupt_file(root, content, words):
    next((root / "geopotential_500").iterdir()).write_bytes(content)
    refused(root, "geopotential_500_2016", words)


def test_other_grid(tmp_path):
    write_variable(tmp_path, "z", TIMES)
    lat = -90 + 11.25 * (np.arange(16) + 0.5)
    write_variable(tmp_path, "u10", TIMES, lat=lat, lon=np.arange(32) * 11.25)
    refused(tmp_path, "10m_u_component_of_wind", "grid (lat")


def test_other_grid_in_one_of_the_files(tmp_path):
    write_variable(tmp_path, "z", TIMES)
    lat = -90 + 11.25 * (np.arange(16) + 0.5)
    later = hours("2016-01-03", 24)
    write_variable(tmp_path, "z", later, lat=lat, lon=np.arange(32) * 11.25, file="2017")
    refused(tmp_path, "2017", "its lat differ", variables=("z",))


def test_other_calendar(tmp_path):
    write_variable(tmp_path, "z", TIMES)
    write_variable(tmp_path, "u10", TIMES[:-3])
    refused(tmp_path, "10m_u_component_of_wind", "calendar (time")


def test_a_calendar_that_is_not_gregorian(tmp_path):
    path = write_variable(tmp_path, "z", TIMES)
    dataset = xr.open_dataset(path).load()
    del dataset["time"].encoding["calendar"]
    dataset["time"] = xr.date_range("2016-01-01", periods=48, freq="h", calendar="noleap",
                                    use_cftime=True)  # fmt: skip
    path.unlink()
    dataset.to_netcdf(path)
    refused(tmp_path, "calendar is not the Gregorian", variables=("z",))


def test_duplicate_times_that_disagree(tmp_path):
    write_variable(tmp_path, "z", TIMES)
    again = builders.waves(TIMES[-1:], 0) + 1
    write_variable(tmp_path, "z", TIMES[-1:], values=again, file="2017")
    refused(tmp_path, "2016-01-02 23:00", "comes twice", variables=("z",))


def test_duplicate_times_that_agree_are_taken_once(tmp_path):
    write_variable(tmp_path, "z", TIMES)
    write_variable(tmp_path, "z", hours("2016-01-02T23", 10), file="2017")
    assert np.array_equal(source(tmp_path, ("z",)).open()["time"].values, hours("2016-01-01", 57))


def test_unsorted_times_are_sorted(tmp_path):
    order = np.random.default_rng(0).permutation(48)
    write_variable(tmp_path, "z", TIMES[order])
    dataset = source(tmp_path, ("z",)).open()
    assert np.array_equal(dataset["z"].values, builders.waves(TIMES, 0))


def test_irregular_step(tmp_path):
    times = np.concatenate((hours("2016-01-01", 24), hours("2016-01-02T00:30", 24)))
    write_variable(tmp_path, "z", times)
    refused(tmp_path, "2016-01-01 23:00", "not a multiple", variables=("z",))


def test_missing_steps_are_accepted(tmp_path):
    write_variable(tmp_path, "z", np.delete(TIMES, [20, 21]))
    assert source(tmp_path, ("z",)).open().sizes["time"] == 46


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        (np.array([-80, -60, -41, -20, 20, 41, 60, 80.0]), LON),
        (LAT * 0.5, LON),
        (LAT, np.arange(16) * 10.0),
    ],
)
def test_a_grid_that_is_not_regular_and_global(tmp_path, lat, lon):
    write_variable(tmp_path, "z", TIMES, lat=lat, lon=lon)
    refused(tmp_path, "geopotential_500", "grid", variables=("z",))


def test_latitudes_descending_and_longitudes_from_minus_180_are_put_right(tmp_path):
    lon = np.where(LON >= 180, LON - 360, LON)
    order = np.argsort(lon)
    values = builders.waves(TIMES, 0)[:, ::-1][:, :, order]
    write_variable(tmp_path, "z", TIMES, values=values, lat=LAT[::-1], lon=lon[order])
    write_constants(tmp_path, LAT[::-1], lon[order])
    dataset = source(tmp_path, ("z",)).open()
    assert np.array_equal(dataset["z"].values, builders.waves(TIMES, 0))
    assert np.allclose(dataset["lat"], LAT)
    assert np.allclose(dataset["lon"], LON)


def test_packed_files_are_unpacked(tmp_path):
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 0.0, "_FillValue": -32768}
    write_variable(tmp_path, "z", TIMES, **packing)
    values = source(tmp_path, ("z",)).open()["z"].values
    assert np.allclose(values, builders.waves(TIMES, 0), atol=0.006)


def test_missing_constants_are_absent(tmp_path):
    write_variable(tmp_path, "z", TIMES)
    assert set(source(tmp_path, ("z",)).open().data_vars) == {"z"}


def test_constants_on_another_grid_or_with_holes_are_refused(root):
    path = root / "constants/constants_5.625deg.nc"
    content = xr.open_dataset(path).load()
    path.unlink()
    content.where(content["lsm"] > 0).to_netcdf(path)
    refused(root, "constants_5.625deg.nc", "NaN")


def test_real_winds(winds):
    dataset = source(winds, ("u10", "v10")).open()
    assert dataset.sizes == {"time": 174, "lat": 32, "lon": 64}
    assert {"orography", "lsm"} <= set(dataset.data_vars)


def test_files_of_another_layout_are_another_source(tmp_path):
    (tmp_path / "a.grib").write_bytes(b"GRIB")
    refused(tmp_path, "give source=cf_files for files")
    refused(tmp_path / "a.grib", "a.grib: is a file; give source=cf_files for it")
