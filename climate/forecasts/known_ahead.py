"""States that a forecast is given of the time after its start, at its valid times.

They are those of a training store, which are the truth and make the forecast a hindcast, or those
of another forecast, such as a global one around a region. All times are looked for before anything
is computed; the states are read some leads at a time.

Of another forecast each start takes the one from the same time, or else from the latest time before
it whose leads fall on all of its valid times: never one from a later time.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from climate.conventions.units import Conversion, conversions
from climate.conventions.wording import date
from climate.forecasts.access import GIVEN_TRUTH
from climate.forecasts.ahead_sources import Held, Wanted, of_forecast, of_store
from climate.forecasts.starts import InitialStates
from climate.store.layout import STORE_KIND
from climate.store.mask import not_finite
from climate.store.swap import RECORDS_FOLDER
from vgbdm.errors import InputError
from vgbdm.storage.sealing import kind_of

READ_BYTES = 64 * 2**20
"""States read at once, where those of one lead are not more."""
Source = str | Path | xr.Dataset
"""Path of a training store or of a forecast, or a forecast in memory."""


@dataclass(frozen=True)
class KnownAhead:
    """States known at the valid times of forecasts, checked to be there.

    Attributes:
        what: it is, for messages.
        wanted: of it.
        times: (N, S) valid times.
        shape: (C, H, W) of a state.
        held: where they are.
        conversions: by channel, to the model's unit, of those that change.
        mask: (C, H, W) points without values; None: there are none.
    """

    what: str
    wanted: Wanted
    times: np.ndarray
    shape: tuple[int, int, int]
    held: Held
    conversions: Mapping[str, Conversion]
    mask: np.ndarray | None

    @property
    def sealed(self) -> Mapping[str, str]:
        """The digest of the source, for the manifest of a forecast; empty where in memory."""
        return {self.wanted.name: self.held.digest} if self.held.digest else {}

    def steps(self, places: np.ndarray, members: range | None = None) -> Iterator[np.ndarray]:
        """The states of some starts, lead by lead.

        Args:
            places: (n,) of the starts.
            members: of the forecast: to each the one of its number; None: the mean of all.

        Yields:
            (n, m, C, H, W) float32, in the model's units; m is 1 where all members have the same.

        Raises:
            InputError: if a state cannot be read, or has a value that is not finite.
        """
        count = self.held.members
        numbers = range(count) if members is None or count == 1 else members
        size = 4 * len(places) * len(numbers) * int(np.prod(self.shape))
        together = max(1, READ_BYTES // size)
        for first in range(1, self.wanted.leads + 1, together):
            leads = range(first, min(first + together, self.wanted.leads + 1))
            for k, lead in enumerate(leads):
                if not k:
                    states = self._read(places, leads, numbers)
                self._check(states[:, :, k], places, lead)
                some = states[:, :, k]
                yield some.mean(1, keepdims=True) if members is None and count > 1 else some

    def _read(self, places: np.ndarray, leads: range, numbers: range) -> np.ndarray:
        """(n, m, leads, C, H, W) in the model's units."""
        try:
            states = self.held.read(places, leads, numbers)
        except InputError as error:
            raise InputError(f"{self.what}: {_bare(error, self.what)}") from None
        for name, change in self.conversions.items():
            c = self.wanted.channels.index(name)
            states[..., c, :, :] = change(states[..., c, :, :])
        return states

    def _check(self, states: np.ndarray, places: np.ndarray, lead: int) -> None:
        """Refuse states (n, m, C, H, W) of a lead that are not numbers.

        Raises:
            InputError: naming the channel and the time.
        """
        if not not_finite(states, self.mask).any():
            return
        for c, name in enumerate(self.wanted.channels):
            mask = None if self.mask is None else self.mask[c]
            bad = not_finite(states[:, :, c], mask)
            if bad.any():
                place = places[bad][0]
                begun, valid = self.times[place, 0] - self.wanted.step, self.times[place, lead - 1]
                start, at = (date(time.astype("datetime64[s]")) for time in (begun, valid))
                raise InputError(
                    f"{self.what}: {name} of {at} has values that are not finite where the "
                    f"model's have to be; fill them in, or leave out the start {start}"
                )


def known_ahead(
    source: Source, wanted: Wanted, initial: InitialStates, aside: Path | None = None
) -> KnownAhead:
    """What a store or a forecast holds at the valid times of forecasts.

    Args:
        source: it.
        wanted: of it.
        initial: states that the forecasts start from: their times, grid, units and mask.
        aside: folder for monthly means of a read-only store.

    Raises:
        InputError: one line, for what is neither, or lacks a channel, a point or a valid time.
    """
    if not isinstance(source, str | Path | xr.Dataset):
        raise InputError(
            f"{wanted.argument}: want the path of a training store or of a forecast, or a forecast "
            f"in memory, not {type(source).__name__}"
        )
    what = f"{wanted.argument}={'(dataset)' if isinstance(source, xr.Dataset) else source}"
    try:
        if not isinstance(source, xr.Dataset) and _is_store(Path(source)):
            held = of_store(Path(source), wanted, initial, aside)
        else:
            held = of_forecast(source, wanted, initial)
        return known_from(held, what, wanted, initial)
    except InputError as error:
        raise InputError(f"{what}: {_bare(error, what)}") from None


def known_from(held: Held, what: str, wanted: Wanted, initial: InitialStates) -> KnownAhead:
    """What a source that was checked holds, in the model's units and with its mask.

    Args:
        held: by the source.
        what: it is called in messages.
        wanted: of it.
        initial: states that the forecasts start from.

    Raises:
        InputError: for a unit of another quantity.
    """
    changes = conversions(
        held.attributes,
        {name: initial.channel_attrs[name] for name in wanted.channels},
        what=str,
        remedy="give it in {unit}",
    )
    at = [initial.channels.index(name) for name in wanted.channels]
    mask = None if initial.mask is None else initial.mask[at]
    shape = (len(at), len(initial.grid.lat), len(initial.grid.lon))
    return KnownAhead(what, wanted, wanted.valid_times(initial.times), shape, held, changes, mask)


def about(known: Iterable[KnownAhead]) -> dict[str, str]:
    """What a forecast that is given them says of them: attributes."""
    told = [one.held.about for one in known]
    truths = [held[GIVEN_TRUTH] for held in told if GIVEN_TRUTH in held]
    both = {name: text for held in told for name, text in held.items()}
    return both | ({GIVEN_TRUTH: "; ".join(truths)} if truths else {})


def _is_store(path: Path) -> bool:
    """Whether a path is that of a training store, finished or not."""
    if not path.exists():
        raise InputError("no such store or forecast")
    return path.is_dir() and (kind_of(path) == STORE_KIND or (path / RECORDS_FOLDER).exists())


def _bare(error: InputError, what: str) -> str:
    """A message without the name that it may begin with."""
    return str(error).removeprefix(f"{what}: ")
