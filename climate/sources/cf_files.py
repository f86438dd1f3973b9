"""NetCDF files with CF axes, found by a pattern: any variables per file, times split over files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import xarray as xr

from climate.sources.catalogue import Catalogue
from climate.sources.dataset import make_dataset
from climate.sources.select import Selection
from vgbdm.errors import InputError
from vgbdm.options.kinds import Text
from vgbdm.registry.marks import buildable
from vgbdm.storage.datasets import open_netcdf

GRIB = {".grib", ".grib2", ".grb", ".grb2"}
NO_GRIB = "GRIB is not read; convert it first, e.g. with cdo -f nc4 copy"
OTHERS = {
    b"PK": "is a ZIP archive; unzip it, and name the files in it by source.pattern",
    b"\x1f\x8b": "is compressed by gzip; gunzip it",
    b"GRIB": NO_GRIB,
    b"<": "is a web page, not data; fetch it again",
}
"""What downloads named .nc are instead, by how they begin."""


@buildable
class CFFilesSource:
    """Reader of NetCDF files.

    Args:
        root: folder that holds the files.
        pattern: of the files in it; ``**/*.nc`` reaches into its folders.
        variables: short names wanted, in the order of the channels.
        fields: short name → ``name`` and ``level`` in the files.
        static: short name → ``name``, ``factor`` and ``units``; those that are absent are left out.
    """

    def __init__(
        self,
        root: Text,
        pattern: Text,
        variables: Sequence[str],
        fields: Mapping[str, Mapping[str, Any]],
        static: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.root, self.pattern, self.variables = Path(root), pattern, list(variables)
        self.catalogue = Catalogue(fields, static)

    def open(self, selection: Selection | None = None) -> xr.Dataset:
        """The lazy dataset; see `climate.sources`.

        Raises:
            InputError: one line, for whatever cannot be taken as it is.
        """
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; source.root names the data")
        paths = sorted(path for path in self.root.glob(self.pattern) if path.is_file())
        if not paths:
            raise InputError(f"{self.root}: no file {self.pattern}; source.pattern names the files")
        held = {str(path): open_file(path) for path in paths}
        first = next(iter(held.values()))
        return make_dataset(
            self.catalogue.series(self.variables, held),
            self.variables,
            self.catalogue.statics(held),
            {k: first.attrs[k] for k in ("title", "comment", "source") if k in first.attrs},
            selection or Selection(),
        )


def open_file(path: Path) -> xr.Dataset:
    """Open a NetCDF file lazily, without Dask.

    Raises:
        InputError: if it is no readable NetCDF file.
    """
    if path.suffix.lower() in GRIB:
        raise InputError(f"{path}: {NO_GRIB}")
    try:
        dataset = open_netcdf(path, "fetch it again", chunks=None, decode_timedelta=False)
    except InputError:
        _refuse_other(path)
        raise
    if not dataset.data_vars:
        _refuse_groups(path)
    return dataset


def _refuse_other(path: Path) -> None:
    """Say what a file is instead of NetCDF, where it can be told.

    Raises:
        InputError: if it can.
    """
    if not path.is_file():
        return
    with path.open("rb") as stream:
        start = stream.read(4)
    for magic, remedy in OTHERS.items():
        if start.startswith(magic):
            raise InputError(f"{path}: {remedy}") from None


def _refuse_groups(path: Path) -> None:
    """Name the groups that hold a file's variables, where its top holds none.

    Raises:
        InputError: if there are any.
    """
    try:
        with netCDF4.Dataset(path) as file:
            groups = list(file.groups)
    except OSError:  # of another kind, such as the classic one
        return
    if groups:
        raise InputError(
            f"{path}: holds its variables in the groups {', '.join(groups)}; bring them to the "
            "top, e.g. by ncks -G : OLD NEW, or by xarray: "
            f"xr.open_dataset(OLD, group='{groups[0]}').to_netcdf(NEW)"
        )
