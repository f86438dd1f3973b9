"""What a conversion has done so far, kept beside the data until the manifest is in place.

    STORE/.conversion/plan.json          what is being converted, the digests of the coordinates,
                                         and which points may be masked
    STORE/.conversion/shards/000012.json digests and partial sums of a shard that is on disk, and
                                         its mask where it is another one than planned
    STORE/convert.log                    who did what when; the only file with a clock

A record is written after its shard is synced and digested, so that a record without its shard
cannot be.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from climate.store.swap import DROP_BEGUN, LOG, RECORDS_FOLDER
from vgbdm.errors import InputError
from vgbdm.storage.confine import resolve
from vgbdm.storage.files import is_aside, read_json, sync, write_json
from vgbdm.storage.lock import LOCK
from vgbdm.storage.sealing import Files, check_types, digest_tree, entry_of, matches

TIMED = ("state", "filled")
"""Arrays that are in shards."""


def digest_store(root: Path) -> Files:
    """Digests of all files of a store that is being converted, but its log, lock and records."""
    return digest_tree(root, (RECORDS_FOLDER, LOG, LOCK, "monthly"))


def sync_tree(root: Path) -> None:
    """Everything below a folder on disk, but what another process makes for a moment."""
    for entry in sorted(root.rglob("*")):
        if not is_aside(entry):
            sync(entry)
    sync(root)


def say(store: Path, text: str) -> None:
    """A line in the store's log."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with (store / LOG).open("a") as stream:
        stream.write(f"{now} {socket.gethostname()} {os.getpid()} {text}\n")


class Journal:
    """The folder of records.

    Args:
        store: whose conversion it is.
        folder: of the records; None: in the store.
    """

    arrays: Collection[str] | None = TIMED
    """Whose shards are recorded; None: of any."""
    what = "conversion"
    drop_begun = DROP_BEGUN

    def __init__(self, store: Path, folder: Path | None = None) -> None:
        self.store, self.folder = store, folder or store / RECORDS_FOLDER
        self.where = f"store {store}"
        self.plan, self.shards = self.folder / "plan.json", self.folder / "shards"

    def begin(self, fingerprint: Mapping[str, Any], files: Files, mask: str | None = None) -> None:
        """Say what will be converted, once all but the shards is on disk.

        Args:
            fingerprint: of the conversion.
            files: digests of what is there.
            mask: which points may be masked, as `climate.store.mask.pack` gives it.
        """
        self.shards.mkdir(parents=True, exist_ok=True)
        write_json(self.plan, {"fingerprint": fingerprint, "files": files, "mask": mask})

    def check(self, fingerprint: Mapping[str, Any]) -> None:
        """Whether the conversion that was begun here is this one.

        Raises:
            InputError: if it is another.
        """
        held = read_json(self.plan, self.drop_begun)
        own = json.loads(json.dumps(fingerprint))
        other = sorted(k for k in own if held["fingerprint"].get(k) != own[k])
        if other:
            raise InputError(
                f"{self.where}: a {self.what} with other {', '.join(other)} was begun here; give "
                f"what it was begun with, or {self.drop_begun.removeprefix('give ')}"
            )

    def record(self, index: int) -> Path:
        """The file of a shard's record."""
        return self.shards / f"{index:06d}.json"

    def load(self, root: Path, count: int) -> dict[int, dict[str, Any]]:
        """Records whose files are on disk as they say; others are dropped."""
        found = {}
        for index in (k for k in range(count) if self.record(k).exists()):
            facts = self._read(index)
            files = {resolve(root, name): want for name, want in facts["files"].items()}
            if all(matches(path, want) for path, want in files.items()):
                found[index] = facts
            else:
                self.record(index).unlink()
        return found

    def load_all(self, count: int, first: int = 0) -> list[dict[str, Any]]:
        """Records in shard order, without another look at the shards."""
        return [self._read(index) for index in range(first, count)]

    def _read(self, index: int) -> dict[str, Any]:
        """A record: the files of a shard, and what it adds up to."""
        facts = read_json(self.record(index), self.drop_begun)
        check_types(
            facts, {"files": dict, "partial": dict | None}, self.record(index), self.drop_begun
        )
        for name in facts["files"]:
            entry_of(facts, name)
            resolve(self.store, name, self.arrays, self.drop_begun)
        return facts

    def files(self) -> Files:
        """Digests of what was there at the beginning."""
        facts = read_json(self.plan, self.drop_begun)
        check_types(facts, {"files": dict, "fingerprint": dict}, self.plan, self.drop_begun)
        return {name: entry_of(facts, name) or [] for name in facts["files"]}

    def check_begun(self, root: Path) -> None:
        """Refuse to go on where something else than shards is no longer as it was begun.

        Raises:
            InputError: naming the file.
        """
        for name, want in self.files().items():
            if not matches(resolve(root, name, remedy=self.drop_begun), want):
                raise InputError(
                    f"{root / name}: damaged since the {self.what} was begun; {self.drop_begun}"
                )

    def mask(self) -> str | None:
        """Which points may be masked, packed; None for none."""
        return read_json(self.plan, self.drop_begun).get("mask")

    def drop(self) -> None:
        """Remove the folder; the plan last, so that a kill leaves nothing that looks half-done."""
        if not self.folder.exists():
            return
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry != self.plan:
                entry.unlink()
        self.plan.unlink(missing_ok=True)
        self.folder.rmdir()
        sync(self.store)
