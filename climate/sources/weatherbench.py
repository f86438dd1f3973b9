"""WeatherBench folders: one folder of NetCDF files per variable (arXiv 2002.00469).

ROOT/geopotential_500/geopotential_500_2006_5.625deg.nc    variable z(time, lat, lon)
ROOT/constants/constants_5.625deg.nc                       orography(lat, lon), lsm(lat, lon)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from climate.sphere import Grid
from climate.variables import channel_attributes
from vgbdm.errors import InputError

READ_STEPS = 720
"""Time steps per lazy block."""


class WeatherBenchSource:
    """Reader of WeatherBench folders.

    Args:
        root: folder that holds the variables' folders.
        variables: short names wanted, in the order of the channels.
        folders: short name → folder, for every variable that is known.
        constants: folder of the static fields; it may be absent.
        static: names of the static fields wanted; those that are absent are left out.
        pattern: of the files in a folder.
    """

    def __init__(
        self,
        root: str,
        variables: Sequence[str],
        folders: Mapping[str, str],
        constants: str,
        static: Sequence[str],
        pattern: str,
    ) -> None:
        self.root, self.variables, self.folders = Path(root), list(variables), dict(folders)
        self.constants, self.static, self.pattern = constants, list(static), pattern

    def open(self) -> xr.Dataset:
        """The lazy dataset; see `climate.sources`.

        Raises:
            InputError: one line, for whatever cannot be taken as it is.
        """
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; source.root names the data")
        if not self.variables or len(set(self.variables)) != len(self.variables):
            raise InputError(f"variables={self.variables}: name each wanted variable once")
        fields: dict[str, xr.DataArray] = {}
        attributes: dict[str, object] = {}
        for name in self.variables:
            field, attributes = self._open_variable(name)
            if fields:
                self._check_same(next(iter(fields.values())), field, name)
            fields[name] = field
        dataset = xr.Dataset(fields, attrs=attributes)
        return dataset.assign(self._open_static(dataset))

    def _folder(self, name: str) -> Path:
        if name not in self.folders:
            raise InputError(
                f"variable {name} is unknown; known are {', '.join(sorted(self.folders))}; add "
                f"source.folders.{name}=FOLDER for another"
            )
        folder = self.root / self.folders[name]
        if not folder.is_dir():
            raise InputError(
                f"{folder}: missing, it should hold {name}; leave {name} out or add it"
            )
        return folder

    def _open_variable(self, name: str) -> tuple[xr.DataArray, dict[str, object]]:
        folder = self._folder(name)
        files = sorted(folder.glob(self.pattern))
        if not files:
            raise InputError(f"{folder}: no file {self.pattern}; add the files of {name}")
        parts, attributes = [], {}
        for path in files:
            dataset = open_file(path)
            parts.append(_normalise(_pick(dataset, name, path), path))
            attributes = dict(dataset.attrs)
        for path, part in zip(files, parts, strict=True):
            for axis in ("lat", "lon"):
                if not _same(part[axis], parts[0][axis]):
                    raise InputError(f"{path}: its {axis} differ from those of {files[0].name}")
        field = parts[0] if len(parts) == 1 else xr.concat(parts, "time", join="exact")
        field = _increasing(field, folder)
        check_calendar(field["time"].values, folder)
        field.attrs = channel_attributes(name, dict(parts[0].attrs))
        return field, attributes

    def _check_same(self, first: xr.DataArray, field: xr.DataArray, name: str) -> None:
        for axis, what in (("lat", "grid"), ("lon", "grid"), ("time", "calendar")):
            if not _same(first[axis], field[axis]):
                raise InputError(
                    f"{self._folder(name)}: its {what} ({axis}: {field.sizes[axis]} values from "
                    f"{field[axis].values[0]}) is not that of {first.name} "
                    f"({first.sizes[axis]} from {first[axis].values[0]}); convert alike files only"
                )

    def _open_static(self, dataset: xr.Dataset) -> dict[str, xr.DataArray]:
        found: dict[str, xr.DataArray] = {}
        for path in sorted((self.root / self.constants).glob(self.pattern)):
            content = open_file(path)
            for name in (n for n in self.static if n in content):
                field = _normalise(content[name], path)
                if not all(_same(field[a], dataset[a]) for a in ("lat", "lon")):
                    raise InputError(f"{path}: {name} is on another grid than the variables")
                if not bool(np.isfinite(field.values).all()):
                    raise InputError(f"{path}: {name} holds NaN; mend or remove the file")
                found[name] = field
        return found


def open_file(path: Path) -> xr.Dataset:
    """Open a NetCDF file lazily.

    Raises:
        InputError: if it is no readable NetCDF file.
    """
    try:
        return xr.open_dataset(path, chunks={"time": READ_STEPS})
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable NetCDF file ({reason}); fetch it again") from None


def _pick(dataset: xr.Dataset, name: str, path: Path) -> xr.DataArray:
    if name not in dataset:
        raise InputError(f"{path}: holds {', '.join(map(str, dataset.data_vars))}, not {name}")
    field = dataset[name].squeeze(drop=True) if "level" in dataset[name].dims else dataset[name]
    field = field.reset_coords(drop=True)
    if set(field.dims) != {"time", "lat", "lon"}:
        raise InputError(f"{path}: {name} has dimensions {field.dims}; want time, lat, lon")
    if not np.issubdtype(field["time"].dtype, np.datetime64):
        raise InputError(f"{path}: its calendar is not the Gregorian one; convert the times first")
    return field.transpose("time", "lat", "lon")


def _normalise(field: xr.DataArray, path: Path) -> xr.DataArray:
    """Latitudes ascending, longitudes from 0; refuse what is not regular and global."""
    field = field.assign_coords(
        lat=field["lat"].astype(np.float64), lon=field["lon"].astype(np.float64) % 360.0
    )
    if field.sizes["lat"] > 1 and field["lat"].values[0] > field["lat"].values[-1]:
        field = field.isel(lat=slice(None, None, -1))
    if not bool((np.diff(field["lon"].values) > 0).all()):
        field = field.sortby("lon")
    try:
        whole = Grid(field["lat"].values, field["lon"].values).is_global
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not whole:
        raise InputError(
            f"{path}: covers a box, not the globe; convert the globe and train with task=regional"
        )
    return field


def _same(a: xr.DataArray, b: xr.DataArray) -> bool:
    if a.shape != b.shape:
        return False
    if np.issubdtype(a.dtype, np.floating):
        return bool(np.allclose(a.values, b.values, atol=1e-4))
    return bool(np.array_equal(a.values, b.values))


def _increasing(field: xr.DataArray, folder: Path) -> xr.DataArray:
    """Sort by time and drop times that come twice with the same values."""
    times = field["time"].values
    if bool((np.diff(times) > np.timedelta64(0)).all()):
        return field
    order = np.argsort(times, kind="stable")
    field, times = field.isel(time=order), times[order]
    again = np.flatnonzero(np.diff(times) == np.timedelta64(0)) + 1
    for index in again:
        pair = field.isel(time=[index - 1, index]).values
        if not np.array_equal(pair[0], pair[1], equal_nan=True):
            raise InputError(
                f"{folder}: {np.datetime_as_string(times[index], 'm')} comes twice with different "
                "values; remove the wrong file"
            )
    return field.isel(time=np.setdiff1d(np.arange(len(times)), again))


def check_calendar(times: np.ndarray, where: Path) -> np.timedelta64:
    """The base step of increasing times; steps may be missing, none may lie in between.

    Raises:
        InputError: if there is only one time, or a step is no whole multiple of the usual one.
    """
    if len(times) < 2:
        raise InputError(f"{where}: holds {len(times)} time; at least 2 are needed")
    steps = np.diff(times.astype("datetime64[s]"))
    values, counts = np.unique(steps, return_counts=True)
    base = values[counts.argmax()]
    odd = np.flatnonzero(steps % base != np.timedelta64(0))
    if len(odd):
        raise InputError(
            f"{where}: the step after {np.datetime_as_string(times[odd[0]], 'm')} is "
            f"{steps[odd[0]]}, not a multiple of {base}; give regular times"
        )
    return base
