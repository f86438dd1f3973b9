"""GRIB files written by ecCodes, on the grid of the other small archives."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
from builders import LAT, LON

GRID = {
    "Ni": len(LON),
    "Nj": len(LAT),
    "latitudeOfFirstGridPointInDegrees": LAT[-1],
    "latitudeOfLastGridPointInDegrees": LAT[0],
    "longitudeOfFirstGridPointInDegrees": LON[0],
    "longitudeOfLastGridPointInDegrees": LON[-1],
    "iDirectionIncrementInDegrees": LON[1],
    "jDirectionIncrementInDegrees": LAT[1] - LAT[0],
    "bitsPerValue": 24,
}


def message(
    name: str, time: np.datetime64, values: np.ndarray, edition: int = 1, **keys: Any
) -> bytes:
    """A map (H, W) as of the small archives, latitudes ascending, in the order of GRIB's.

    Args:
        name: short name of ecCodes.
        time: initial one.
        values: in its unit.
        edition: 1 or 2.
        keys: of ecCodes; a level says that it is one of pressure, in hPa.
    """
    place = "pl" if "level" in keys else "sfc"
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_{place}_grib{edition}")
    stamp = str(time.astype("datetime64[m]"))
    about = {"shortName": name, "dataDate": int(stamp[:10].replace("-", "")),
             "dataTime": int(stamp[11:].replace(":", ""))}  # fmt: skip
    for key, value in {**GRID, **about, **keys}.items():
        eccodes.codes_set(handle, key, value.item() if isinstance(value, np.generic) else value)
    eccodes.codes_set_values(handle, values[::-1].astype(float).ravel())
    raw: bytes = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return raw


def write_grib(path: Path, messages: Iterable[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(messages))
    return path
