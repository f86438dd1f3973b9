"""Small archives in the layouts of others: WeatherBench 2 / ARCO-ERA5 Zarr, plain CF NetCDF."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from builders import LAT, LON, warm, waves

from climate.sources.cf_files import CFFilesSource
from climate.sources.zarr_store import ZarrStoreSource

LEVELS = np.array([300, 500, 850])
FIELDS = {
    "z": {"name": "geopotential", "level": 500},
    "z8": {"name": "geopotential", "level": 850},
    "t2m": {"name": "2m_temperature"},
}
STATIC = {
    "orography": {"name": "geopotential_at_surface", "factor": 1 / 9.80665, "units": "m"},
    "lsm": {"name": "land_sea_mask"},
}


def archive(times: np.ndarray, lat: np.ndarray = LAT, lon: np.ndarray = LON) -> xr.Dataset:
    """Geopotential wave k on level k, 2 m temperature wave 3 around 280 K, and the ground.

    Dimensions are ordered as in WeatherBench 2: longitude before latitude.
    """
    levels = np.stack([waves(times, k, lat, lon) for k in range(3)], 1)
    surface = warm(times, 3, lat, lon)
    land = (np.cos(np.deg2rad(lat))[:, None] * np.sin(np.deg2rad(lon)) > 0.2).astype(np.float32)
    dims = ("time", "level", "longitude", "latitude")
    return xr.Dataset(
        {
            "geopotential": (dims, levels.swapaxes(2, 3), {"units": "m**2 s**-2"}),
            "2m_temperature": (("time", *dims[2:]), surface.swapaxes(1, 2), {"units": "K"}),
            "geopotential_at_surface": (dims[2:], (9.80665 * 900 * land).T),
            "land_sea_mask": (dims[2:], land.T),
        },
        {"time": times, "level": LEVELS, "longitude": lon, "latitude": lat},
        attrs={"title": "waves"},
    )


def weatherbench_2(
    times: np.ndarray, lat: np.ndarray = LAT, lon: np.ndarray = LON, chunk: int = 20
) -> xr.Dataset:
    """All that `configs/source/weatherbench2.yaml` names, as WeatherBench 2 lays it out.

    Args:
        times: of it.
        lat: of the grid.
        lon: of the grid.
        chunk: times in a stored chunk.
    """
    content = archive(times, lat, lon).sel(level=[500, 850])
    dims, surface = content["geopotential"].dims, content["2m_temperature"].dims
    high = 54000 + 200 * content["geopotential"].values
    warmth = np.stack([warm(times, k, lat, lon) for k in (1, 2)], 1).swapaxes(2, 3)
    content["geopotential"] = (dims, high, {"units": "m**2 s**-2"})
    content["temperature"] = (dims, warmth, {"units": "K"})
    for k, axis in enumerate("uv"):
        wind = waves(times, k, lat, lon).swapaxes(1, 2)
        content[f"10m_{axis}_component_of_wind"] = (surface, wind, {"units": "m s**-1"})
    for field in content.data_vars.values():
        field.encoding["chunks"] = tuple({"time": chunk}.get(d, field.sizes[d]) for d in field.dims)
    return content


def write_zarr(dataset: xr.Dataset, place: Path | str, **options: object) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.to_zarr(str(place), mode="w", **options)
    return str(place)


def zarr_source(root: Path | str, variables=("z", "z8", "t2m"), **options) -> ZarrStoreSource:
    settings = {"fields": FIELDS, "static": STATIC, "storage_options": {}} | options
    return ZarrStoreSource(str(root), variables, **settings)


def cf_source(root: Path, variables=("z", "z8", "t2m"), **options) -> CFFilesSource:
    settings = {"pattern": "**/*.nc", "fields": FIELDS, "static": STATIC} | options
    return CFFilesSource(str(root), variables=variables, **settings)
