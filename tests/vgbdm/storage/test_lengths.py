"""Files that were cut off are said to be, wherever; libraries read zeros beyond the end of some."""

import netCDF4
import numpy as np
import pytest
import xarray as xr
from refusals import refused

from vgbdm.storage.datasets import open_netcdf
from vgbdm.storage.lengths import cut_off

FORMATS = (
    "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4", "NETCDF4_CLASSIC",
)  # fmt: skip


def write(path, form, along=None):
    """Two variables and text, one of an odd length; records where ``along`` is None."""
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.title = "of five"
        for name, size in (("time", along), ("x", 3), ("letters", 5)):
            file.createDimension(name, size)
        for name, kind, dims in (("t", "i2", ("time", "x")), ("a", "f8", ("x",)),
                                 ("n", "S1", ("time", "letters"))):  # fmt: skip
            variable = file.createVariable(name, kind, dims)
            variable.units = "1"
            wide = [5 if dim == "time" else len(file.dimensions[dim]) for dim in dims]
            variable[:] = np.ones(wide) if kind != "S1" else np.full(wide, b"x")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("along", [None, 5])
def test_a_whole_file_is_whole_and_each_shorter_one_is_not(tmp_path, form, along):
    write(tmp_path / "a.nc", form, along)
    assert cut_off(tmp_path / "a.nc") is None
    raw = (tmp_path / "a.nc").read_bytes()
    for cut in (len(raw) - 4, len(raw) // 2, 40, 9):
        (tmp_path / "b.nc").write_bytes(raw[:cut])
        assert f"{cut} " in cut_off(tmp_path / "b.nc"), cut


@pytest.mark.parametrize("form", FORMATS[:2])
def test_a_single_variable_along_records_is_not_padded(tmp_path, form):
    with netCDF4.Dataset(tmp_path / "a.nc", "w", format=form) as file:
        file.createDimension("time", None)
        file.createVariable("t", "i2", ("time",))[:] = np.arange(7)
    raw = (tmp_path / "a.nc").read_bytes()
    assert cut_off(tmp_path / "a.nc") is None
    end = raw.index(b"\0\6") + 2
    for cut, whole in ((end, True), (end - 1, False)):
        (tmp_path / "b.nc").write_bytes(raw[:cut])
        assert (cut_off(tmp_path / "b.nc") is None) == whole


def test_no_zeros_are_read_for_what_is_not_there(tmp_path):
    values = np.ones((50, 4, 8), np.float32)
    data = xr.Dataset({"u": (("time", "y", "x"), values)})
    data.to_netcdf(tmp_path / "a.nc", format="NETCDF3_CLASSIC")
    raw = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "b.nc").write_bytes(raw[: len(raw) // 2])
    with netCDF4.Dataset(tmp_path / "b.nc") as file:  # why the header is followed
        assert file["u"][-1, -1, -1] != 1.0
    said = refused(lambda: open_netcdf(tmp_path / "b.nc", "fetch it again"), "b.nc: is cut off")
    assert said.endswith(f"{len(raw) // 2} of {len(raw)} bytes are there; fetch it again")


def test_of_others_nothing_is_said(tmp_path):
    for content in (b"", b"nothing of the kind", b"CDF\x01" + b"\xff" * 40):
        (tmp_path / "a.nc").write_bytes(content)
        assert cut_off(tmp_path / "a.nc") in (None, "is cut off in its header, after 44 bytes")
