"""The group `gadgets`: arrays whose codecs would run a program, in every way in.

Each is read in a process that knows a decoder for Python's pickles, as old versions of numcodecs
did; the program makes a file.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from numcodecs import registry
from numcodecs.abc import Codec

from climate.conversion.verify import describe_store
from climate.sources.zarr_store import ZarrStoreSource
from fuzz.artefacts import Artefact, Values, link
from fuzz.children import run
from fuzz.judging import EXECUTED, PATIENCE, Result
from fuzz.signing import sign

HOWS = ("v2 filter", "v2 compressor", "v2 object", "v2 consolidated", "v3 codec")


class Program:
    """When it is unpickled, a file comes to be."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, int]]:
        return os.open, (self.mark, os.O_CREAT | os.O_WRONLY)


class Unpickling(Codec):
    """What numcodecs before 0.16.6 did with a codec of this name."""

    codec_id = "pickle"

    def __init__(self, **options: object) -> None:
        """Whatever the metadata says."""

    def encode(self, buf: object) -> bytes:
        """Not needed."""
        return pickle.dumps(buf)

    def decode(self, buf: object, out: object = None) -> object:
        """Runs whatever it is given."""
        return pickle.loads(bytes(memoryview(buf)))  # type: ignore[arg-type]


def plant(array: Path, mark: Path, how: str) -> None:
    """Replace an array by one whose chunk is a program."""
    shape, named = [4], {"_ARRAY_DIMENSIONS": ["x"]}
    for metadata in (array / "zarr.json", array / ".zarray"):
        if metadata.exists():
            shape = json.loads(metadata.read_text())["shape"]
            named = {"_ARRAY_DIMENSIONS": ["x"] * len(shape)}
    if (array / ".zattrs").exists():
        named = json.loads((array / ".zattrs").read_text())
    grid = shape
    shutil.rmtree(array, ignore_errors=True)
    array.mkdir(parents=True)
    payload = pickle.dumps(Program(mark))
    if how == "v3 codec":
        codec = {"name": "numcodecs.pickle", "configuration": {}}
        facts = {
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "float64",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": grid}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0.0, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}},
                                          codec], "attributes": {},
        }  # fmt: skip
        (array / "zarr.json").write_text(json.dumps(facts))
        chunk = array / "c" / "/".join("0" * len(shape)) if shape else array / "c"
    else:
        gadget = {"id": "pickle", "protocol": 5}
        text = {"id": "vlen-utf8"}
        facts = {
            "zarr_format": 2, "shape": shape, "chunks": grid, "order": "C", "fill_value": None,
            "dtype": "|O" if how != "v2 compressor" else "<f8",
            "filters": {"v2 filter": [text, gadget], "v2 object": [gadget]}.get(how, [gadget]),
            "compressor": gadget if how == "v2 compressor" else None,
        }  # fmt: skip
        if how == "v2 compressor":
            facts["filters"] = None
        (array / ".zarray").write_text(json.dumps(facts))
        (array / ".zattrs").write_text(json.dumps(named))
        if how == "v2 consolidated":
            metadata = {f"{array.name}/.zarray": facts, ".zgroup": {"zarr_format": 2}}
            whole = {"zarr_consolidated_format": 1, "metadata": metadata}
            (array.parent / ".zmetadata").write_text(json.dumps(whole))
        chunk = array / (".".join("0" * len(shape)) or "0")
    chunk.parent.mkdir(parents=True, exist_ok=True)
    chunk.write_bytes(payload)


def arrays(artefact: Artefact) -> list[str]:
    """The arrays of an artefact, by their paths inside."""
    names = [Path(name) for name in artefact.files()]
    return sorted({
        str(name.parent) for name in names
        if name.name in ("zarr.json", ".zarray") and name.parent != Path()
    })  # fmt: skip


def foreign(root: Path) -> Values:
    """Convert's way in: any Zarr that somebody has."""
    fields = {"u10": {"name": "u10"}}
    source = ZarrStoreSource(str(root), tuple(fields), fields, {}, {})
    return {"u10": source.open()["u10"].values}


def somebodys(folder: Path) -> Artefact:
    """A store of the Zarr format before, as most that there are."""
    times = np.datetime64("2016-01-01", "ns") + np.arange(40) * np.timedelta64(6, "h")
    lat, lon = -78.75 + 22.5 * np.arange(8), 22.5 * np.arange(16)
    field = np.random.default_rng(0).normal(size=(40, 8, 16)).astype(np.float32)
    u10 = (("time", "lat", "lon"), field, {"units": "m s-1"})
    dataset = xr.Dataset({"u10": u10}, {"time": times, "lat": lat, "lon": lon})
    dataset.to_zarr(folder / "somebodys", zarr_format=2, consolidated=False)
    return Artefact.of("foreign", folder / "somebodys", foreign)


def attempt(way: Callable[[Path], object], path: Path) -> None:
    """Read something where a decoder for programs is known."""
    registry.register_codec(Unpickling)
    way(path)


def tries(artefacts: dict[str, Artefact], folder: Path, draw: random.Random) -> Iterator[Result]:
    """Endlessly: one planted array and its reading."""
    with_arrays = {kind: a for kind, a in artefacts.items() if arrays(a)}
    with_arrays["foreign"] = somebodys(folder)
    mark = folder / "executed"
    while True:
        artefact = with_arrays[draw.choice([*sorted(with_arrays), "foreign"])]
        name, how = draw.choice(arrays(artefact)), draw.choice(HOWS)
        copy = link(artefact.path, folder / "copy")
        plant(copy / name, mark, how)
        sign(artefact.kind, copy, name)
        ways: list[Callable[[Path], object]] = [artefact.read]
        if artefact.kind in ("store", "months"):
            ways.append(describe_store)
        way = draw.choice(ways)
        what = f"{artefact.kind}: {how} in {name}, read by {getattr(way, '__name__', 'its reader')}"
        verdict, text = run(partial(attempt, way, copy), PATIENCE)
        shutil.rmtree(copy)
        if mark.exists():
            verdict = EXECUTED
            mark.unlink()
        yield Result(verdict, what, text)
