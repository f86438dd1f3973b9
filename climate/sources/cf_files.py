"""NetCDF files with CF axes, found by a pattern: any variables per file, times split over files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from climate.sources.catalogue import Catalogue
from climate.sources.fields import make_dataset
from climate.sources.select import Selection
from vgbdm.datasets import open_netcdf
from vgbdm.errors import InputError

GRIB = {".grib", ".grib2", ".grb", ".grb2"}


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
        root: str,
        pattern: str,
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
        raise InputError(f"{path}: GRIB is not read; convert it first, e.g. with cdo -f nc4 copy")
    return open_netcdf(path, "fetch it again", chunks=None, decode_timedelta=False)
