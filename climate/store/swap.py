"""Files that an append moves into a store: while it does, the old and the new are right."""

from __future__ import annotations

from pathlib import Path

from vgbdm.storage.files import read_json
from vgbdm.storage.sealing import Files

RECORDS_FOLDER, LOG = ".conversion", "convert.log"
DROP_BEGUN = "give restart=true to drop what was begun"


def swap_file(store: Path) -> Path:
    """What an append that moves its files into the store says of them."""
    return store / RECORDS_FOLDER / "swap.json"


def swapping(store: Path) -> bool:
    """Whether an append has begun to move its files into the store."""
    return swap_file(store).exists()


def pending(store: Path) -> Files:
    """Digests of the files that an append moves into the store, which hold the old times too."""
    return dict(read_json(swap_file(store), DROP_BEGUN)) if swapping(store) else {}
