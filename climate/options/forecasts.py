"""Options of forecasts and of their scores."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Interval

from climate.options.words import Dates, DistinctNames, Duration, Hours
from climate.options.workers import Dask
from vgbdm.options.kinds import Count, Precision, Seed, Text, Unit, With
from vgbdm.options.shapes import Launched, Options

Members = Annotated[Count, Unit("members")]
Drawn = Annotated[int, Interval(ge=2, le=1000), Unit("members")]


class Around(Options):
    """What lies around a region.

    Attributes:
        boundary: what the halo is taken from at each step: a training store (its truth: a hindcast)
            or a forecast that holds the halo and all leads; self: it evolves by itself.
    """

    boundary: Text


class ForecastEra5(Launched):
    """Forecasts from every start of a period.

    Attributes:
        plugins: packages of others whose classes may be built.
        run_dir: folder of a training.
        store: the training store, for initial states.
        out: Zarr store to make.
        leads: longest lead; such as 6mo of a monthly model.
        split: whose starts, all that have their leads inside it.
        starts: these instead: latest, or a list of dates, at which the store may end; null: none.
        forcing: store or forecast with what the model is given ahead, such as sst; null: store.
        members: of an ensemble; 1: one forecast without draws; null: 16 if stochastic, else 1.
        seed: of the members' draws.
        pairs: draw members 2k and 2k + 1 by opposite numbers, where they are even and at least 4.
        checkpoint: whose weights.
        batch: forecasts at a time, starts × members; fewer where their states take above 1 GiB.
        region: what lies around it, of a regional model.
        resume: go on where the same forecast was stopped.
        institution: who makes it, written into the file; null: nobody.
        cache: folder where tables of operators on fine grids are kept; null: the user's own.
        device: such as cpu or cuda; null: a GPU where there is one.
        precision: of the networks.
    """

    COMMON: ClassVar = ("leads", "split", "starts", "forcing", "members", "checkpoint")

    plugins: list[Text] = []  # noqa: RUF012
    run_dir: Text
    store: Text
    out: Text
    leads: Duration
    split: Annotated[Literal["train", "val", "test"], With("starts", None)]
    starts: Literal["latest"] | Dates | None = None
    forcing: Text | None
    members: Members | None
    seed: Seed
    pairs: bool
    checkpoint: Literal["best", "last"]
    batch: Count
    region: Around
    resume: bool
    institution: Text | None
    cache: Text | None
    device: Text | None
    precision: Precision


class EvaluateEra5(Launched):
    """Scores of a forecast.

    Attributes:
        plugins: packages of others whose classes may be built.
        forecast: made by forecast_era5; a list of several periods: all together.
        store: the training store: truth, climatology, damping.
        out: folder for the tables, the rules and report.html.
        run_dir: of the training, for its curves and config in the report; null: none.
        dress: a forecast of the same model with split=val: adds the row model_dressed; null: none.
        members: drawn of climatology and of model_dressed; null: as many as the forecast has, 16
            where it has one.
        seed: of the bootstrap and of these draws.
        must_beat: leads at which the model must beat both persistences, or exit 3.
        workers: Dask threads; null: as many as cores.
        dask: who scores.
    """

    COMMON: ClassVar = ("run_dir", "dress")

    plugins: list[Text] = []  # noqa: RUF012
    forecast: Text | DistinctNames
    store: Text
    out: Text
    run_dir: Text | None
    dress: Text | None
    members: Drawn | None
    seed: Seed
    must_beat: Annotated[Hours, Unit("h")]
    workers: Count | None
    dask: Dask


class CompareForecasts(Launched):
    """Paired differences of two forecasts.

    Attributes:
        a: a forecast store, the first bare argument.
        b: another, the second.
        truth: the training store both were made from.
        out: folder for comparison.csv and report.html.
        seed: of the bootstrap.
        workers: Dask threads; null: as many as cores.
        dask: who compares.
    """

    a: Text
    b: Text
    truth: Text
    out: Text
    seed: Seed
    workers: Count | None
    dask: Dask
