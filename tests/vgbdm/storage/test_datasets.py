"""Groups of others, opened: what is not there is not taken for numbers."""

import numpy as np
import pytest
import xarray as xr
import zarr

from vgbdm.errors import InputError
from vgbdm.storage.datasets import open_group, open_netcdf

VALUES = np.arange(24, dtype="f4").reshape(4, 2, 3)


def opened(path, **options):
    return open_group(path, "trajectories", "make it again", **options)


@pytest.fixture(params=[2, 3])
def group(request, tmp_path):
    """One with a fill value of 0, of which x has a chunk for each of four."""
    root = zarr.open_group(tmp_path / "g.zarr", mode="w", zarr_format=request.param)
    for name, dims, kind in (("x", ["n", "t", "c"], "f4"), ("n", ["n"], "i8")):
        shape = VALUES.shape[: len(dims)]
        made = root.create_array(
            name, shape=shape, chunks=(1, *shape[1:]), dtype=kind, fill_value=0,
            **({"dimension_names": dims} if request.param == 3 else {}),
        )  # fmt: skip
        if request.param == 2:
            made.attrs["_ARRAY_DIMENSIONS"] = dims
        made[:] = VALUES if name == "x" else np.arange(4)
    return tmp_path / "g.zarr"


def test_zeros_are_values_and_a_coordinate_that_is_not_written_is_zero(group):
    """A chunk of nothing but the fill value is not written: of n the first."""
    found = opened(group)
    assert np.array_equal(found["x"].values, VALUES)
    assert np.array_equal(found["n"].values, np.arange(4))


def test_a_chunk_that_is_not_there_is_refused(group):
    """It read as zeros, and was trained on."""
    (chunk,) = [name for name in ("x/1.0.0", "x/c/1/0/0") if (group / name).exists()]
    (group / chunk).unlink()
    found = opened(group)
    assert np.array_equal(found["x"][0].values, VALUES[0])
    with pytest.raises(InputError, match=rf"g\.zarr: its chunk {chunk} is absent and would read"):
        found["x"].load()


def test_a_sentinel_of_zarr_2_stands_for_missing_numbers(tmp_path):
    root = zarr.open_group(tmp_path / "g.zarr", mode="w", zarr_format=2)
    x = root.create_array("x", shape=(2, 2), chunks=(1, 2), dtype="f4", fill_value=-999.0)
    x.attrs["_ARRAY_DIMENSIONS"] = ["n", "t"]
    x[:] = [[1.0, -999.0], [0.0, 2.0]]
    assert np.array_equal(opened(tmp_path / "g.zarr")["x"], [[1, np.nan], [0, 2]], equal_nan=True)


def test_times_are_decoded_as_is_asked(tmp_path):
    times = np.array(["2018-01-01", "2018-01-02"], dtype="M8[ns]")
    xr.Dataset({"t": ("time", times)}).to_zarr(tmp_path / "g.zarr", zarr_format=2)
    assert opened(tmp_path / "g.zarr")["t"].dtype.kind == "M"
    assert opened(tmp_path / "g.zarr", decode_times=False)["t"].dtype.kind in "if"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + bytes(60), "is a ZIP archive; unzip it"),
        (b"GRIB" + bytes(60), "is GRIB; give NetCDF or Zarr"),
        (b"time,X,Y,Z\n0,1,2,3\n", r"is a text \(time,X,Y,Z 0,1,2,3\), not data"),
        (bytes(99), r"not a readable NetCDF file \(NetCDF: Unknown file format\); make it again"),
    ],
)
def test_other_things_named_nc_are_called_what_they_are(tmp_path, content, words):
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.nc: {words}"):
        open_netcdf(tmp_path / "a.nc", "make it again")


@pytest.mark.parametrize(
    ("unit", "times"),
    [("months since 2010-01-01", [0.0, 1.0]), ("hours since 2010-01-01", [0, 9.97e36])],
)
def test_times_that_are_none_are_not_called_an_unreadable_file(tmp_path, unit, times):
    made = xr.Dataset({"x": ("time", [1.0, 2.0])}, {"time": ("time", times, {"units": unit})})
    made.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"unable to decode time units .* since a date$"):
        open_netcdf(tmp_path / "a.nc", "make it again")
