"""Manifests made right again: what somebody would do who writes them himself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from climate.store.reader import digest_shard
from vgbdm.storage.sealing import describe_arrays, digest_tree, write_manifest

OTHERS = (".conversion", ".lock", "convert.log", "monthly")


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def rewrite(folder: Path, **facts: Any) -> None:
    """The manifest with other facts, and its own digest right."""
    write_manifest(folder, manifest_of(folder) | facts)


def reseal(folder: Path, **facts: Any) -> None:
    """The manifest with the digests that the files have now; seals stay where shards do."""
    old = manifest_of(folder)["files"]
    files = digest_tree(folder, OTHERS)
    files = {n: [*want, *old.get(n, [])[2:]] for n, want in files.items()}
    arrays = describe_arrays(folder)
    rewrite(folder, **{"files": files, "arrays": arrays} | facts)


def seal_states(folder: Path, grid: tuple[int, int]) -> None:
    """A manifest for sharded arrays that a test wrote; ``grid``: chunks of a shard."""
    files = digest_tree(folder)
    for name in (n for n in files if "/c/" in n):
        files[name] = digest_shard(folder / name, *grid)
    write_manifest(folder, {"kind": "test", "files": files, "arrays": describe_arrays(folder)})
