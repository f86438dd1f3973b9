"""Metadata of a group's arrays in the group's own, as xarray and zarr look for them.

Without them a reader lists the folder, and warns: of their lack, and of each file beside the
arrays, such as a manifest. Ours read an array by its own metadata, also in older folders.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vgbdm.storage.confine import parse_json, read_bytes
from vgbdm.storage.files import write_bytes

GROUP = "zarr.json"
INLINE = "consolidated_metadata"


def is_consolidated(folder: Path) -> bool:
    """Whether a group holds the metadata of its arrays."""
    return _read(folder / GROUP).get(INLINE) is not None


def consolidate(folder: Path, *others: Path) -> None:
    """Put the metadata of all arrays into their group's; the same arrays make the same bytes.

    Args:
        folder: of the group.
        others: folders whose arrays count as the group's, the first ones before the later ones; by
            default the group's own.
    """
    held: dict[str, Any] = {}
    for place in others or (folder,):
        for path in sorted(place.glob(f"*/{GROUP}")):
            facts = _read(path)
            if facts.get("node_type") == "array":
                held[path.parent.name] = facts
    arrays = {name: held[name] for name in sorted(held)}
    _write(folder, {"kind": "inline", "must_understand": False, "metadata": arrays})


def separate(folder: Path) -> None:
    """Take the metadata of arrays out of those of their group, which then are as they began."""
    if is_consolidated(folder):
        _write(folder, None)


def begin(folder: Path) -> None:
    """Drop the empty place for metadata of arrays that zarr 3.1.0 leaves in those of a new group.

    What `separate` leaves is alike then, whichever zarr has made the group.
    """
    if INLINE in _read(folder / GROUP):
        _write(folder, None)


def _read(path: Path) -> dict[str, Any]:
    return parse_json(read_bytes(path), path, "make it again")


def _write(folder: Path, inline: dict[str, Any] | None) -> None:
    facts = {name: value for name, value in _read(folder / GROUP).items() if name != INLINE}
    if inline is not None:
        facts[INLINE] = inline
    write_bytes(folder / GROUP, json.dumps(facts, indent=2).encode())
