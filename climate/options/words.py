"""Types of weather's options: durations, dates, periods, regions, variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any

import numpy as np
from annotated_types import Len, MinLen
from pydantic import AfterValidator, StringConstraints

from climate.conventions.calendar import parse_period
from climate.grids.named import parse_grid
from climate.grids.regions import parse_region
from vgbdm.errors import InputError
from vgbdm.options.kinds import Count, Text, Words

YEARS = 1, 9999


def _tried(parse: Callable[[Any], object]) -> AfterValidator:
    """A value that some function can read, as it is."""

    def same(value: Any) -> Any:
        parse(value)
        return value

    return AfterValidator(same)


def _once(values: Sequence[object]) -> None:
    if len(set(values)) != len(values):
        raise InputError("named twice")


def _once_in_pairs(pairs: Sequence[Sequence[str]]) -> None:
    _once([name for pair in pairs for name in pair])


def _date(value: int | str) -> None:
    text = str(value)
    if not text[:4].isdigit():  # numpy knows now and today too
        raise InputError("no date")
    if not date.min.year <= np.datetime64(text, "Y").astype(int) + 1970 <= date.max.year:
        raise InputError("no year of four digits")
    if np.isnat(np.datetime64(text)):
        raise InputError("no date")


def _period(ends: Sequence[int | str]) -> None:
    for end in ends:
        _date(end)
    parse_period("period", ends)


def _region(value: Any) -> None:
    parse_region(value, 0)


DURATION = Words("a duration such as 6h, 5d or 2mo")
Duration = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}(h|d|mo)$"), DURATION]
Date = Annotated[int | str, _tried(_date), Words("a date in ISO 8601")]
Period = Annotated[
    list[int | str], Len(2, 2), _tried(_period), Words("[START, END], dates in ISO 8601")
]
Region = Annotated[
    str | list[float],
    _tried(_region),
    Words("a region's name or [south, north, west, east] in degrees"),
]
GridName = Annotated[
    float | str,
    _tried(parse_grid),
    Words(
        "degrees that divide 90, at most 30, or ROWSxCOLUMNS such as 32x64, at least 5x8, columns "
        "a multiple of 4"
    ),
]
Dates = Annotated[
    list[Date], MinLen(1), _tried(_once), Words("a list of dates in ISO 8601, each once")
]
SomeNames = Annotated[list[Text], _tried(_once), Words("a list of names, each once; [] for none")]
DistinctNames = Annotated[list[Text], MinLen(1), _tried(_once), Words("a list of names, each once")]
Vectors = Annotated[
    list[Annotated[list[Text], Len(2, 2)]],
    _tried(_once_in_pairs),
    Words("a list of pairs of names, each name once"),
]
Hours = Annotated[list[Count], _tried(_once), Words("a list of whole hours, each once")]
