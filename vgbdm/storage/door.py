"""The door for Zarr: metadata are read as data and held against a list before anything is decoded.

What a Zarr array is decoded by stands in its metadata, by name; a name such as ``pickle``, or an
array of Python objects, makes decoding run whatever the data say. Every byte of metadata passes
`check_metadata` on its way to zarr-python, whether it stands in an array's own file or in
consolidated metadata, on a disk or behind a URL.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from vgbdm.errors import InputError
from vgbdm.storage.confine import parse_json, resolve
from vgbdm.storage.network import CutShortError
from vgbdm.storage.remote import open_remote
from vgbdm.storage.whole import METADATA, Lengths, is_metadata

OWN = frozenset({"bytes", "sharding_indexed", "crc32c", "blosc", "zstd", "vlen-utf8"})
"""Codecs that this project writes with."""
_NUMERIC = {
    "adler32", "astype", "bitround", "blosc", "bz2", "crc32", "crc32c", "delta", "fixedscaleoffset",
    "fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma", "packbits", "pcodec", "quantize",
    "shuffle", "zfpy", "zlib", "zstd",
}  # fmt: skip
FOREIGN = OWN | _NUMERIC | {"transpose"} | {f"numcodecs.{name}" for name in _NUMERIC}
"""Codecs that give numbers of numbers, and do nothing else."""
TYPES = re.compile(r"bool|string|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)")
OBJECT_TYPES = {"numpy.datetime64", "numpy.timedelta64", "fixed_length_utf32"}
TYPES_2 = re.compile(r"[<>|](b1|[iu][1248]|f[248]|c(8|16)|[mM]8(\[\d*[a-zA-Zµ]+\])?|[SU]\d{1,5})")
"""As version 2 writes them; no objects, no records."""
CHUNK_BYTES, SHARD_BYTES = 2**31, 2**36
"""Of what is decoded at once, and of what is kept in one file."""
LINE_LENGTH = 2**24
"""Of an array of one dimension: coordinates are read whole when a store is opened."""
ZSTANDARD = b"\x28\xb5\x2f\xfd"
"""What a frame begins with."""
ATTRIBUTES = ".zattrs"
"""Of version 2, in which nothing says how to decode, whatever an attribute is called."""
MOST_AXES = 32
ITEM_BYTES = 16
FOREIGN_REMEDY = (
    "only numbers are read from stores of others: write it anew with numeric types and the usual "
    "codecs"
)


def check_metadata(
    facts: Mapping[str, Any], where: str, remedy: str, allowed: frozenset[str] = FOREIGN
) -> None:
    """Refuse metadata of a node that would make decoding run something, or take endless memory.

    Args:
        facts: of an array or a group, of Zarr version 2 or 3, or consolidated.
        where: whose they are, for the message.
        remedy: what to do.
        allowed: names of codecs.

    Raises:
        InputError: one line.
    """
    place = where
    try:
        for name, node in _nodes(facts):
            place = f"{where}: {name}" if name else where
            _check_array(node, place, allowed)
    except _RefusedError as error:
        raise InputError(f"{error}; {remedy}") from None
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError):
        raise InputError(f"{place}: are no metadata of a Zarr array or group; {remedy}") from None


class _RefusedError(Exception):
    """The message without its remedy."""


def _nodes(facts: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The arrays that a file of metadata describes, by their names."""
    inline = facts.get("consolidated_metadata")
    held = dict((inline or {}).get("metadata", {}))
    if "zarr_consolidated_format" in facts:
        old = facts["metadata"]
        held |= {k: v for k, v in old.items() if str(k).rsplit("/", 1)[-1] != ATTRIBUTES}
    found = [("", facts), *((str(name), node) for name, node in held.items())]
    return [(name, node) for name, node in found if "shape" in node]


def _check_array(node: Mapping[str, Any], where: str, allowed: frozenset[str]) -> None:
    if node.get("zarr_format") == 2:
        kind, size = node["dtype"], _size_2(node["dtype"], where)
        names = [c["id"] for c in [node["compressor"], *(node["filters"] or [])] if c is not None]
        outer = inner = node["chunks"]
    else:
        kind = node["data_type"]
        size = _size_3(kind, where)
        outer = node["chunk_grid"]["configuration"]["chunk_shape"]
        names, inner = _codecs_3(node["codecs"], outer)
    other = sorted({str(name) for name in names} - allowed)
    if other:
        raise _RefusedError(
            f"{where}: codec {other[0]!r} is not on the list of what may be decoded"
        )
    shape = _lengths(node["shape"], 0, where)
    if any(len(_lengths(part, 1, where)) != len(shape) for part in (outer, inner)):
        raise _RefusedError(f"{where}: chunks of {outer} do not divide a shape of {list(shape)}")
    if len(shape) == 1 and shape[0] > LINE_LENGTH:
        raise _RefusedError(f"{where}: {shape[0]} values in a line, {LINE_LENGTH} are the most")
    for part, limit in ((inner, CHUNK_BYTES), (outer, SHARD_BYTES)):
        if size * math.prod(part) > limit:
            raise _RefusedError(f"{where}: chunks of {part} {kind}, {limit} bytes are the most")


def _size_2(kind: Any, where: str) -> int:
    """Bytes of a number of a type of version 2."""
    if not isinstance(kind, str) or not TYPES_2.fullmatch(kind):
        raise _RefusedError(f"{where}: holds {str(kind)[:50]!r}, which is no type of numbers")
    length = int(re.findall(r"\d+", kind)[0])
    return 4 * length if kind[1] == "U" else length


def _size_3(kind: Any, where: str) -> int:
    """Bytes of a number, at most."""
    name = kind.get("name") if isinstance(kind, Mapping) else kind
    held = OBJECT_TYPES if isinstance(kind, Mapping) else ()
    if name not in held and not (isinstance(name, str) and TYPES.fullmatch(name)):
        raise _RefusedError(f"{where}: holds {str(name)[:50]!r}, which is no type of numbers")
    if name == "fixed_length_utf32":
        return int(kind["configuration"]["length_bytes"])
    return ITEM_BYTES


def _codecs_3(codecs: Sequence[Any], chunk: Any) -> tuple[list[str], Any]:
    """Names of all codecs, those inside of shards too, and the shape of what is decoded at once."""
    names, inner = [], chunk
    for codec in codecs:
        name = codec if isinstance(codec, str) else codec["name"]
        names.append(name)
        if name == "sharding_indexed":
            options = codec["configuration"]
            within, inner = _codecs_3(options["codecs"], options["chunk_shape"])
            names += [*within, *_codecs_3(options.get("index_codecs", []), inner)[0]]
    return names, inner


def _lengths(values: Any, least: int, where: str) -> tuple[int, ...]:
    """A shape: a few whole numbers that are not less than ``least``."""
    if not isinstance(values, list) or len(values) > MOST_AXES:
        raise _RefusedError(f"{where}: its shape is none")
    if not all(type(n) is int and least <= n < 2**53 for n in values):
        raise _RefusedError(f"{where}: its shape {values} is none")
    return tuple(values)


def check_packed(raw: bytes, where: str, remedy: str) -> None:
    """Refuse a chunk that says that it unpacks to more than any chunk of ours.

    The header of a Zstandard frame (RFC 8878, §3.1.1.1) gives the size that memory is taken for;
    that of blosc has no room for a larger one.

    Raises:
        InputError: if it gives none, or one that is too large.
    """
    if raw[:4] != ZSTANDARD or len(raw) < 5:
        return
    size_flag, single = raw[4] >> 6, raw[4] >> 5 & 1
    at = 5 + (not single) + (0, 1, 2, 4)[raw[4] & 3]
    length = (single, 2, 4, 8)[size_flag]
    size = int.from_bytes(raw[at : at + length], "little") + (256 if size_flag == 1 else 0)
    if not length or size > CHUNK_BYTES:
        many = size if length else "any number of"
        raise InputError(f"{where}: would unpack to {many} bytes; {remedy}")


class Guarded(WrapperStore[Store]):
    """A store of others: its metadata pass the door, and a local one is read from files only.

    What a local one gives is all of it, as far as its headers say; one behind a URL sees to that by
    itself, and asks again.

    Args:
        store: to read from.
        where: its name, for messages.
        lengths: what its metadata say of chunks; shared by its copies.
    """

    def __init__(self, store: Store, where: str, lengths: Lengths | None = None) -> None:
        super().__init__(store)
        self.where = where
        self.lengths = Lengths() if lengths is None else lengths

    def _with_store(self, store: Store) -> Guarded:
        return type(self)(store, self.where, self.lengths)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As of the store.

        Raises:
            InputError: for metadata that may not be decoded, what is no regular file, or a chunk
                that is cut off.
        """
        local = isinstance(self._store, LocalStore)
        if isinstance(self._store, LocalStore):
            self._check_file(Path(self._store.root) / key)
        found = await self._store.get(key, prototype, byte_range)
        if found is None:
            return None
        where = f"{self.where.rstrip('/')}/{key}"
        if is_metadata(key):
            facts = parse_json(found.to_bytes(), where, FOREIGN_REMEDY)
            if key.rsplit("/", 1)[-1] != ATTRIBUTES:
                check_metadata(facts, where, FOREIGN_REMEDY)
            self.lengths.note(key, found.to_bytes())
        if not local:
            return found
        try:
            return self.lengths.whole(key, found, byte_range)
        except CutShortError as error:
            raise InputError(f"{where}: is cut off, {error} are there; fetch it again") from None

    def _check_file(self, path: Path) -> None:
        """Refuse what would wait for a writer, such as a pipe."""
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            return  # the store says what is wrong with it
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputError(f"{path}: is no regular file; remove it")


def open_foreign(root: str, options: Mapping[str, Any] | None = None) -> tuple[Guarded, str, int]:
    """Somebody else's Zarr group, behind the door.

    Args:
        root: path or fsspec URL.
        options: of the URL's fsspec backend.

    Returns:
        Its store, its path in that, and the version of Zarr.

    Raises:
        InputError: for what may not be decoded, or a server that does not give it; whatever
            zarr-python raises for what it cannot open.
    """
    if "://" in root:
        store = Guarded(open_remote(root, options or {}), root)
    else:
        store = Guarded(LocalStore(root, read_only=True), root)
        for name in METADATA:
            store._check_file(Path(root) / name)
    group = zarr.open_group(store, mode="r", use_consolidated=False)
    return store, group.path, group.metadata.zarr_format


def open_array(root: Path, name: str, mode: Any = "r+", remedy: str = "") -> zarr.Array[Any]:
    """An array of this project that is being written, by its place in a group.

    Raises:
        InputError: if it is missing, or its metadata are not as this project writes them.
    """
    remedy = remedy or "restart what writes it"
    path = resolve(root, f"{name}/zarr.json", remedy=remedy)
    try:
        facts = parse_json(path.read_bytes(), path, remedy)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    check_metadata(facts, str(path), remedy, OWN)
    return zarr.open_array(root / name, mode=mode, zarr_format=3)
