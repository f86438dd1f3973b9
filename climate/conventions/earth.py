"""Constants of the Earth."""

from __future__ import annotations

EARTH_RADIUS = 6.371e6
"""Mean radius, m."""
GRAVITY = 9.80665
"""m s-2, by which geopotential height becomes geopotential (WMO, CIPM 1901)."""
