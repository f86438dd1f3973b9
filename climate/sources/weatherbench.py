"""WeatherBench folders: one folder of NetCDF files per variable (arXiv 2002.00469).

ROOT/geopotential_500/geopotential_500_2006_5.625deg.nc    variable z(time, lat, lon)
ROOT/constants/constants_5.625deg.nc                       orography(lat, lon), lsm(lat, lon)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from climate.sources.axes import Part, open_part
from climate.sources.catalogue import check_settings, check_variables
from climate.sources.dataset import make_dataset
from climate.sources.files import open_files
from climate.sources.select import Selection
from climate.sources.series import Series
from climate.sources.static import StaticField
from climate.sources.vertical import PRESSURE
from vgbdm.errors import InputError
from vgbdm.options.kinds import Text
from vgbdm.registry.marks import buildable

SETTINGS = ("level", "level_units", "units", "method")
"""Of a field, whose name is that of its folder."""


@buildable
class WeatherBenchSource:
    """Reader of WeatherBench folders.

    Args:
        root: folder that holds the variables' folders.
        variables: short names wanted, in the order of the channels.
        folders: short name → folder, for every variable that is known.
        constants: folder of the static fields; it may be absent.
        static: names of the static fields wanted; those that are absent are left out.
        pattern: of the files in a folder.
        fields: short name → ``level``, hPa, that its files must be of where they say one, and
            ``units``, which they need not say then.
    """

    def __init__(
        self,
        root: Text,
        variables: Sequence[str],
        folders: Mapping[str, str],
        constants: str,
        static: Sequence[str],
        pattern: Text,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.root, self.variables, self.folders = Path(root), list(variables), dict(folders)
        self.constants, self.static, self.pattern = constants, list(static), pattern
        self.fields = dict(fields or {})

    def open(self, selection: Selection | None = None) -> xr.Dataset:
        """The lazy dataset; see `climate.sources`.

        Raises:
            InputError: one line, for whatever cannot be taken as it is.
        """
        if self.root.is_file():
            raise InputError(f"{self.root}: is a file; give source=cf_files for it")
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; source.root names the data")
        unknown = sorted({*self.fields} - {*self.folders})
        if unknown:
            raise InputError(
                f"source.fields.{unknown[0]}: has no folder; known are "
                f"{', '.join(sorted(self.folders))}"
            )
        check_variables(self.variables, self.folders, "source.folders.{name}=FOLDER")
        attributes: dict[str, object] = {}
        series = []
        for name in self.variables:
            held = open_files(self._files(name))
            entry = self.fields.get(name) or {}
            check_settings(f"source.fields.{name}", entry, SETTINGS)
            level, units = entry.get("level"), entry.get("units")
            parts = tuple(_open(name, entry, where, dataset) for where, dataset in held)
            units, method = None if units is None else str(units), entry.get("method")
            series.append(Series((name,), (level,), parts, units, method=method))
            attributes = dict(held[-1][1].attrs)
        return make_dataset(
            series, self.variables, self._static(), attributes, selection or Selection()
        )

    def _files(self, name: str) -> list[Path]:
        folder = self.root / self.folders[name]
        if not folder.is_dir():
            raise InputError(
                f"{folder}: missing, it should hold {name}; leave {name} out or add it, or give "
                "source=cf_files for files that are laid out otherwise"
            )
        files = sorted(folder.glob(self.pattern))
        if not files:
            raise InputError(f"{folder}: no file {self.pattern}; add the files of {name}")
        return files

    def _static(self) -> dict[str, StaticField]:
        parts: dict[str, list[Part]] = {}
        paths = sorted((self.root / self.constants).glob(self.pattern))
        for where, content in open_files(paths):
            for name in (n for n in self.static if n in content):
                parts.setdefault(name, []).append(open_part(content, name, where))
        return {name: StaticField(tuple(found)) for name, found in parts.items()}


def _open(name: str, entry: Mapping[str, Any], where: str, dataset: xr.Dataset) -> Part:
    """A file's part, of the level its folder stands for where it says none.

    Raises:
        InputError: if it is of another level.
    """
    part = open_part(dataset, name, where, entry.get("level_units"))
    level = entry.get("level")
    if level is None:
        return part
    if part.levels is None:
        return replace(part, levels=np.array([float(level)]), level_unit=PRESSURE)
    try:
        part.level_index(level)
    except InputError as error:
        raise InputError(
            f"{error}; move the file away, or give source.fields.{name}.level the level it has"
        ) from None
    return part
