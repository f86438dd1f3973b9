"""A Zarr store behind a URL, of which only a certain absence is an absence.

zarr-python takes a key that is absent for a chunk of fill values, so that no error may look like
one. What is denied (`vgbdm.storage.network`) is absent only where it is metadata that the
consolidated ones do not name. What is absent by the server's word is so once the server has given
the store's own metadata again, has said the same of the key again, and says it of a key that
surely is not there. All else is one line.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import FsspecStore, WrapperStore

from vgbdm.errors import InputError
from vgbdm.storage.network import AbsentError, CutShortError, DeniedError, Server, reach
from vgbdm.storage.whole import Lengths, is_metadata, nodes

ANCHORS = (".zmetadata", "zarr.json", ".zgroup", ".zarray")
"""One of them is in every store; the first two may name all others."""
SURELY_ABSENT = "no-such-key-1c9f4e"
NO_LISTING = (
    "has no consolidated metadata that can be used, and its server does not list what it holds; "
    "consolidate them where it was written (zarr.consolidate_metadata), or name another"
)
GONE = (
    "see whether the address is right (source.root, source.storage_options) and its server up, and "
    "give the same command again: what is converted stays"
)


def open_remote(url: str, options: Mapping[str, Any]) -> RemoteStore:
    """A store behind an fsspec URL, not asked yet.

    Args:
        url: of the store.
        options: of the URL's fsspec backend.
    """
    plain = FsspecStore.from_url(url, reach(url, options), read_only=True, allowed_exceptions=())
    return RemoteStore(plain, Server(url, GONE))


class RemoteStore(WrapperStore[Store]):
    """A Zarr store behind a URL, whose every read is whole, surely absent, or refused.

    Args:
        store: that asks, and hides no error.
        server: that answers.
        seen: what is known of the store; shared by its copies.
    """

    def __init__(self, store: Store, server: Server, seen: dict[str, Any] | None = None) -> None:
        super().__init__(store)
        self.server = server
        self.seen: dict[str, Any] = {"lengths": Lengths()} if seen is None else seen

    def _with_store(self, store: Store) -> RemoteStore:
        return type(self)(store, self.server, self.seen)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As of the store; None only for what surely is not there.

        Raises:
            InputError: one line, for what cannot be read.
        """
        try:
            return await self._ask(key, prototype, byte_range)
        except (AbsentError, DeniedError) as error:
            denied = isinstance(error, DeniedError)
        anchor, names = await self._metadata()
        where = self._url(key)
        if is_metadata(key) and names is not None:
            if key not in names:
                return None
            said = "forbidden" if denied else "absent"
            raise InputError(
                f"{where}: {anchor} names it, and its server says that it is {said}; "
                f"{self.server.remedy}"
            )
        if denied:
            beside = "it or all of the store is forbidden"
            if anchor:
                beside = "absent, or forbidden: it does not say which, so that no value is known"
            raise InputError(
                f"{where}: its server answers 403 ({beside}); use an account that may list the "
                "store (source.storage_options), or a copy of it"
            )
        return await self._absent(key, anchor, prototype, byte_range)

    async def _absent(
        self, key: str, anchor: str | None, prototype: BufferPrototype, part: ByteRequest | None
    ) -> Buffer | None:
        """Nothing, once it is sure that there is nothing."""
        if anchor is None:
            return None  # whoever opens it finds no store there
        try:
            await self._ask(anchor, prototype)
        except (AbsentError, DeniedError):
            raise InputError(
                f"{self._url(anchor)}: was there, and its server gives it no more; "
                f"{self.server.remedy}"
            ) from None
        try:
            return await self._ask(key, prototype, part)
        except DeniedError:
            sure = False
        except AbsentError:
            sure = await self._says_absent(prototype)
        if not sure:
            raise InputError(
                f"{self._url(key)}: its server does not answer 404 for what surely is absent, so "
                "that nobody can say whether this is; use another address of the store"
            )
        return None

    async def _says_absent(self, prototype: BufferPrototype) -> bool:
        """Whether the server answers 404 for what surely is not there."""
        if "says_absent" not in self.seen:
            try:
                await self._ask(SURELY_ABSENT, prototype)
                self.seen["says_absent"] = False
            except DeniedError:
                self.seen["says_absent"] = False
            except AbsentError:
                self.seen["says_absent"] = True
        return bool(self.seen["says_absent"])

    async def _metadata(self) -> tuple[str | None, frozenset[str] | None]:
        """A key of the store that is there, and the keys of all metadata where one says so."""
        if "metadata" not in self.seen:
            found: tuple[str | None, frozenset[str] | None] = (None, None)
            for key in ANCHORS:
                try:
                    content = await self._ask(key, default_buffer_prototype())
                except (AbsentError, DeniedError):
                    continue
                found = key, _names(key, content.to_bytes())
                break
            self.seen["metadata"] = found
        anchor, names = self.seen["metadata"]
        return anchor, names

    async def _ask(
        self, key: str, prototype: BufferPrototype, part: ByteRequest | None = None
    ) -> Buffer:
        """One key, as often as it takes."""

        async def request() -> Buffer:
            found = await self._store.get(key, prototype, part)
            if found is None:
                raise AbsentError
            if part is None and is_metadata(key):
                _check_json(found.to_bytes())
            return self.seen["lengths"].whole(key, found, part)

        found = await self.server.ask(request, self._url(key))
        if is_metadata(key):
            self.seen["lengths"].note(key, found.to_bytes())
        return found

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """As of the store.

        Raises:
            InputError: if the server does not list.
        """
        return self._list_dir(prefix)

    async def _list_dir(self, prefix: str) -> AsyncIterator[str]:
        async def request() -> list[str]:
            return [key async for key in self._store.list_dir(prefix)]

        try:
            found = await self.server.ask(request, self._url(prefix))
        except (AbsentError, DeniedError):
            found = []
        if not found:
            raise InputError(f"{self._url(prefix)}: {NO_LISTING}")
        for key in found:
            yield key

    def _url(self, key: str) -> str:
        return f"{self.server.url}/{key}".rstrip("/")


def _check_json(content: bytes) -> None:
    try:
        json.loads(content)
    except RecursionError:
        return
    except ValueError:
        raise CutShortError(f"{len(content)} bytes that are no JSON") from None


def _names(key: str, content: bytes) -> frozenset[str] | None:
    """Keys of all metadata of a store, where its consolidated ones are in a file of metadata."""
    names = frozenset(name for name, _ in nodes(key, content))
    return names | {key} if names - {key} else None
