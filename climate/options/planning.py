"""Options of the check of a training: those of training, and of a plan without data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from annotated_types import Interval

from climate.conventions.calendar import is_monthly, parse_duration
from climate.grids.named import parse_grid
from climate.options.training import TrainEra5
from climate.options.words import DistinctNames
from vgbdm.errors import InputError
from vgbdm.options.kinds import Count, Text, With
from vgbdm.options.shapes import Options


class Plan(Options):
    """A plan without data.

    Attributes:
        grid: degrees such as 1.5 and 0.25, or rows and columns as 121x240; null: none is made.
        channels: so many (the five of WeatherBench, then levels), or their names; null: five.
        ranks: processes of the run; null: one.
        years: of training data; null: 40.
    """

    grid: float | Text | None
    channels: Annotated[Count | DistinctNames | None, With("grid")]
    ranks: Annotated[Count | None, With("grid")]
    years: Annotated[Annotated[int, Interval(ge=1, le=1000)] | None, With("grid")]

    @classmethod
    def check_relations(cls, values: Mapping[str, Any]) -> None:
        """The grid is one."""
        if values["grid"] is not None:
            parse_grid(values["grid"], "check.grid")


class Check(TrainEra5):
    """A check of a training.

    Attributes:
        store: a finished training store; null: none, for a plan.
        run_dir: folder of the run; null: none, for a plan.
        check: a plan without data.
    """

    COMMON: ClassVar = (  # type: ignore[assignment]
        "store", "run_dir", "model", "size", "task", "step", "batch", "backend.precision",
        "trainer.total_steps", "check.grid", "check.channels", "check.ranks",
    )  # fmt: skip

    store: Text | None  # type: ignore[assignment]
    run_dir: Text | None  # type: ignore[assignment]
    check: Plan

    @classmethod
    def check_relations(cls, values: Mapping[str, Any]) -> None:
        """Those of training; a store and a run, or a grid on the globe and steps of hours."""
        super().check_relations(values)
        given = [name for name in ("store", "run_dir") if values[name] is not None]
        if values["check"]["grid"] is None:
            for name in ("store", "run_dir"):
                if name not in given:
                    raise InputError(
                        f"argument {name}=… is missing; --help says what it means; to plan without "
                        "data give check.grid=…"
                    )
            return
        if given:
            name = given[0]
            raise InputError(
                f"{name}={values[name]}: a plan with check.grid={values['check']['grid']} reads "
                f"and writes nothing; leave {name} out, or leave out check.grid"
            )
        if is_monthly(parse_duration("step", values["step"])) or values.get("region") is not None:
            raise InputError(
                "check.grid: plans are of the globe and of steps of hours; leave out task, or "
                "check on a store"
            )
