"""Small WeatherBench folders and stores made of numbers anyone can check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from climate.conversion.convert import convert
from climate.sources.weatherbench import WeatherBenchSource
from climate.store.layout import TrainingStore, open_store

LAT = -90.0 + 22.5 * (np.arange(8) + 0.5)
LON = 22.5 * np.arange(16)
FOLDERS = {
    "z": "geopotential_500",
    "t2m": "2m_temperature",
    "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
}
UNITS = {"z": "m**2 s**-2", "t2m": "K", "u10": "m s**-1", "v10": "m s**-1"}
SPLITS = {
    "train": ["2016-01-01T00", "2016-01-12T23"],
    "val": ["2016-01-13", "2016-01-15"],
    "test": ["2016-01-16", "2016-01-20"],
}


CASE_SPLITS = {
    "train": ["2010-01-01", "2010-02-05"],
    "val": ["2010-02-06", "2010-02-15"],
    "test": ["2010-02-16", "2010-03-01"],
}
"""Of the reported situations."""


def hours(start: str, count: int, step: int = 1) -> np.ndarray:
    return np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(step, "h")


def waves(times: np.ndarray, k: int, lat: np.ndarray = LAT, lon: np.ndarray = LON) -> np.ndarray:
    """A travelling wave with a daily cycle, different for each variable ``k``: (T, H, W)."""
    t = times.astype("datetime64[s]").astype(np.float64)[:, None, None] / 86400.0
    phi, lam = np.deg2rad(lat)[:, None], np.deg2rad(lon)[None, :]
    wave = np.cos(phi) * np.sin((1 + k) * lam - 0.7 * t + k)
    cycle = 0.3 * np.cos(2 * np.pi * t + lam)
    return ((k + 1) * (10 * wave + cycle) + 5 * k).astype(np.float32)


def warm(times: np.ndarray, k: int, lat: np.ndarray = LAT, lon: np.ndarray = LON) -> np.ndarray:
    """The same around 280: temperatures in K that air can have."""
    return np.float32(280) + waves(times, k, lat, lon)


def write_variable(
    root: Path,
    name: str,
    times: np.ndarray,
    *,
    values: np.ndarray | None = None,
    lat: np.ndarray = LAT,
    lon: np.ndarray = LON,
    file: str = "2016",
    units: str | None = "own",
    **encoding: object,
) -> Path:
    """One file of one variable in the layout of WeatherBench; without a unit where it is None."""
    folder = root / FOLDERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    k = list(FOLDERS).index(name)
    make = warm if UNITS[name] == "K" else waves
    data = make(times, k, lat, lon) if values is None else values
    field = xr.DataArray(data, {"time": times, "lat": lat, "lon": lon}, ("time", "lat", "lon"))
    if units is not None:
        field.attrs["units"] = UNITS[name] if units == "own" else units
    path = folder / f"{FOLDERS[name]}_{file}_5.625deg.nc"
    field.to_dataset(name=name).to_netcdf(path, encoding={name: encoding} if encoding else None)
    return path


def write_constants(root: Path, lat: np.ndarray = LAT, lon: np.ndarray = LON) -> Path:
    folder = root / "constants"
    folder.mkdir(parents=True, exist_ok=True)
    land = (np.cos(np.deg2rad(lat))[:, None] * np.sin(np.deg2rad(lon)) > 0.2).astype(np.float32)
    fields = {"orography": (("lat", "lon"), 900 * land), "lsm": (("lat", "lon"), land)}
    path = folder / "constants_5.625deg.nc"
    xr.Dataset(fields, {"lat": lat, "lon": lon}).to_netcdf(path)
    return path


ABOUT = {"source": "waves"}


def convert_files(files: Path, path: Path, **options) -> None:
    """A conversion of what `write_folder` wrote, in one thread unless told otherwise."""
    options = {"scheduler": "synchronous"} | options
    convert(source(files).open(), path, SPLITS, source=ABOUT, **options)


def source(root: Path, variables: tuple[str, ...] = ("z", "u10", "v10")) -> WeatherBenchSource:
    return WeatherBenchSource(
        str(root), variables, FOLDERS, "constants", ("orography", "lsm"), "*_5.625deg.nc"
    )


def write_folder(
    root: Path, variables: tuple[str, ...] = ("z", "u10", "v10"), days: int = 20, step: int = 1
) -> Path:
    for name in variables:
        write_variable(root, name, hours("2016-01-01", days * 24 // step, step))
    write_constants(root)
    return root


def make_store(
    base: Path, variables: tuple[str, ...] = ("z", "u10", "v10"), **options: object
) -> TrainingStore:
    """A finished store of 20 hourly days on an 8 × 16 grid."""
    root = write_folder(base / "files", variables)
    convert(source(root, variables).open(), base / "store", SPLITS, source={}, **options)
    return open_store(base / "store")


def contents(path: Path) -> dict[str, bytes]:
    """File → bytes of a store, but for the log."""
    return {
        str(p.relative_to(path)): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file() and p.name != "convert.log"
    }


FINE_LAT = -90.0 + 11.25 * (np.arange(16) + 0.5)
FINE_LON = 11.25 * np.arange(32)


def make_fine_store(
    base: Path, change: Callable[[np.ndarray], None] | None = None, **options: object
) -> TrainingStore:
    """A store of 20 six-hourly days on a 16 × 32 grid; ``change`` may alter each variable."""
    times, names = hours("2016-01-01", 80, 6), ("z", "u10", "v10")
    for k, name in ((0, "z"), (2, "u10"), (3, "v10")):
        values = waves(times, k, FINE_LAT, FINE_LON)
        if change:
            change(values)
        write_variable(
            base / "files", name, times, values=values, lat=FINE_LAT, lon=FINE_LON
        )  # fmt: skip
    write_constants(base / "files", FINE_LAT, FINE_LON)
    convert(source(base / "files", names).open(), base / "store", SPLITS, source={}, **options)
    return open_store(base / "store")


YEARS = {
    "train": ["2014-01-10", "2016-03"],
    "val": ["2016-04", "2016-12"],
    "test": ["2017-01", "2017-11-15"],
}


def make_years(base: Path, splits: dict[str, list[str]] = YEARS) -> TrainingStore:
    """Six-hourly years 2014 to 2017 with a yearly cycle; one step of May 2015 is missing."""
    times = hours("2014-01-01", 4 * 1461, 6)
    year = np.sin(2 * np.pi * np.arange(len(times)) / 1461.0)[:, None, None]
    kept = times != np.datetime64("2015-05-17T12")
    for k, name in ((0, "z"), (2, "u10"), (3, "v10")):
        values = (waves(times, k) + 7 * year).astype(np.float32)
        write_variable(base / "files", name, times[kept], values=values[kept])
    write_constants(base / "files")
    convert(source(base / "files").open(), base / "store", splits, source={})
    return open_store(base / "store")
