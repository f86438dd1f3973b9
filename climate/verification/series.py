"""One channel of a piece: forecasts and their truth, a few maps at a time.

Shapes: ``N`` starts, ``M`` members, ``T`` times, ``H`` latitudes, ``W`` longitudes; ``n``, ``s``
starts and leads that are read together, or worked on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from climate.forecasts.pieces import Piece, Window
from climate.forecasts.reading import Forecast
from climate.store.layout import TrainingStore
from climate.verification.pairs import STATISTIC_NAMES

CACHE_BYTES = 2**18
"""Of maps worked on at a time: they stay in the processor's cache."""
Statistics = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Pairs:
    """Forecasts from one start, and where their truth is.

    Attributes:
        start: place in the forecast.
        leads: places in it.
        members: (M, s, H, W); 0 where points do not count.
        valid: places of the valid times among those of the window; a slice, which copies nothing,
            where they are in a row.
    """

    start: int
    leads: slice
    members: np.ndarray
    valid: slice | np.ndarray


class Series:
    """One channel of a piece.

    Attributes:
        channel: its name.
        area: of its points that count.
        states: (T, H, W); 0 where points do not count, as in all fields here.
        anomalies: (T, H, W).

    Args:
        forecast: that is read.
        store: of its truth.
        piece: of both.
        window: states of the piece.
        c: place of the channel.
    """

    def __init__(
        self, forecast: Forecast, store: TrainingStore, piece: Piece, window: Window, c: int
    ) -> None:
        self.forecast, self.piece, self.window, self.c = forecast, piece, window, c
        self.channel, self.area = store.channels[c], forecast.area_of(store, c)
        place = c - piece.channels.start
        self.states, self.anomalies = window.states[:, place], window.anomalies[:, place]
        self._together = max(1, CACHE_BYTES // self.states[0].nbytes)

    def times(self) -> Iterator[slice]:
        """All times, a few at a time."""
        for at in range(0, len(self.states), self._together):
            yield slice(at, min(at + self._together, len(self.states)))

    def pairs(self, starts: slice, leads: slice) -> Iterator[Pairs]:
        """Forecasts of a part (see `Forecast.parts`), a few leads of a start at a time."""
        members = self.area.blank(self.forecast.read(starts, leads, self.channel))
        for start in range(starts.start, starts.stop):
            for lead in range(leads.start, leads.stop, self._together):
                ahead = slice(lead, min(lead + self._together, leads.stop))
                part = slice(ahead.start - leads.start, ahead.stop - leads.start)
                own = members[start - starts.start, :, part]
                yield Pairs(start, ahead, own, self._valid(start, ahead))

    def _valid(self, start: int, leads: slice) -> slice | np.ndarray:
        first = self.piece.leads.start
        ahead = slice(leads.start - first, leads.stop - first)
        places = self.window.valid[start - self.piece.starts.start, ahead]
        low, high = int(places[0]), int(places[-1]) + 1
        return slice(low, high) if high - low == len(places) else places


class PartStatistics:
    """Statistics of some rows over a part.

    Attributes:
        rows: row → statistic → (n, s).

    Args:
        starts: of the part.
        leads: of the part.
    """

    def __init__(self, starts: slice, leads: slice) -> None:
        self.starts, self.leads = starts, leads
        self.rows: dict[str, dict[str, np.ndarray]] = {}

    def put(self, row: str, pairs: Pairs, statistics: Statistics) -> None:
        """Keep the statistics, each (s,), of some leads of a start."""
        if row not in self.rows:
            shape = self.starts.stop - self.starts.start, self.leads.stop - self.leads.start
            self.rows[row] = {name: np.empty(shape) for name in STATISTIC_NAMES}
        first, leads = self.leads.start, pairs.leads
        place = pairs.start - self.starts.start, slice(leads.start - first, leads.stop - first)
        for name, values in statistics.items():
            self.rows[row][name][place] = values
