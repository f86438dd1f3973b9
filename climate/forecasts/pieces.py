"""Parts of the work on forecasts and their truth, each within a budget of memory.

A piece is some starts, leads and channels. It holds the states at their times once, however many
starts and leads share them, and reads the forecasts a few at a time.

Shapes: ``N`` starts, ``S`` leads, ``T`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from climate.grids.area import Area
from climate.store.layout import TrainingStore

WINDOW_BYTES = 512 * 2**20
"""Of states and their anomalies that a piece holds."""
READ_BYTES = 256 * 2**20
"""Of forecasts read at a time, where what is stored together is not more."""
JOINED_BYTES = 32 * 2**20
"""Up to which states, and forecasts of small files, are read together."""
FEWEST_STARTS = 64


@dataclass(frozen=True)
class Piece:
    """Places in the forecasts and in the store.

    Attributes:
        starts: of the forecasts.
        leads: of them, from 0.
        channels: of the store.
    """

    starts: slice
    leads: slice
    channels: slice

    @property
    def count(self) -> int:
        """How many starts."""
        return int(self.starts.stop - self.starts.start)


@dataclass(frozen=True)
class Truth:
    """Which states belong to starts: what `pieces` divides.

    Attributes:
        store: of the states.
        starts: (N,) indices of the initial times in the store.
        step: between leads.
        leads: S.
        area: the part of the grid.
        past: states before the initial one, a step apart, that are wanted too.
    """

    store: TrainingStore
    starts: np.ndarray
    step: np.timedelta64
    leads: int
    area: Area
    past: int = 0

    def frames(self, starts: slice, leads: slice) -> np.ndarray:
        """Indices in the store (n, past + 1 + leads) of past and initial states, and at leads."""
        ahead = np.arange(leads.start + 1, leads.stop + 1)
        steps = self.store.stride(self.step) * np.concatenate((np.arange(-self.past, 1), ahead))
        return self.store.frames(self.starts[starts], steps)


def pieces(truth: Truth, together: int = 1) -> list[Piece]:
    """The pieces of a truth: all starts and leads of some channels before the next channels.

    Args:
        truth: to divide.
        together: starts whose forecasts are stored together.
    """
    channels = len(truth.store.channels)
    share = 1 if truth.store.is_big else channels
    held = max(2, WINDOW_BYTES // (8 * share * len(truth.area.lat) * len(truth.area.lon)))
    leads = truth.leads
    while leads > 1 and truth.frames(slice(0, 1), slice(0, leads)).size > held // 2:
        leads = -(-leads // 2)  # half of the room is for other starts, which share the states
    spans = [
        (starts, part)
        for lead in range(0, truth.leads, leads)
        for part in [slice(lead, min(lead + leads, truth.leads))]
        for starts in _spans(truth, part, held, together)
    ]
    return [
        Piece(starts, part, slice(c, c + share))
        for c in range(0, channels, share)
        for starts, part in spans
    ]


def _spans(truth: Truth, leads: slice, held: int, together: int) -> Iterator[slice]:
    """Consecutive starts whose states fit; so many that most states are shared, not more."""
    most, begin, times = max(FEWEST_STARTS, 2 * (leads.stop - leads.start)), 0, set[int]()
    for group, own in _groups(truth, leads, held, together):
        if group.start > begin and (len(times | own) > held or group.stop - begin > most):
            yield slice(begin, group.start)
            begin, times = group.start, set()
        times |= own
    yield slice(begin, len(truth.starts))


def _groups(
    truth: Truth, leads: slice, held: int, together: int
) -> Iterator[tuple[slice, set[int]]]:
    """Starts that are stored together and their states; one by one where these do not fit."""
    for at in range(0, len(truth.starts), together):
        frames = truth.frames(slice(at, at + together), leads)
        own = {*frames.ravel().tolist()}
        if len(own) <= held:
            yield slice(at, at + len(frames)), own
        else:
            for k, states in enumerate(frames.tolist()):
                yield slice(at + k, at + k + 1), {*states}


@dataclass(frozen=True)
class Window:
    """The states of a piece, and their anomalies from climatology; 0 where points are masked.

    Attributes:
        states: (T, C, H, W) float32, physical units.
        anomalies: (T, C, H, W) float32.
        index: (T,) of the times in the store.
        places: (N, past + 1 + S) of the frames of the starts among the times.
        past: frames before the initial one.
    """

    states: np.ndarray
    anomalies: np.ndarray
    index: np.ndarray
    places: np.ndarray
    past: int

    @property
    def initial(self) -> np.ndarray:
        """Places of the initial states among the times, (N,)."""
        return self.places[:, self.past]

    @property
    def valid(self) -> np.ndarray:
        """Places of the states at the leads, (N, S)."""
        return self.places[:, self.past + 1 :]


def read_window(truth: Truth, piece: Piece) -> Window:
    """The states of a piece.

    Raises:
        InputError: if some cannot be read.
    """
    store, area = truth.store, truth.area
    index, place = np.unique(truth.frames(piece.starts, piece.leads), return_inverse=True)
    place = place.reshape(piece.count, -1)
    shape = (len(index), piece.channels.stop - piece.channels.start, len(area.lat), len(area.lon))
    states, anomalies = np.empty(shape, np.float32), np.empty(shape, np.float32)
    whole = 4 * shape[1] * len(store.lat) * len(store.lon)
    for part in runs(index, store.state.chunks[0], whole):
        first, last = int(index[part][0]), int(index[part][-1]) + 1
        if area.whole and last - first == part.stop - part.start:
            store.read(first, last, states[part], piece.channels)
        else:
            held = store.read(first, last, channels=piece.channels)
            states[part] = area.cut(held[index[part] - first])
        climatology = store.climatology.at(store.times[index[part]], piece.channels)
        np.subtract(states[part], area.cut(climatology), out=anomalies[part])
    if store.mask is not None:
        for fields in (states, anomalies):
            fields[:, area.cut(store.mask[piece.channels])] = 0.0
    return Window(states, anomalies, index, place, truth.past)


def runs(index: np.ndarray, chunk: int, size: int) -> Iterator[slice]:
    """Places of times to be read at once: those that follow each other, or share a chunk.

    Args:
        index: (T,) of the times in a store, increasing.
        chunk: times that are stored together.
        size: bytes of a state.
    """
    apart = (np.diff(index) > 1) & (np.diff(index // chunk) > 0)
    edges = np.concatenate(([0], np.flatnonzero(apart) + 1, [len(index)]))
    longest = max(chunk, JOINED_BYTES // size)
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        for at in range(first, last, longest):
            yield slice(at, min(at + longest, last))
