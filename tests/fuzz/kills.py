"""The group `kills`: whatever writes is killed at any moment, and the same command is run again.

After the kill its output must be whole or refused in a line; after the next run it must be whole,
and hold what it would have held.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from builders import ABOUT, SPLITS, convert_files, hours, source, write_folder, write_variable

from climate.conversion.append import append
from climate.conversion.monthly import open_monthly
from climate.conversion.verify import repair, verify_store
from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.models.weather_model import WeatherModel
from climate.report.pages import write_report
from climate.store.layout import open_store
from climate.stream.views import open_for_model
from climate.verification.scorecard import score
from fuzz.artefacts import SIX, Artefact, Values, link, read_forecast, read_store
from fuzz.children import run
from fuzz.damage import replace
from fuzz.judging import DEFECTS, LOST, REFUSED, RIGHT, SILENT, TRACEBACK, Result, difference, judge
from vgbdm.errors import InputError
from vgbdm.loading import load


@dataclass(frozen=True)
class Job:
    """Something that writes.

    Attributes:
        name: of it.
        prepare: makes the folder as it is before.
        work: writes in that folder.
        read: gives all that was written.
    """

    name: str
    prepare: Callable[[Path], None]
    work: Callable[[Path], object]
    read: Callable[[Path], Values]


LONGEST = 120.0
"""Seconds for a job without a kill."""


def nothing(_: Path) -> None:
    """To begin with."""


def copy(target: Path, origin: Path, leave: str = "") -> None:
    """A store to work on, without one of its folders."""
    link(origin, target / "store")
    if leave:
        shutil.rmtree(target / "store" / leave)


def break_store(target: Path, origin: Path) -> None:
    """A store with a flipped bit in its first shard."""
    copy(target, origin)
    shards = sorted(p for p in (target / "store/state/c").rglob("*") if p.is_file())
    content = bytearray(shards[0].read_bytes())
    content[100] ^= 1
    replace(shards[0], bytes(content))


def add(target: Path, files: Path) -> None:
    """Five days more."""
    append(source(files).open(), target / "store", SPLITS, source=ABOUT)


def mend(target: Path, files: Path) -> None:
    """From the source."""
    repair(target / "store", source(files).open(), ABOUT)


def make_months(target: Path) -> None:
    """Beside the states."""
    open_monthly(open_store(target / "store"))


def forecast(target: Path, run: Path, store: Path) -> None:
    """With the small model."""
    model = load(run, "last", kind=WeatherModel)
    write_forecast(model, open_for_model(store, model), target / "out", lead=4 * SIX)


def evaluate(target: Path, forecast: Path, store: Path) -> None:
    """Scorecard and report."""
    opened = open_store(store)
    held = open_forecast(forecast, opened)
    result = score(held, opened, None, 0)
    result.write(target / "out")
    write_report(result, held, opened, target / "out", None)


def whole(target: Path) -> Values:
    """A store, and what `verify` says of it."""
    lines = verify_store(target / "store")
    return read_store(target / "store") | {"damage": np.array(lines, dtype="U200")}


def months(target: Path) -> Values:
    """The months of a store."""
    return read_store(target / "store/monthly")


def written(target: Path, store: Path) -> Values:
    """A forecast."""
    return read_forecast(target / "out", store)


def scorecard(target: Path) -> Values:
    """What an evaluation wrote."""
    return {"scorecard": np.frombuffer((target / "out/scorecard.csv").read_bytes(), np.uint8)}


def jobs(made: dict[str, Artefact], folder: Path) -> list[Job]:
    """Of every kind."""
    store, run = made["store"].path, made["run"].path
    files, years = write_folder(folder / "files"), made["months"].path.parent
    for name in ("z", "u10", "v10"):
        write_variable(files, name, hours("2016-01-21", 120), file="later")
    origin = partial(copy, origin=store)
    return [
        Job("convert", nothing, partial(_convert, files=files), whole),
        Job("append", origin, partial(add, files=files), whole),
        Job("repair", partial(break_store, origin=store), partial(mend, files=files), whole),
        Job("months", partial(copy, origin=years, leave="monthly"), make_months, months),
        Job("forecast", nothing, partial(forecast, run=run, store=store),
            partial(written, store=store)),
        Job("evaluate", nothing, partial(evaluate, forecast=made["forecast"].path, store=store),
            scorecard),
    ]  # fmt: skip


def _convert(target: Path, files: Path) -> None:
    convert_files(files, target / "store")


def tries(made: dict[str, Artefact], folder: Path, draw: random.Random) -> Iterator[Result]:
    """Endlessly: one kill, what is found then, and what the same command makes of it."""
    known: list[tuple[Job, Values | None, Values, float]] = []
    for job in jobs(made, folder):
        place = folder / f"whole-{job.name}"
        place.mkdir()
        job.prepare(place)
        before = None if fresh(place) else reading(job, place)
        begin = time.monotonic()
        verdict, text = run(partial(job.work, place), LONGEST)
        took = time.monotonic() - begin
        if verdict != RIGHT:
            yield Result(TRACEBACK, f"{job.name}: without a kill", text)
            continue
        known.append((job, before, job.read(place), took))
    while known:
        job, before, after, took = draw.choice(known)
        yield once(job, before, after, draw.uniform(0, 1.1 * took), folder / "killed")
        shutil.rmtree(folder / "killed")


def once(job: Job, before: Values | None, after: Values, moment: float, place: Path) -> Result:
    """One kill: what is left is as before, whole or refused; the same again makes it whole."""
    place.mkdir()
    job.prepare(place)
    what = f"{job.name}: killed after {moment:.3f} s"
    run(partial(job.work, place), moment, kill=True)
    left = None
    if not fresh(place):
        left = judge(what, lambda: job.read(place), after, place, set())
        unchanged = before is not None and left.verdict == SILENT and not difference(
            reading(job, place) or {}, before
        )  # fmt: skip
        if left.verdict in DEFECTS and not unchanged:
            return left
    verdict, text = run(partial(job.work, place), LONGEST)
    done = left is not None and left.verdict == RIGHT and verdict == REFUSED
    if verdict != RIGHT and not done:
        return Result(LOST if verdict == REFUSED else verdict, f"{what}, and run again", text)
    found = judge(f"{what}, and run again", lambda: job.read(place), after, place, set())
    return Result(LOST, found.what, found.detail) if found.verdict == REFUSED else found


def fresh(place: Path) -> bool:
    """Whether nothing was written yet: there is nothing to be read."""
    return not any(place.iterdir())


def reading(job: Job, place: Path) -> Values | None:
    """What is there; None where that is refused."""
    try:
        return job.read(place)
    except InputError:
        return None
