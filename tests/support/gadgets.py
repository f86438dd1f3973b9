"""Arrays that run something when they are decoded, and decoders that say whether they ran."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from numcodecs.abc import Codec


class Ran(Exception):
    """A decoder of a gadget was called."""


class Fake(Codec):
    """Stands for a codec that executes what it is given."""

    codec_id = "pickle"
    ran: list[str] = []  # noqa: RUF012

    def encode(self, buf):
        return buf

    def decode(self, buf, out=None):
        self.ran.append("decoded")
        return np.zeros(8)

    @classmethod
    def from_config(cls, config):
        cls.ran.append("made")
        return cls()


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """What fake decoders did, registered where zarr-python looks for ``pickle``."""
    monkeypatch.setitem(numcodecs.registry.codec_registry, "pickle", Fake)
    monkeypatch.setattr(Fake, "ran", [])
    return Fake.ran


def write_2(
    place: Path, shape=(8,), *, dtype="|O", filters=("vlen-utf8", "pickle"), compressor=None
):
    """An array of Zarr version 2 in the place of another, with one chunk of anything."""
    for old in place.glob("*.json"):
        old.unlink()
    place.mkdir(parents=True, exist_ok=True)
    facts = {
        "zarr_format": 2, "shape": list(shape), "chunks": list(shape), "dtype": dtype, "order": "C",
        "compressor": compressor and {"id": compressor}, "fill_value": 0,
        "filters": [{"id": name} for name in filters] or None,
    }  # fmt: skip
    (place / ".zarray").write_text(json.dumps(facts))
    (place / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": [place.name]}))
    (place / ".".join("0" for _ in shape)).write_bytes(b"cos\nsystem\n")
    return place


def edit_3(place: Path, **changes) -> None:
    """Other metadata of an array of Zarr version 3."""
    facts = json.loads((place / "zarr.json").read_text())
    (place / "zarr.json").write_text(json.dumps(facts | changes))


PICKLED = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "numcodecs.pickle"}]


def runs(place: Path, ran: list[str]) -> bool:
    """Whether zarr-python alone, without any door, lets a gadget run."""
    with contextlib.suppress(Exception):
        zarr.open_array(place, mode="r")[...]
    found = bool(ran)
    ran.clear()
    return found
