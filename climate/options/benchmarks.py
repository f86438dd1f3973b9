"""Options of the benchmarks of weather."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Interval, Len, MinLen

from climate.options.words import DistinctNames, Duration, Hours
from vgbdm.options.kinds import Budget, Count, Positive, Text, Unit
from vgbdm.options.shapes import Options


class Small(Options):
    """The store of small maps.

    Attributes:
        steps: hours of the store.
        threads: that read, beside the one that fills batches.
        pool_blocks: blocks shuffled together.
        batch: samples of a batch.
        step_milliseconds: of the training step whose stall is measured.
        growth_batches: over which the growth of memory is measured.
        convert_steps: of the conversion that is timed.
    """

    steps: Count
    threads: Count
    pool_blocks: Count
    batch: Count
    step_milliseconds: Annotated[Positive, Unit("ms")]
    growth_batches: Count
    convert_steps: Count


class Big(Options):
    """The store of maps of a quarter degree.

    Attributes:
        channels: of the store.
        steps: hours of the store.
        batches: that are read.
    """

    channels: Count
    steps: Count
    batches: Count


class BenchmarkData(Options):
    """Speed and memory of conversion and reading.

    Attributes:
        out: JSON file of the figures; those of parts that are not run are kept.
        parts: which are run.
        folder: for stores; null: a temporary one, removed at the end.
        small: the store of small maps.
        big: the store of big ones.
        peaks: figure → times, channels, rows, columns of a conversion alone.
        train_steps: of the small model, on real and on synthetic batches, by turns.
        train_rounds: how many turns.
        rounds: the median of their ratios counts.
        threads: that convert, and that read big maps.
        page: put the table between the marks of this file; null: nowhere.
    """

    out: Text
    parts: Annotated[list[Literal["conversion", "small", "big"]], MinLen(1)]
    folder: Text | None
    small: Small
    big: Big
    peaks: dict[str, Annotated[list[Count], Len(4, 4)]]
    train_steps: Count
    train_rounds: Count
    rounds: Count
    threads: Count
    page: Text | None


class BenchmarkWeather(Options):
    """Trainings side by side, their forecasts and scores.

    Attributes:
        store: a training store.
        out: folder for runs, table.csv and report.html.
        minutes: of each training.
        seeds: trainings of each row.
        threads: of each training.
        rows: configs of the group `model`; the first is compared with all.
        leads: longest lead.
        shown_hours: leads in the Markdown table.
        options: further options of every training.
        row_options: row → further options of its training.
        begun: row → model that is trained first, and that it goes on from; null: none.
        begun_share: of the minutes that such a model is trained for.
        results: a file for the means over seeds, of which a page is made; null: none.
    """

    store: Text
    out: Text
    minutes: Budget
    seeds: Count
    threads: Count
    rows: DistinctNames
    leads: Duration
    shown_hours: Hours
    options: list[Text]
    row_options: dict[str, list[Text]]
    begun: dict[str, Text | None]
    begun_share: Annotated[float, Interval(gt=0, lt=1)]
    results: Text | None
