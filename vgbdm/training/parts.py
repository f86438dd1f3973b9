"""The tensors of a checkpoint in parts, each written by one rank, and whole again.

    KIND-00002.safetensors   what rank 2 holds of KIND, by name: tensors, or flat pieces of some
    part-00002.json          which pieces these are; only until the index is written
    index.json               of all ranks: bytes and SHA-256 of each part, and for each tensor its
                             shape and pieces (part, offset in the flattened tensor, numbers)

Nothing here is collective: rank 0 finds on the disk what the others have written.

Shapes: a piece is (n,), or of its tensor's shape where it is all of it.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import torch
from annotated_types import Ge, MinLen
from pydantic import BaseModel, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.storage.files import follow_umask, new_token, read_json, sync, write_json

INDEX, MANIFEST, TENSORS = "index.json", "manifest.json", ".safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""Kinds that the optimiser goes on with."""
LOOK_SECONDS = 0.05
"""Between two looks of rank 0 at what other ranks have written."""


class GivenUpError(Exception):
    """This rank's work on a checkpoint is in vain: another rank could not do its own."""


class Cut(NamedTuple):
    """Which piece of a tensor it is.

    Attributes:
        shape: of the whole tensor.
        offset: of the piece in the flattened tensor.
    """

    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Part:
    """What one rank holds of a checkpoint.

    Attributes:
        tensors: by kind and name.
        cuts: of those that are pieces (n,); what is not named is whole.
        rank: of this process.
        ranks: that write it together.
        token: by which they know it, see `vgbdm.storage.files.aside_of`.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    cuts: Mapping[str, Mapping[str, Cut]] = field(default_factory=dict)
    rank: int = 0
    ranks: int = 1
    token: int = field(default_factory=new_token)


Whole = Annotated[int, Ge(0)]


class Entry(BaseModel):
    """A tensor in the index: its shape and (part, offset, numbers) of its pieces."""

    shape: list[Whole]
    pieces: Annotated[list[tuple[str, Whole, Whole]], MinLen(1)]

    @model_validator(mode="after")
    def is_covered(self) -> Self:
        """The pieces make the tensor, one after the other."""
        end = 0
        for _, offset, count in sorted(self.pieces, key=lambda piece: piece[1]):
            if offset != end:
                raise ValueError
            end += count
        if end != math.prod(self.shape):
            raise ValueError
        return self


class Index(BaseModel):
    """What a checkpoint holds: of each part bytes and SHA-256, and tensors by kind and name."""

    parts: dict[str, dict[str, Any]]
    tensors: dict[str, dict[str, Entry]]

    @model_validator(mode="after")
    def is_inside(self) -> Self:
        """Parts lie in the folder, and pieces in parts."""
        entries = (entry for held in self.tensors.values() for entry in held.values())
        named = {file for entry in entries for file, *_ in entry.pieces}
        if not named <= self.parts.keys() or any(Path(n).name != n for n in self.parts):
            raise ValueError
        return self


# --- writing --------------------------------------------------------------------------------------


def describe(path: Path) -> dict[str, Any]:
    """Size and digest of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _own_index(folder: Path, rank: int) -> Path:
    return folder / f"part-{rank:05d}.json"


def write_part(folder: Path, part: Part) -> None:
    """Write what a rank holds, on disk, and then what it is.

    Args:
        folder: of all ranks; made where it is not there.
        part: of this rank.

    Raises:
        GivenUpError: if rank 0 has removed the folder meanwhile.
        OSError, SafetensorError: if the disk does not take it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Any] = {}
    held: dict[str, Any] = {}
    try:
        for kind, values in part.tensors.items():
            path = folder / f"{kind}-{part.rank:05d}{TENSORS}"
            save_file({name: value.contiguous() for name, value in values.items()}, path)
            follow_umask(path)
            sync(path)
            files[path.name] = describe(path)
            cuts = part.cuts.get(kind, {})
            held[kind] = {
                name: (*cuts.get(name, Cut(tuple(value.shape), 0)), path.name, value.numel())
                for name, value in values.items()
            }
        write_json(_own_index(folder, part.rank), {"parts": files, "tensors": held})
    except (OSError, SafetensorError):
        if folder.is_dir():
            raise
        raise GivenUpError from None


def join_parts(folder: Path, ranks: int, given_up: Callable[[], bool]) -> None:
    """Wait for the parts of all ranks and write their index.

    Args:
        folder: that they write into.
        ranks: how many there are.
        given_up: whether it is in vain to wait.

    Raises:
        GivenUpError: where it is.
    """
    parts: dict[str, Any] = {}
    tensors: dict[str, Any] = {}
    for rank in range(ranks):
        own = _own_index(folder, rank)
        while not own.exists():
            if given_up():
                raise GivenUpError
            time.sleep(LOOK_SECONDS)
        said = read_json(own)
        parts |= said["parts"]
        for kind, held in said["tensors"].items():
            whole = tensors.setdefault(kind, {})
            for name, (shape, offset, file, count) in held.items():
                entry = whole.setdefault(name, {"shape": shape, "pieces": []})
                entry["pieces"].append([file, offset, count])
    index = Index.model_validate({"parts": parts, "tensors": tensors})
    write_json(folder / INDEX, index.model_dump())
    for rank in range(ranks):
        _own_index(folder, rank).unlink()


# --- reading --------------------------------------------------------------------------------------


class Stored(Mapping[str, Tensor]):
    """The tensors of one kind, each read and put together when it is asked for.

    Args:
        folder: of the checkpoint.
        entries: name → shape and pieces, as in the index.

    Raises:
        InputError: if a file is missing, damaged, or holds another piece than the index says.
    """

    def __init__(self, folder: Path, entries: Mapping[str, Entry]) -> None:
        self.folder, self.entries = folder, entries
        self._open: dict[str, Any] = {}

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Of the tensors, by name."""
        return {name: torch.Size(entry.shape) for name, entry in self.entries.items()}

    def __getitem__(self, name: str) -> Tensor:
        entry = self.entries[name]
        parts = [self._read(file, name, count) for file, _, count in entry.pieces]
        if len(parts) == 1:
            return parts[0].reshape(entry.shape)
        whole = torch.empty(math.prod(entry.shape), dtype=parts[0].dtype)
        for (_, offset, count), part in zip(entry.pieces, parts, strict=True):
            whole[offset : offset + count] = part.flatten()
        return whole.reshape(entry.shape)

    def _read(self, file: str, name: str, count: int) -> Tensor:
        if file not in self._open:
            self._open[file] = open_part(self.folder / file)
        try:
            piece: Tensor = self._open[file].get_tensor(name)
        except SafetensorError as error:
            raise InputError(f"{self.folder / file}: {error}; use another checkpoint") from None
        if piece.numel() != count:
            raise InputError(f"{self.folder / file}: {name} is not what {INDEX} says")
        return piece

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def open_part(path: Path) -> Any:
    """A file of tensors.

    Raises:
        InputError: if it is missing, damaged or no safetensors file.
    """
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error})") from None


def read_index(folder: Path) -> Index:
    """The index of a checkpoint.

    Raises:
        InputError: if it is not one.
    """
    try:
        return Index.model_validate(read_json(folder / INDEX))
    except ValidationError:
        raise InputError(f"{folder / INDEX}: is damaged; use another checkpoint") from None


def stored(folder: Path) -> dict[str, Stored]:
    """The tensors of a checkpoint by kind, read when they are asked for.

    Raises:
        InputError: if it does not say what it holds.
    """
    index = read_index(folder) if (folder / INDEX).exists() else _index_of_files(folder)
    return {kind: Stored(folder, entries) for kind, entries in index.tensors.items()}


def _index_of_files(folder: Path) -> Index:
    """The index of a checkpoint of format 2, where each kind is one file of whole tensors."""
    tensors: dict[str, Any] = {}
    files = [n for n in read_json(folder / MANIFEST)["files"] if n.endswith(TENSORS)]
    for name in files:
        held = open_part(folder / name)
        shapes = {key: held.get_slice(key).get_shape() for key in held.keys()}  # noqa: SIM118
        tensors[name.removesuffix(TENSORS)] = {
            key: {"shape": shape, "pieces": [(name, 0, math.prod(shape))]}
            for key, shape in shapes.items()
        }
    return Index.model_validate({"parts": {name: {} for name in files}, "tensors": tensors})


def check_shapes(
    path: Path, held: Mapping[str, Sequence[int]], wanted: Mapping[str, Sequence[int]]
) -> None:
    """Refuse tensors that are not those of a model.

    Args:
        path: of their kind.
        held: shapes in the checkpoint.
        wanted: by the model.

    Raises:
        InputError: naming the first one.
    """
    for name in sorted(held.keys() | wanted.keys()):
        if name in held and name in wanted and held[name] == wanted[name]:
            continue
        has, wants = (
            f"of shape {tuple(shapes[name])}" if name in shapes else "not at all"
            for shapes in (held, wanted)
        )
        raise InputError(
            f"{path}: model and weights do not fit together, it has {name} {has}, the model "
            f"{wants}; use another checkpoint, or the model options it was trained with"
        )
