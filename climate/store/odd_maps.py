"""Maps that are no weather: of one value, the same as the one before, or jumps from it.

Every shard says what its maps are like; what changes of a channel usually are is known once all
shards are there. Changes are counted by their size and few are kept, so that nothing grows with the
years.

Shapes: ``N`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from climate.conventions.wording import date
from climate.store.layout import read_facts

FACTOR, PERCENTILE = 8, 0.999
"""A change this many times that percentile of the changes is a jump."""
APART = 16
"""Largest changes at least that are left out of the percentile: a short archive has no better."""
FEWEST_MAPS = 50
"""Changes below which nothing is usual yet."""
BINS = 32
"""Sizes told apart in a doubling."""
REMEMBERED = 8
"""Times that are remembered of each kind and channel; more are counted."""
NAMED = 3
"""Of them those that a line names."""
ODDITIES = {"constant": "of one value", "repeated": "the same as the one before", "jumps": "a jump"}


@dataclass(frozen=True)
class Maps:
    """What the maps of a channel are like over some times.

    Attributes:
        constant: seconds since 1970 of maps of one value: how many, and the first of them.
        repeated: the same of maps equal to the one a step before.
        rms: how many changes over one step have which root mean square, by bin.
        peak: the same of the largest change of a map.
        top: time, root mean square and largest change of the largest ones.
    """

    constant: tuple[int, tuple[int, ...]]
    repeated: tuple[int, tuple[int, ...]]
    rms: Mapping[int, int]
    peak: Mapping[int, int]
    top: tuple[tuple[int, float, float], ...]

    def merge(self, other: Maps) -> Maps:
        """Both stretches together, this one first."""

        def both(a: tuple[int, tuple[int, ...]], b: tuple[int, tuple[int, ...]]) -> Any:
            return a[0] + b[0], (a[1] + b[1])[:REMEMBERED]

        return Maps(
            both(self.constant, other.constant),
            both(self.repeated, other.repeated),
            Counter(self.rms) + Counter(other.rms),
            Counter(self.peak) + Counter(other.peak),
            largest_changes(self.top + other.top),
        )

    def to_json(self) -> dict[str, Any]:
        """As a record or the manifest holds it."""
        return {
            "constant": self.constant,
            "repeated": self.repeated,
            "rms": {str(k): self.rms[k] for k in sorted(self.rms)},
            "peak": {str(k): self.peak[k] for k in sorted(self.peak)},
            "top": self.top,
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Maps:
        """What `to_json` gave."""
        constant, repeated = (
            (facts[key][0], tuple(facts[key][1])) for key in ("constant", "repeated")
        )
        rms, peak = ({int(k): n for k, n in facts[key].items()} for key in ("rms", "peak"))
        return cls(constant, repeated, rms, peak, tuple((t, r, p) for t, r, p in facts["top"]))


def largest_changes(
    top: Sequence[tuple[int, float, float]],
) -> tuple[tuple[int, float, float], ...]:
    """Those with the largest root mean square and those with the largest change, by time."""
    chosen: set[tuple[int, float, float]] = set()
    for k in (1, 2):
        chosen.update(sorted(top, key=itemgetter(k), reverse=True)[:REMEMBERED])
    return tuple(sorted(chosen))


@dataclass(frozen=True)
class Odd:
    """Maps of a channel that are no weather.

    Attributes:
        channel: short name.
        kind: of `ODDITIES`.
        count: how many.
        times: the first ones that are known.
        sizes: root mean square and largest change of the first jump, and what is usual of both.
    """

    channel: str
    kind: str
    count: int
    times: tuple[np.datetime64, ...]
    sizes: tuple[float, float, float, float] | None = None

    def line(self, unit: str) -> str:
        """What is odd, and when."""
        dates = ", ".join(date(time) for time in self.times[:NAMED])
        more = " …" if self.count > NAMED else ""
        if self.sizes is not None:
            what = "jump" if self.count == 1 else "jumps"
            return f"{self.channel}: {self.count} {what} at {dates}{more}: {self._jump(unit)}"
        many = "map is" if self.count == 1 else "maps are"
        return f"{self.channel}: {self.count} {many} {ODDITIES[self.kind]}: {dates}{more}"

    def reason(self, unit: str) -> str:
        """The first of them, as a refusal says it."""
        if self.sizes is not None:
            return f"{self.channel} jumps at {date(self.times[0])}: {self._jump(unit)}"
        return f"{self.channel} at {date(self.times[0])} is {ODDITIES[self.kind]}"

    def _jump(self, unit: str) -> str:
        assert self.sizes is not None
        rms, peak, usual_rms, usual_peak = self.sizes
        if peak / usual_peak > rms / usual_rms:
            return f"it changes by up to {peak:.4g} {unit} in one step, usually by {usual_peak:.2g}"
        return f"it changes by {rms:.4g} {unit} (rms) in one step, usually by {usual_rms:.2g}"


def find_odd(
    channels: Sequence[str], maps: Sequence[Maps], all_maps: Sequence[Maps] | None = None
) -> list[Odd]:
    """What stands out of the maps of some channels, in their order.

    Args:
        channels: short names.
        maps: of each.
        all_maps: of each, those that tell which changes are usual, if others than ``maps``.
    """
    found = []
    for channel, held, every in zip(channels, maps, all_maps or maps, strict=True):
        for kind in ("constant", "repeated"):
            count, first = getattr(held, kind)
            if count:
                found.append(Odd(channel, kind, count, _dates(first)))
        found += _jumps(channel, held, every)
    return found


def _dates(seconds: Sequence[int]) -> tuple[np.datetime64, ...]:
    return tuple(np.datetime64(second, "s") for second in seconds)


def _jumps(channel: str, held: Maps, every: Maps) -> list[Odd]:
    usual = [_usual(sizes) for sizes in (every.rms, every.peak)]
    if None in usual:
        return []
    least = [FACTOR * size for size in usual if size is not None]
    over = [one for one in held.top if one[1] > least[0] or one[2] > least[1]]
    if not over:
        return []
    count = max(
        sum(n for k, n in sizes.items() if _size(k) > size)
        for sizes, size in zip((held.rms, held.peak), least, strict=True)
    )
    sizes = (*over[0][1:], least[0] / FACTOR, least[1] / FACTOR)
    return [Odd(channel, "jumps", max(count, len(over)), _dates([o[0] for o in over]), sizes)]


def _size(bin_of: int) -> float:
    """The smallest change of a bin."""
    return float(2.0 ** (bin_of / BINS))


def _usual(sizes: Mapping[int, int]) -> float | None:
    """The percentile of the changes, to the upper end of its bin; None where there are too few."""
    total = sum(sizes.values())
    if total < FEWEST_MAPS:
        return None
    rank = min(math.floor(PERCENTILE * (total - 1)), total - 1 - APART)
    for held in sorted(sizes):
        rank -= sizes[held]
        if rank < 0:
            return _size(held + 1)
    raise AssertionError("a rank lies within the total")


def describe_odd_maps(store: Path) -> list[str]:
    """One line for each kind of odd maps of each channel of a finished store.

    Args:
        store: its folder.
    """
    facts = read_facts(store)
    held = facts.get("maps")
    if held is None:
        return []
    odd = find_odd(facts["channels"], [Maps.from_json(one) for one in held])
    return [one.line(facts["channel_attrs"][one.channel]["units"]) for one in odd]
