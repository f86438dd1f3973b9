"""What the short names of channels mean: units and CF standard names."""

from __future__ import annotations

CHANNELS: dict[str, dict[str, str]] = {
    "z": {"long_name": "geopotential", "standard_name": "geopotential", "units": "m2 s-2"},
    "t": {"long_name": "temperature", "standard_name": "air_temperature", "units": "K"},
    "t2m": {"long_name": "2 metre temperature", "standard_name": "air_temperature", "units": "K"},
    "u10": {
        "long_name": "10 metre eastward wind",
        "standard_name": "eastward_wind",
        "units": "m s-1",
    },
    "v10": {
        "long_name": "10 metre northward wind",
        "standard_name": "northward_wind",
        "units": "m s-1",
    },
}
"""CF attributes by short name; a source's own attributes go before these."""


def channel_attributes(name: str, own: dict[str, object]) -> dict[str, str]:
    """Attributes of a channel: its own where it has them, else what is known of the name."""
    known = CHANNELS.get(name, {"long_name": name, "units": "1"})
    kept = {k: str(own[k]) for k in ("long_name", "standard_name", "units") if own.get(k)}
    return {**known, **kept}
