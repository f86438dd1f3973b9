"""The options of the launchers of systems, held against configs before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from vgbdm.errors import InputError
from vgbdm.options.backends import check_backend
from vgbdm.options.kinds import (
    Count,
    Names,
    Node,
    Node_,
    NodesByName,
    NotNegative,
    Of,
    Seed,
    Share,
    Size,
    Text,
)
from vgbdm.options.paths import check_order
from vgbdm.options.schedules import check_schedules
from vgbdm.options.shapes import Launched, Options
from vgbdm.options.signatures import constant_of, fact_of


def check_system(system: Mapping[str, Any]) -> None:
    """Refuse ranges and priors of parameters that a system does not have, and such as are empty.

    Args:
        system: node; its class says its ``parameters``.

    Raises:
        InputError: for these, and for a range that is missing.
    """
    known: tuple[str, ...] = constant_of(str(system["_target_"]), "parameters") or ()
    for what in ("ranges", "prior"):
        for name in system.get(what) or ():
            if known and name not in known:
                raise InputError(
                    f"system.{what}.{name}: no such parameter (there are {', '.join(known)})"
                )
    for name, (mean, spread) in (system.get("prior") or {}).items():
        if not spread > 0:
            raise InputError(
                f"system.prior.{name}=[{mean}, {spread}]: want [mean, standard deviation > 0]"
            )
    ranges: Mapping[str, Any] = system.get("ranges", {})
    for name in known if "ranges" in system else ():
        if name not in ranges:
            raise InputError(f"system.ranges.{name}=… is missing: want [low, high]")
        low, high = ranges[name]
        if not low <= high:
            raise InputError(f"system.ranges.{name}=[{low}, {high}]: want low ≤ high")


def check_path(path: Mapping[str, Any], system: Mapping[str, Any]) -> None:
    """Refuse a path that does not serve the order of the system.

    Args:
        path: node; its class says its ``orders``.
        system: node; its class says its ``order``.

    Raises:
        InputError: for such a one.
    """
    order, name = fact_of(str(system["_target_"]), "order", 1), str(path["_target_"])
    check_order(name.rpartition(".")[2], fact_of(name, "orders", (order,)), order)


Threads = Annotated[int, Interval(ge=1, le=1024)]


class SimulateSystem(Launched):
    """Trajectories of a system.

    Attributes:
        plugins: packages of others whose classes may be built.
        system: what is simulated.
        out: Zarr store to make.
        n: trajectories.
        seed: with split, the key of all draws.
        split: the same seed gives different draws for each.
        irregular: times moved at random by up to half this share of a step, per trajectory.
        noise: standard deviation of what is added to observations.
        parameters: uniform in the system's ranges, or the known ones from their prior.
    """

    COMMON: ClassVar = ("system", "n", "seed", "split")

    plugins: list[Text] = []  # noqa: RUF012
    system: Node_
    out: Text
    n: Count
    seed: Seed
    split: Literal["train", "val", "test"]
    irregular: Annotated[float, Interval(ge=0, lt=1)]
    noise: NotNegative
    parameters: Literal["ranges", "prior"]

    @classmethod
    def check_relations(cls, values: Mapping[str, Any]) -> None:
        """Ranges are those of the system's parameters."""
        check_system(values["system"])


class ImportTrajectories(Launched):
    """Trajectories from a published file.

    Attributes:
        plugins: packages of others whose classes may be built.
        file: a .pt dictionary of numpy arrays x, t, params; also without "file=".
        system: whose trajectories they are; null: recognised by its equations.
        out: Zarr store to make.
    """

    plugins: list[Text] = []  # noqa: RUF012
    system: Node_ | None = None
    file: Text
    out: Text


class Data(Options):
    """Stores of trajectories.

    Attributes:
        train: to train on.
        val: to validate on.
    """

    train: Text
    val: Text


class Trainer(Options):
    """Length of the run, and when it looks, saves and stops.

    Attributes:
        threads: of torch in each process.
    """

    threads: Threads


class Objective(Options):
    """What a sample of training minimises.

    Attributes:
        name: of the run's folder and table rows.
        schedules: name → a number that changes during training.
    """

    name: Text
    schedules: NodesByName


class Validation(Options):
    """Forecasts of validation trajectories.

    Attributes:
        limit: trajectories at most.
    """

    limit: Count


class TrainSystem(Launched):
    """Training on trajectories.

    Attributes:
        plugins: packages of others whose classes may be built.
        system: whose physics is known in part.
        path: the curve through the frames that is matched.
        backend: what computes steps, on one process or many.
        objective: what a sample of training minimises.
        data: stores of trajectories.
        run_dir: null: outputs/<system>-<objective>-<hash of this config>.
        resume: go on from the last checkpoint in run_dir, or start where there is none.
        init: run folder whose best weights to start from, for fine-tuning; null: none.
        seed: of initial weights, order of samples and all draws.
        batch: trajectories per step over all ranks.
        weight_decay: of weights with two dimensions or more.
        model: physics, network and encoder.
        rate: learning rate.
        trainer: length of the run, and when it looks, saves and stops.
        validation: forecasts of validation trajectories.
    """

    COMMON: ClassVar = (
        "system", "objective", "run_dir", "resume", "seed", "batch", "trainer.total_steps",
        "trainer.max_minutes", "trainer.threads", "rate.peak", "model.residual_inputs",
    )  # fmt: skip

    plugins: list[Text] = []  # noqa: RUF012
    system: Node_
    path: Node_
    backend: Node_
    objective: Annotated[Any, Node(given=("path", "seed"), beside=Objective)]
    data: Data
    run_dir: Text | None
    resume: bool
    init: Text | None
    seed: Seed
    batch: Count
    weight_decay: NotNegative
    model: Annotated[Any, Node(positional=2, given=("path",))]
    rate: Node_
    trainer: Annotated[Mapping[str, Any], Of("vgbdm.training.plan.Plan", (), Trainer)]
    validation: Validation

    @classmethod
    def check_relations(cls, values: Mapping[str, Any]) -> None:
        """Schedules are those that something reads."""
        check_system(values["system"])
        check_path(values["path"], values["system"])
        seen = values["model"]["residual_inputs"]
        components = constant_of(str(values["system"]["_target_"]), "components")
        whole = () if isinstance(seen, list) else ("state", "everything")
        rates = tuple(f"d{name}" for name in components)
        for name in (seen if isinstance(seen, list) else [seen]) if components else ():
            if name not in (*components, *rates, *whole):
                raise InputError(
                    f"model.residual_inputs={seen!s:.200}: {name:.60} is no component of the "
                    f"system (there are {', '.join(components)}; or state, or everything)"
                )
        if isinstance(seen, list) and len(set(seen)) != len(seen):
            raise InputError(f"model.residual_inputs={seen!s:.200}: want each component once")
        if seen == []:
            raise InputError("model.residual_inputs=[]: want state, everything, or components")
        check_backend(values["backend"], values["batch"])
        objective = values["objective"]
        check_schedules("objective.schedules", objective["schedules"], objective, ("encoder",))


class TestData(Options):
    """Stores of trajectories.

    Attributes:
        test: of test trajectories.
        val: of validation ones, on which each row's refinement is decided; null: each run's own.
        train: of training ones, for the row of their mean; null: that of the checkpoint.
    """

    test: Text
    val: Text | None
    train: Text | None


class EvaluateSystem(Launched):
    """Scores of trained models.

    Attributes:
        plugins: packages of others whose classes may be built.
        runs: a run folder, or a folder of them: every best checkpoint below is scored.
        data: stores of trajectories.
        out: folder for scores.csv, summary.csv and report.html.
        members: of ensembles.
        limit: trajectories at most, of test and of validation ones; null: all.
        seed: of ensemble draws.
        threads: of torch.
    """

    COMMON: ClassVar = ("members", "limit")

    plugins: list[Text] = []  # noqa: RUF012
    runs: Text
    data: TestData
    out: Text
    members: Size
    limit: Count | None
    seed: Seed
    threads: Threads


class ChooseGauge(Launched):
    """The largest λ whose validation error is near that of λ = 0.

    Attributes:
        plugins: packages of others whose classes may be built.
        runs: folder of VGB-DM runs that differ in λ and seed alone.
        tolerance: share by which the validation error may exceed that of λ = 0.
    """

    plugins: list[Text] = []  # noqa: RUF012
    runs: Text
    tolerance: Share


class BenchmarkSystems(Options):
    """The table of the systems.

    Attributes:
        preset: how long, how often.
        out: folder for stores, runs, table.csv and trials.csv.
        systems: names of configs; null: those of the preset.
        rows: of the table; null: all.
        resume: go on from what is finished in out.
        rescore: score kept runs again, the widths of their posteriors set anew by this commit.
        plugins: packages of others whose systems may be used.
        page: put the tables between their marks in this file, figures beside it; null: nowhere.
    """

    preset: Literal["smoke", "short", "laptop", "full"]
    out: Text
    systems: Names | None
    rows: Names | None
    resume: bool
    rescore: bool = False
    plugins: list[Text] = []  # noqa: RUF012
    page: Text | None
