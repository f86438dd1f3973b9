"""Global grids by a name: degrees, or rows × columns."""

from __future__ import annotations

import re

import numpy as np

from climate.grids.grid import Grid
from vgbdm.errors import InputError

WANTED = "want degrees that divide 90, such as 5.625 or 1.5, or ROWSxCOLUMNS, such as 32x64"
FINEST = 0.01
"""Degrees."""
MIN_ROWS, MIN_COLUMNS, MOST = 5, 8, 65536
"""Below which no wave is left to resolve; above which nothing fits."""


def parse_grid(value: float | str, option: str = "regrid") -> Grid:
    """A grid that models take.

    An odd count of rows has rows at the poles, an even one cell centres. Degrees mean cell centres
    where a power of two of them makes 180 (as in WeatherBench: 5.625 is 32 × 64), else rows at the
    poles (as of ERA5: 1.5 is 121 × 240).

    Args:
        value: degrees, or rows and columns.
        option: by which it is given, for messages.

    Raises:
        InputError: for anything that is none.
    """
    text = f"{option}={value}"
    height, width = _counts(value, text)
    if not (MIN_ROWS <= height <= MOST and MIN_COLUMNS <= width <= MOST) or width % 4:
        raise InputError(
            f"{text}: want at least {MIN_ROWS} rows and {MIN_COLUMNS} columns, these a multiple "
            f"of 4, and at most {MOST} of each"
        )
    poles = height % 2
    lat = 180.0 / (height - poles) * (np.arange(height) + (1 - poles) / 2) - 90.0
    return Grid(lat, 360.0 / width * np.arange(width))


def _counts(value: float | str, text: str) -> tuple[int, int]:
    """Rows and columns."""
    pair = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", str(value))
    if pair:
        return int(pair[1]), int(pair[2])
    try:
        degrees = float("nan") if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        degrees = float("nan")
    if not FINEST <= degrees <= 90:
        raise InputError(f"{text}: {WANTED}")
    width = round(360.0 / degrees)
    if width % 4 or abs(width * degrees - 360.0) > 1e-4:
        raise InputError(f"{text}: {WANTED}")
    rows = width // 2
    return rows + bool(rows & (rows - 1)), width


def name_of(grid: Grid) -> str:
    """Rows × columns, for people."""
    return f"{len(grid.lat)} × {len(grid.lon)}"
