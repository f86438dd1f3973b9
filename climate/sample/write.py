"""The sample's files: exactly the layout of WeatherBench 5.625° (see `climate.sources`).

A year is written at a time, so that memory is bounded for any length; a folder appears whole or
not at all.

Shapes: ``T`` hours, ``H`` latitudes (ascending), ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from climate.sample.atmosphere import Atmosphere
from climate.sample.geography import land_fraction, orography
from vgbdm.errors import InputError
from vgbdm.progress import progress
from vgbdm.storage.outputs import appearing

LAT = -90.0 + 5.625 * (np.arange(32) + 0.5)
LON = 5.625 * np.arange(64)
HOUR = np.timedelta64(1, "h")
FOLDERS = {
    "z": "geopotential_500",
    "t": "temperature_850",
    "t2m": "2m_temperature",
    "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
}
ATTRIBUTES = {
    "z": {"units": "m**2 s**-2", "long_name": "Geopotential", "standard_name": "geopotential"},
    "t": {"units": "K", "long_name": "Temperature", "standard_name": "air_temperature"},
    "t2m": {"units": "K", "long_name": "2 metre temperature"},
    "u10": {"units": "m s**-1", "long_name": "10 metre U wind component"},
    "v10": {"units": "m s**-1", "long_name": "10 metre V wind component"},
}
NOTICE = (
    "A stand-in, not ERA5: shallow water with two carried temperatures. Its wind carries its "
    "temperatures by construction, which favours grey-box models of advection; scores on it prove "
    "a pipeline and nothing about skill on the real atmosphere."
)


def make_sample(
    out: str | Path, *, days: int, seed: int, start: str, spin_up_days: int, truncation: int
) -> None:
    """Simulate and write the sample.

    Bit-equal for the same arguments, libraries and number of threads.

    Args:
        out: folder to make.
        days: length.
        seed: of the small waves it starts from.
        start: first time, ISO 8601, UTC, a whole hour.
        spin_up_days: simulated before the first time and thrown away.
        truncation: of the model.

    Raises:
        InputError: if ``out`` is not empty, or a number cannot be; or if the model became unstable.
    """
    out, first = Path(out).resolve(), _first_time(start)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"out={out} is not an empty folder; choose another")
    if days < 1 or spin_up_days < 0:
        raise InputError(f"days={days}, spin_up_days={spin_up_days}: want at least 1 and 0")
    model = Atmosphere(truncation, LAT, LON)
    about = {
        "title": f"Synthetic stand-in atmosphere, seed {seed}, {days} days, not ERA5",
        "comment": NOTICE,
    }
    times = first + np.arange(days * 24) * HOUR
    with appearing(out) as aside, torch.inference_mode():
        _write_constants(aside / "constants", about)
        states = _simulate(model, first, days, spin_up_days, seed)
        for year in np.unique(times.astype("datetime64[Y]")):
            _write_year(aside, states, times[times.astype("datetime64[Y]") == year], about)


def _first_time(start: str) -> np.datetime64:
    try:
        first = np.datetime64(start, "s")
    except ValueError:
        first = None
    if first is None or np.isnat(first) or first != first.astype("datetime64[h]"):
        raise InputError(f"start={start}: want a date or a whole hour, such as 2006-01-01")
    return first


def _simulate(
    model: Atmosphere, first: np.datetime64, days: int, spin_up_days: int, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """The fields of hour after hour from ``first``, (H, W) each, after the spin-up."""
    seconds = int(first.astype(np.int64)) - spin_up_days * 86400
    levels = model.start(seconds, seed)
    with progress(days + spin_up_days, "day", "simulating") as bar:
        for hour in range((days + spin_up_days) * 24):
            if hour > 0:
                levels = model.hour(levels, seconds + (hour - 1) * 3600)
            bar.update(hour % 24 == 23)
            if hour >= spin_up_days * 24:
                yield model.fields(levels[0])


def _write_year(
    root: Path, states: Iterator[dict[str, np.ndarray]], times: np.ndarray, about: dict[str, str]
) -> None:
    """Take the hours of one year (T,) from the simulation and write a file per variable."""
    fields = {name: np.empty((len(times), len(LAT), len(LON)), np.float32) for name in FOLDERS}
    for i in range(len(times)):
        for name, field in next(states).items():
            fields[name][i] = field
    year = str(times[0].astype("datetime64[Y]"))
    if not all(np.isfinite(field).all() for field in fields.values()):
        raise InputError(f"the sample became unstable in {year}; choose another seed")
    coords = {"lon": LON, "lat": LAT, "time": times.astype("datetime64[ns]")}
    clock = {"units": "hours since 1900-01-01", "calendar": "gregorian", "dtype": "int64"}
    for name, folder in FOLDERS.items():
        dims = ("time", "lat", "lon")
        dataset = xr.Dataset({name: (dims, fields[name], ATTRIBUTES[name])}, coords, about)
        _name_axes(dataset)
        (root / folder).mkdir(exist_ok=True)
        dataset.to_netcdf(root / folder / f"{folder}_{year}_5.625deg.nc", encoding={"time": clock})


def _write_constants(folder: Path, about: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    dims = ("lat", "lon")
    lat2d, lon2d = np.meshgrid(LAT, LON, indexing="ij")
    fields = {
        "orography": (dims, orography(LAT, LON).astype(np.float32), {"units": "m"}),
        "lsm": (
            dims,
            land_fraction(LAT, LON).astype(np.float32),
            {"units": "(0 - 1)", "long_name": "Land-sea mask"},
        ),
        "lat2d": (dims, lat2d),
        "lon2d": (dims, lon2d),
    }
    dataset = xr.Dataset(fields, {"lat": LAT, "lon": LON}, about)
    _name_axes(dataset)
    dataset.to_netcdf(folder / "constants_5.625deg.nc")


def _name_axes(dataset: xr.Dataset) -> None:
    dataset["lat"].attrs = {"units": "degrees_north", "standard_name": "latitude"}
    dataset["lon"].attrs = {"units": "degrees_east", "standard_name": "longitude"}
