"""How much is read of a source, found out by its first chunks."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import xarray as xr

from climate.conventions.wording import size
from climate.sources.series import SeriesArray


@dataclass(frozen=True)
class Volume:
    """What reading all of a dataset takes, each stored chunk once.

    Attributes:
        chunks: that are read.
        count: of bytes, as they are stored where that is known, else decoded.
        stored: whether it is known.
        rate: bytes a second of the first chunks, one after the other.
    """

    chunks: int
    count: float
    stored: bool
    rate: float

    def __str__(self) -> str:
        decoded = "" if self.stored else " before compression"
        minutes = self.count / max(self.rate, 1.0) / 60
        return (
            f"{size(self.count)}{decoded} in {self.chunks} chunks; "
            f"{max(minutes, 0.1):.1f} minutes at the speed of the first ones, one after the other"
        )


def volume_of(dataset: xr.Dataset) -> Volume:
    """How much of its source a dataset of `climate.sources` is; reads a chunk of each variable."""
    chunks, count, first, seconds, stored = 0, 0.0, 0.0, 0.0, True
    for series in dataset.encoding["series"]:
        begin = time.monotonic()
        series.take(np.zeros(1, int))
        seconds += time.monotonic() - begin
        for index in np.unique(series.part):
            number, each, known = _chunks(series, int(index))
            chunks, count, stored = chunks + number, count + number * each, stored and known
        first += each
    return Volume(chunks, count, stored, first / max(seconds, 1e-6))


def _chunks(series: SeriesArray, index: int) -> tuple[int, float, bool]:
    """Of a file or store: how many are read, of how many bytes each, and whether as stored."""
    part = series.series.parts[index]
    variable, presence = part.variable, part.presence
    lengths = variable.encoding.get("chunks") or variable.encoding.get("chunksizes")
    if lengths is None or len(lengths) != variable.ndim:
        lengths = [1 if axis == "time" else variable.sizes[axis] for axis in variable.dims]
    places = {axis: np.r_[box] for axis, box in series.frames[index].box.items()}
    places["time"] = series.position[series.part == index]
    places["level"] = np.array(series.levels[index])
    number = math.prod(
        len(np.unique(places[str(axis)] // length))
        for axis, length in zip(variable.dims, lengths, strict=True)
    )
    came = presence.received.get(presence.path) if presence else None
    decoded = variable.dtype.itemsize * math.prod(lengths)
    return number, came[1] / came[0] if came else float(decoded), came is not None
