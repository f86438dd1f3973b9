"""Options of training and of its preflight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Len

from climate.conventions.calendar import count_steps, parse_duration
from climate.options.words import Duration, Region, SomeNames, Vectors
from vgbdm.errors import InputError
from vgbdm.options.backends import check_backend
from vgbdm.options.kinds import (
    Count,
    Divides,
    Frames,
    Node,
    Node_,
    NodesByName,
    NotNegative,
    Of,
    Positive,
    Seed,
    Size,
    Text,
    Unit,
    With,
)
from vgbdm.options.schedules import check_schedules
from vgbdm.options.shapes import Launched, Options


class Sizes(Options):
    """Sizes of the networks; see the group `size`.

    Attributes:
        width: hidden channels.
        blocks: residual blocks.
        coarsening: the blocks work on every so many-th row and column.
        history_width: width of the attention over past states.
        heads: of that attention; divides its width.
    """

    width: Size
    blocks: Size
    coarsening: Literal[1, 2]
    history_width: Size
    heads: Annotated[Size, Divides("history_width")]


class Operators(Options):
    """What differentiates on the sphere; see the group `operators`.

    Attributes:
        gradient: another ∇ than the spectral one; null: the spectral one.
    """

    gradient: Annotated[Any, Node(positional=1)] | None


class Physics(Options):
    """What the models are told of the time scale; see the group `task`.

    Attributes:
        wind_limit: bound of the advecting wind; null: 1.5 × its largest component in training.
        fitted_wind_limit: bound of winds that are fitted rather than in the state.
        divergence_limit: bound of its divergence; null: half of that limit at the smallest scale.
        fitted_divergence_limit: bound of the divergence of those.
        priors: of θ, name → [median, spread of the logarithm].
    """

    wind_limit: Annotated[Positive, Unit("m/s")] | None
    fitted_wind_limit: Annotated[Positive, Unit("m/s")]
    divergence_limit: Annotated[Positive, Unit("1/s")] | None
    fitted_divergence_limit: Annotated[Positive, Unit("1/s")]
    priors: dict[str, Annotated[list[Positive], Len(2, 2)]]


class Roles(Options):
    """Of channels that are not prognostic.

    Attributes:
        forcing: known ahead, such as sst: given to the model, never forecast.
        diagnostic: predicted and not fed back, such as tp.
    """

    forcing: SomeNames
    diagnostic: SomeNames


class Validation(Options):
    """Rollouts over the validation period.

    Attributes:
        lead: longest forecast.
    """

    lead: Duration


class FineTuning(Options):
    """A stage after matching; objective, schedules and rate stand in for those of the model.

    Attributes:
        objective: what a sample of the stage minimises.
        frozen: parts that stand still.
        schedules: name → a number that changes during the stage.
        rate: learning rate of the stage.
    """

    objective: Node_
    frozen: list[Text]
    schedules: NodesByName
    rate: Node_


class TrainEra5(Launched):
    """Training on weather.

    Attributes:
        plugins: packages of others whose classes may be built.
        size: sizes of the networks.
        path: the curve through the frames that is matched.
        operators: what differentiates on the sphere.
        backend: what computes steps, on one process or many.
        model: the network and its physics.
        objective: what a sample of training minimises.
        schedules: name → a number that changes during training.
        finetune: a stage after matching; null: none.
        physics: what the models are told of the time scale.
        step: the model's step, a multiple of the store's.
        region: a box to train in; only of task=regional.
        halo: grid points around the box.
        store: a finished training store.
        stage: local folder to copy the store to first, where it is elsewhere; null: none.
        cache: folder where tables of operators on fine grids are kept; null: the user's own.
        run_dir: folder of this run: checkpoints, logs, config.
        resume: go on from the last checkpoint in run_dir, or start where there is none.
        init: run folder whose best weights to start from; null: none.
        seed: of initial weights, order of samples and all draws.
        history: past states a forecast sees besides the current one.
        vectors: pairs that are eastward and northward parts of a vector.
        roles: of channels that are not prognostic.
        weights: of channels in the loss, scaled to a mean of 1: auto (on several levels by
            pressure, else alike); name → number for those that differ from it, 0 for what counts
            in no loss; null: all alike.
        batch: samples per step over all ranks.
        stream: how the store is read.
        rate: learning rate.
        optimizer: decay of weights and rate of θ.
        trainer: length of the run, and when it looks, saves and stops.
        validation: rollouts over the validation period.
    """

    COMMON: ClassVar = (
        "model", "size", "path", "task", "step", "history", "batch", "seed", "resume", "init",
        "rate.peak", "trainer.total_steps", "trainer.max_minutes", "region", "backend.precision",
    )  # fmt: skip

    plugins: list[Text] = []  # noqa: RUF012
    size: Sizes
    physics: Physics
    path: Node_
    operators: Operators
    backend: Node_
    model: Annotated[Any, Node(positional=1)]
    objective: Node_
    schedules: NodesByName
    finetune: FineTuning | None = None
    step: Duration
    region: Region | None = None
    halo: Annotated[Frames, With("region")] = 0
    store: Text
    stage: Text | None
    cache: Text | None
    run_dir: Text
    resume: bool
    init: Text | None
    seed: Seed
    history: Frames
    vectors: Vectors
    roles: Roles
    weights: dict[str, NotNegative] | Literal["auto"] | None
    batch: Count
    stream: Annotated[
        Mapping[str, Any],
        Of(
            "climate.stream.batches.WindowStream",
            (
                "store", "split", "step", "history", "ahead", "global_batch", "rank", "ranks",
                "accumulation", "seed", "consumed", "pin", "aside",
            ),
        ),
    ]  # fmt: skip
    rate: Node_
    optimizer: Annotated[Mapping[str, Any], Of("climate.training.run.parameter_groups", ("field",))]
    trainer: Annotated[Mapping[str, Any], Of("vgbdm.training.plan.Plan")]
    validation: Annotated[
        Mapping[str, Any],
        Of(
            "climate.training.validation.RolloutValidation",
            ("store", "backend", "step", "history", "lead", "seed"),
            Validation,
        ),
    ]

    @classmethod
    def check_relations(cls, values: Mapping[str, Any]) -> None:
        """Lanes and micro-batches divide the batch, the step the lead; schedules are read."""
        lanes, batch = values["stream"]["lanes"], values["batch"]
        if batch % lanes:
            raise InputError(f"stream.lanes={lanes}: want a divisor of batch={batch}")
        check_backend(values["backend"], batch)
        step, lead = parse_duration("step", values["step"]), values["validation"]["lead"]
        count_steps("validation.lead", parse_duration("validation.lead", lead), step, "the model's")
        if values.get("halo") and values.get("region") is None:
            raise InputError(
                f"halo={values['halo']}: does nothing with region=null; give task=regional and a "
                "region, or leave it out"
            )
        if values["size"]["coarsening"] > 1 and "coarsening" not in values["model"]:
            raise InputError(
                "size.coarsening=2: does nothing in this model, whose blocks know no other points "
                "than those of the grid; give size.coarsening=1"
            )
        wind = values["model"].get("wind")
        if wind is not None and wind[0] == wind[1]:
            raise InputError(f"model.wind={wind}: want two names, the eastward part first")
        check_schedules("schedules", values["schedules"], values["objective"])
        stage = values.get("finetune")
        if stage is not None:
            check_schedules("finetune.schedules", stage["schedules"], stage["objective"])
