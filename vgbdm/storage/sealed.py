"""A sealed folder open for reading: every file is compared with the manifest on its way in.

Each file is compared once, as it is first read; see `vgbdm.storage.sealing` for what the manifest
holds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from vgbdm.errors import InputError
from vgbdm.storage.confine import parse_json, read_bytes, resolve
from vgbdm.storage.door import METADATA, OWN, check_metadata, check_packed
from vgbdm.storage.sealing import MANIFEST, entry_of, layout_of

SMALL_BYTES = 2**20
"""Of files that are compared when a folder is opened, all of an array together."""
WHOLE_BYTES = 2**33
"""Of an array that is read whole."""


class Sealed:
    """A folder with a manifest, whose files are compared with it as they are read.

    Attributes:
        root: the folder.
        facts: of the manifest.
        remedy: what to do about damage.

    Args:
        renew: gives manifests that may hold by now; a file may be as any of them says.
    """

    def __init__(
        self,
        root: Path,
        facts: Mapping[str, Any],
        remedy: str,
        renew: Callable[[], list[Mapping[str, Any]]] | None = None,
    ) -> None:
        self.root, self.facts, self.remedy = root, facts, remedy
        self._renew, self._seen = renew, set[str]()

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return str(self.facts["digest"])

    def wants(self, name: str, renewed: bool = False) -> list[list[Any]]:
        """What a file may be: [SHA-256, bytes, …] each.

        Args:
            name: path in the folder.
            renewed: look again at what the folder says of itself.
        """
        held = self._renew() if renewed and self._renew else [self.facts]
        return [want for facts in held if (want := entry_of(facts, name)) is not None]

    def place(self, name: str) -> Path:
        """Where a file lies; nothing outside of the folder."""
        return resolve(self.root, name, remedy=self.remedy)

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None for one that neither is listed nor there.

        Raises:
            InputError: if it is missing, unlisted or not as it was written.
        """
        path = self.place(name)
        wants = self.wants(name)
        if not wants and not path.exists():
            return None
        try:
            return self._compared(name, path, wants)
        except InputError:
            again = self.wants(name, renewed=True)
            if not again or again == wants:
                raise
        return self._compared(name, path, again)

    def _compared(self, name: str, path: Path, wants: list[list[Any]]) -> bytes:
        if not wants:
            raise InputError(f"{path}: is not listed in {MANIFEST}; {self.remedy}")
        try:
            raw = read_bytes(path, max(want[1] for want in wants), self.remedy)
        except FileNotFoundError:
            raise InputError(f"{path}: is missing; {self.remedy}") from None
        if name not in self._seen:
            if [hashlib.sha256(raw).hexdigest(), len(raw)] not in [want[:2] for want in wants]:
                raise InputError(
                    f"{path}: is damaged, its bytes are not those that were written; {self.remedy}"
                )
            if name.rsplit("/", 1)[-1] == METADATA[0]:
                self._check(name, raw, path)
            check_packed(raw, str(path), self.remedy)
            self._seen.add(name)
        return raw

    def _check(self, name: str, raw: bytes, path: Path) -> None:
        """Metadata against the list, and against what the manifest says of the array."""
        facts = parse_json(raw, path, self.remedy)
        check_metadata(facts, str(path), self.remedy, OWN)
        listed = self.facts["arrays"].get(name.rpartition("/")[0])
        if "shape" not in facts:
            return
        shape, *others = layout_of(facts)
        known = isinstance(listed, list) and len(listed) == 3
        if not known or not _continues(shape, listed[0]) or others != listed[1:]:
            raise InputError(f"{path}: is not the array that {MANIFEST} tells of; {self.remedy}")

    def store(self) -> SealedStore:
        """The folder for zarr-python and xarray, read-only."""
        return SealedStore(LocalStore(self.root, read_only=True), self)

    def open(self, name: str) -> zarr.Array[Any]:
        """An array, read-only.

        Raises:
            InputError: if it is damaged or not as the manifest says.
        """
        if self.read(f"{name}/{METADATA[0]}") is None:
            raise InputError(f"{self.root}: holds no array {name}; {self.remedy}")
        return zarr.open_array(self.store(), path=name, mode="r", zarr_format=3)

    def values(self, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """A whole array.

        Args:
            name: of the array.
            shape: that it must have; None: any of one dimension.

        Raises:
            InputError: if it is damaged, of another shape, or more than memory should hold.
        """
        array = self.open(name)
        wrong = array.ndim != 1 if shape is None else array.shape != shape
        if wrong or array.nbytes > WHOLE_BYTES:
            raise InputError(f"{self.root / name}: its shape is {array.shape}; {self.remedy}")
        return np.asarray(array[...])

    def compare_small(self, name: str) -> None:
        """Compare the files of an array that is not read yet, where all of them are small.

        Raises:
            InputError: if one is damaged.
        """
        files = [file for file in self.facts["files"] if file.startswith(f"{name}/")]
        sizes = [want[1] for file in files for want in self.wants(file)]
        if sum(sizes) < SMALL_BYTES:
            for file in files:
                self.read(file)


def _continues(shape: Any, listed: Any) -> bool:
    """Whether a shape is the listed one, or has more along its first axis, as after an append."""
    same = isinstance(listed, list) and len(shape) == len(listed) and shape[1:] == listed[1:]
    return same and (not shape or shape[0] >= listed[0])


class SealedStore(WrapperStore[LocalStore]):
    """What zarr-python reads a sealed folder through.

    Args:
        store: of the folder.
        folder: that compares.
    """

    def __init__(self, store: LocalStore, folder: Sealed) -> None:
        super().__init__(store)
        self.folder = folder

    def _with_store(self, store: LocalStore) -> SealedStore:
        return type(self)(store, self.folder)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Of a file that is as it was written.

        Raises:
            InputError: if it is not.
        """
        raw = await asyncio.to_thread(self.folder.read, key)
        return None if raw is None else prototype.buffer.from_bytes(_part(raw, byte_range))

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What is listed, at the root, and what is there, below."""
        tops = {name.split("/")[0] for name in self.folder.facts["files"]}
        async for entry in self._store.list_dir(prefix):
            if prefix.strip("/") or entry.strip("/") in tops:
                yield entry

    async def exists(self, key: str) -> bool:
        """Whether the manifest lists it, or a file is there."""
        return bool(self.folder.wants(key)) or await self._store.exists(key)


def _part(raw: bytes, byte_range: ByteRequest | None) -> bytes:
    if isinstance(byte_range, RangeByteRequest):
        return raw[byte_range.start : byte_range.end]
    if isinstance(byte_range, OffsetByteRequest):
        return raw[byte_range.offset :]
    if isinstance(byte_range, SuffixByteRequest):
        return raw[-byte_range.suffix :]
    return raw
