"""Options of what makes, converts and looks after data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from climate.conventions.calendar import SPLITS, divide, parse_period
from climate.options.words import Date, DistinctNames, Duration, GridName, Period, Region
from climate.options.workers import Dask
from vgbdm.errors import InputError
from vgbdm.options.kinds import (
    Count,
    Frames,
    Node_,
    Seed,
    Share,
    Text,
    Unit,
    WholeNumber,
    With,
)
from vgbdm.options.shapes import Launched, Options

REPAIR = With("action", "repair")


class Like(Options):
    """A grid by what is on it.

    Attributes:
        like: means over the cells of the grid that a training store has.
    """

    like: Text | None


class Selection(Launched):
    """What is taken of a source; all of it where nothing is said.

    Attributes:
        plugins: packages of others whose classes may be built.
        variables: short names of the channels, in their order.
        period: only these times are read; null: all.
        step: such as 6h: only times at whole steps from midnight UTC; null: all.
        regrid: means by area over the cells of another global grid; null: as stored.
        region: only this box; null: the globe.
        halo: grid points kept around the region, at least the task's.
        store: folder of the training store.
        force_unlock: take the lock of a process on another host, which is surely dead.
    """

    plugins: list[Text] = []  # noqa: RUF012
    variables: DistinctNames
    period: Period | None
    step: Duration | None
    regrid: GridName | Like | None
    region: Region | None
    halo: Annotated[Frames, With("region")]
    store: Text
    force_unlock: bool


class Split(Options):
    """Periods of the data; statistics come from the first alone.

    Attributes:
        train: period of training.
        val: period of validation.
        test: period of tests.
    """

    train: Period
    val: Period
    test: Period


class ConvertEra5(Selection):
    """Conversion to the training store.

    Attributes:
        source: where the data are, and what they are called there.
        split: periods of training, validation and tests; null: the period, divided 10 : 1 : 2.
        nan_allowance: share of missing values per channel and shard that may be filled.
        odd_maps: maps that are one value, repeat or jump are refused, or kept.
        codec: of the states; none is read faster, where disk allows.
        climatology: how the days around count in a climatology with seasons: weatherbench2, weights
            that fall in a line to 0 at 30 days; gaussian, of 10 days; box, alike.
        workers: Dask threads; null: as many as cores.
        dask: who converts.
        append: add times later than those of a finished store.
        restart: drop what a stopped conversion left instead of continuing it.
        check: say what would be read, written and taken, and write nothing.
    """

    COMMON: ClassVar = (
        "source.root", "variables", "split.train", "split.val", "split.test", "period", "step",
        "append", "check",
    )  # fmt: skip

    source: Node_
    split: Split | None
    nan_allowance: Annotated[Share, With("append", False)]
    odd_maps: Literal["refuse", "keep"]
    codec: Annotated[Literal["lz4", "none"], With("append", False)]
    climatology: Annotated[Literal["weatherbench2", "gaussian", "box"], With("append", False)]
    workers: Count | None
    dask: Dask
    append: bool
    restart: bool
    check: Annotated[bool, With("append", False)]

    @classmethod
    def check_relations(cls, values: Mapping[str, Any]) -> None:
        """Periods follow each other; each variable is one that the source knows."""
        split = values["split"]
        if split is None:
            if values["period"] is None:
                raise InputError(
                    "split=null: which period shall be divided? Give period=[START,END]"
                )
            split = divide(values["period"])
        periods = [(n, parse_period(f"split.{n}", split[n])) for n in SPLITS]
        for (earlier, first), (later, second) in itertools.pairwise(periods):
            if second[0] <= first[1]:
                raise InputError(
                    f"split.{later}={split[later]}: want it after the end of "
                    f"split.{earlier}={split[earlier]}"
                )
        known = values["source"].get("fields", {})
        for name in values["variables"] if known else ():
            if name not in known:
                raise InputError(
                    f"variable {name} is unknown; known are {', '.join(sorted(known))}; add "
                    f"+source.fields.{name}={{…}} for another"
                )


class Store(Selection):
    """What is done with a store.

    Attributes:
        action: what to do.
        source: for repair: where the data are; null: none.
    """

    action: Literal["info", "verify", "upgrade", "repair"]
    source: Annotated[Node_ | None, REPAIR] = None
    variables: Annotated[DistinctNames, REPAIR]
    period: Annotated[Period | None, REPAIR]
    step: Annotated[Duration | None, REPAIR]
    regrid: Annotated[GridName | Like | None, REPAIR]
    region: Annotated[Region | None, REPAIR]
    halo: Annotated[Frames, REPAIR, With("region")]
    force_unlock: Annotated[bool, With("action", "upgrade", "repair")]


class MakeSample(Launched):
    """A stand-in atmosphere.

    Attributes:
        out: folder to make, in the layout of WeatherBench 5.625°.
        days: length, hourly.
        seed: of the small waves it starts from.
        start: first time, UTC.
        spin_up_days: simulated first and thrown away.
        truncation: largest spherical degree of the shallow-water model.
    """

    out: Text
    days: Annotated[int, Interval(ge=1, le=100_000), Unit("days")]
    seed: Seed
    start: Date
    spin_up_days: Annotated[WholeNumber, Unit("days")]
    truncation: Annotated[int, Interval(ge=1, le=31)]
