"""A store of the version before → one of this: the same arrays, with a manifest of this version.

Nothing but the manifest is written, and only where every file is as its old manifest says.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from climate.conversion.journal import Journal, say
from climate.store.layout import FACTS, STORE_KIND, open_folder, open_store
from climate.store.reader import ShardedArray, digest_shard
from vgbdm.errors import InputError
from vgbdm.storage.confine import parse_json, read_bytes, resolve
from vgbdm.storage.door import OWN, check_metadata
from vgbdm.storage.lock import locked
from vgbdm.storage.sealing import (
    MANIFEST,
    SEAL_FORMAT,
    check_types,
    compare_digests,
    describe_arrays,
    entry_of,
    write_manifest,
)

BEFORE = 2
"""The format that is read here."""
MEND_FIRST = "mend the store with the version that made it, or convert again"


def upgrade(path: Path, force_unlock: bool = False) -> list[str]:
    """Bring a finished store to this version, and the monthly means in it.

    Args:
        path: of the store.
        force_unlock: take the lock of a process on another host.

    Returns:
        One line for each store that was brought; none where it is of this version already.

    Raises:
        InputError: if it is no such store, or a file of it is damaged.
    """
    with locked(path, force_unlock):
        if Journal(path).folder.exists():
            raise InputError(
                f"store {path}: a conversion or an append was stopped here; finish it with the "
                "version it was begun with"
            )
        raw = _read(path)
        if parse_json(raw, path / MANIFEST, MEND_FIRST).get("format") == SEAL_FORMAT:
            open_store(path)
            return []
        monthly = path / "monthly"
        months = _read(monthly) if (monthly / MANIFEST).exists() else None
        lines = [_bring(path, raw, {})]
        if months is not None:
            made_from = hashlib.sha256(raw).hexdigest()
            lines.append(_bring(monthly, months, {made_from: open_store(path).digest}))
        return lines


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path / MANIFEST)
    except FileNotFoundError:
        raise InputError(f"store {path}: not there or not finished; convert again") from None


def _bring(path: Path, raw: bytes, origins: dict[str, str]) -> str:
    """Write the manifest of this version; ``origins``: digests of manifests before → now."""
    manifest = path / MANIFEST
    facts = parse_json(raw, manifest, MEND_FIRST)
    if facts.get("format") != BEFORE:
        told = str(facts.get("format"))[:20]
        raise InputError(f"{manifest}: format {told}, {BEFORE} can be brought to this version")
    check_types(facts, FACTS | {"files": dict}, manifest, MEND_FIRST)
    files: dict[str, list[Any]] = {}
    for name in facts["files"]:
        want, place = entry_of(facts, name) or [], resolve(path, name, remedy=MEND_FIRST)
        wrong = compare_digests(place, [want])
        if wrong:
            raise InputError(f"{place}: {wrong}; {MEND_FIRST}")
        if name.endswith("zarr.json"):
            held = parse_json(read_bytes(place), place, MEND_FIRST)
            check_metadata(held, str(place), MEND_FIRST, OWN)
        files[name] = want[:2]
    facts |= {"kind": STORE_KIND, "files": files, "arrays": describe_arrays(path)}
    state = ShardedArray(open_folder(path, facts))
    for name in (name for name in files if name.startswith("state/c/")):
        files[name] = digest_shard(path / name, *state.grid)
    origin = facts["provenance"].get("derived_from")
    if origin in origins:
        facts["provenance"]["derived_from"] = origins[origin]
    write_manifest(path, facts)
    say(path, f"brought from format {BEFORE} to {SEAL_FORMAT}")
    return f"{path}: brought from format {BEFORE} to {SEAL_FORMAT}"
