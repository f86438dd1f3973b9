"""Training on weather: a store and a config → a run folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from climate.conventions.calendar import SPLITS, is_monthly, parse_duration
from climate.conventions.cycles import describe_arcs
from climate.conventions.wording import date, duration, last_date
from climate.grids.regions import Region, parse_region
from climate.models.domain import Domain, identical
from climate.models.field import WeatherField
from climate.models.roles import role_lines
from climate.models.step_change import step_change
from climate.models.weather_model import WeatherModel
from climate.operators.table_cache import tables_kept_in
from climate.store.layout import TrainingStore, open_store
from climate.store.mask import mask_lines
from climate.store.staging import stage as stage_store
from climate.stream.batches import WindowStream
from climate.stream.pool import Aside
from climate.stream.views import open_view
from climate.training.gradient_choice import choose_gradient, comparable
from climate.training.likelihood import Prepared
from climate.training.loss_weights import describe_weights, loss_weights
from climate.training.validation import RolloutValidation
from vgbdm.errors import InputError
from vgbdm.extras import need
from vgbdm.options.kinds import NotNegative
from vgbdm.registry.build import build
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.steps import ParameterGroup
from vgbdm.training.beginning import start_from
from vgbdm.training.card import described
from vgbdm.training.checkpoint import find, find_resumable, read_state
from vgbdm.training.faults import starting
from vgbdm.training.loop import Trainer
from vgbdm.training.plan import Plan
from vgbdm.training.run_folder import DERIVED, owned
from vgbdm.training.status import Status

log = logging.getLogger(__name__)

FREE = (
    "store", "stage", "cache", "stream.threads", "stream.memory_gib", "weights", "weights.",
    "model.", "physics.", "verbose",
)  # fmt: skip
"""Options that may differ when a run is resumed: what the store holds is compared, the model, as
`comparable` says, with what ``physics`` sets, and what weights come to; the rest is how the same is
computed."""

WITHOUT_LATENTS = {"latents": None}
"""What a deterministic model says of latents: a stochastic one may begin with its weights."""


def parameter_groups(
    field: nn.Module, *, weight_decay: NotNegative, physics_rate: NotNegative
) -> list[ParameterGroup]:
    """Weights with decay; biases, norms and lags without; θ without, at its own rate.

    Frozen parameters and empty groups are left out.

    Args:
        field: with its physical parameters under ``theta``.
        weight_decay: of weights with two dimensions or more.
        physics_rate: multiple of the learning rate for θ.
    """
    theta, weights, rest = [], [], []
    for name, parameter in field.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("theta."):
            theta.append(parameter)
        elif parameter.dim() > 1 and name.endswith("weight"):
            weights.append(parameter)
        else:
            rest.append(parameter)
    groups = [
        ParameterGroup(weights, 1.0, weight_decay),
        ParameterGroup(rest, 1.0, 0.0),
        ParameterGroup(theta, physics_rate, 0.0),
    ]
    return [group for group in groups if group.parameters]


def freeze(field: nn.Module, parts: Sequence[str]) -> None:
    """Let the parameters under some names stand still: a stage does not use them.

    Raises:
        InputError: if these are all.
    """
    for name, parameter in field.named_parameters():
        if name.startswith(tuple(f"{part}." for part in parts)):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in field.parameters()):
        raise InputError(
            f"finetune.frozen=[{','.join(parts)}]: these are all of this model's parameters; leave "
            "out what is to be trained"
        )


def check_tunable(field: nn.Module, init: str | None) -> None:
    """Refuse to fine-tune what was not trained, or is trained by rollouts anyway."""
    if init is None:
        raise InputError("finetune=… goes on from a trained model; give init=<its run folder>")
    if not isinstance(field, WeatherField):
        raise InputError(
            f"finetune=…: {type(field).__name__} is trained by rollouts already; choose gbdm, "
            "vgbdm or blackbox"
        )


def open_stream(
    cfg: DictConfig,
    store: TrainingStore,
    backend: Backend,
    ahead: int,
    consumed: int,
    aside: Aside | None = None,
) -> WindowStream:
    """This rank's training stream from a position on; windows reach ``ahead`` steps forward."""
    options = dict(cfg.stream)
    return WindowStream(
        store,
        "train",
        step=parse_duration("step", cfg.step),
        history=cfg.history,
        ahead=ahead,
        global_batch=cfg.batch,
        rank=backend.rank,
        ranks=backend.world_size,
        accumulation=backend.accumulation,
        seed=cfg.seed,
        consumed=consumed,
        pin=backend.device.type == "cuda",
        aside=aside,
        **options,
    )


def build_model(
    cfg: DictConfig,
    store: TrainingStore,
    before: Mapping[str, Any] | None = None,
    kept: Path | None = None,
) -> tuple[WeatherModel, dict[str, Any]]:
    """The untrained model, alike on every rank, and the facts that it follows from.

    Args:
        cfg: see configs/train_era5.yaml.
        store: to train on.
        before: the domain of the model that is gone on from, whose time features are kept.
        kept: folder for what takes long to gather from the store; None: it is gathered anew.
    """
    step = parse_duration("step", cfg.step)
    domain = Domain.from_store(store, step, cfg.vectors, cfg.history, kept, cfg.roles)
    if before is not None:
        domain = replace(domain, seen=before.get("seen"))
    torch.manual_seed(cfg.seed)
    model: Any = OmegaConf.to_container(cfg.model, resolve=True)
    with tables_kept_in(cfg.cache):
        built = build(cfg.model, domain)
    return built, {"model": model, "domain": domain.describe()}


def domain_before(cfg: DictConfig, run_dir: Path) -> dict[str, Any] | None:
    """The domain of the model that a run goes on from; None where it starts anew."""
    folder = find_resumable(run_dir, warn=False) if cfg.resume else None
    if folder is None and cfg.init is not None:
        folder = find(Path(cfg.init), "best")  # that it is whole, `start_from` looks
    return None if folder is None else dict(read_state(folder)["rebuild"].get("domain", {}))


def say_left_out(field: WeatherModel) -> None:
    """One line for each cycle that training does not cover, which the model is not given."""
    seen = field.domain.seen or {}
    for cycle in field.calendar.cycles:
        if cycle not in field.calendar.used:
            log.info(
                "time features: the %s is left out of the model; training sees %s, and leaves a "
                "gap above an eighth of the cycle", cycle,
                describe_arcs(seen[cycle], cycle),
            )  # fmt: skip


def region_of(cfg: DictConfig) -> Region | None:
    """The region of the task; None for the globe."""
    return parse_region(cfg.region, cfg.halo) if "region" in cfg else None


def open_task_store(cfg: DictConfig, run_dir: Path | None = None) -> TrainingStore:
    """The store as the task sees it; see the config group ``task``.

    Args:
        cfg: see configs/train_era5.yaml.
        run_dir: where monthly means go that a read-only store cannot hold; None: as in ``cfg``.
    """
    step, aside = parse_duration("step", cfg.step), (run_dir or Path(cfg.run_dir)) / DERIVED
    return open_view(cfg.stage or cfg.store, step, region_of(cfg), aside)


def derive(cfg: DictConfig, run_dir: Path) -> None:
    """Make what is made once from a store, and kept: monthly means, and changes per step."""
    with starting(Status(run_dir)):
        store = open_task_store(cfg, run_dir)
        step_change(store, parse_duration("step", cfg.step), run_dir / DERIVED)


def bring_store(cfg: DictConfig) -> None:
    """Copy a store from elsewhere to this machine's disk, where that is asked for."""
    if cfg.stage is None:
        open_store(cfg.store)
    elif int(os.environ.get("LOCAL_RANK", "0")) == 0:
        monthly = is_monthly(parse_duration("step", cfg.step))  # monthly means need all of it
        stage_store(cfg.store, cfg.stage, SPLITS if monthly else ("train", "val"))


def data_facts(store: TrainingStore) -> list[tuple[str, object]]:
    """What a model card says of a store."""
    periods = [
        (f"period of {name}", f"{date(period[0])} to {last_date(period[1])}")
        for name, period in store.splits.items()
    ]
    said = [(name, value) for name, value in store.provenance.items() if isinstance(value, str)]
    units = ", ".join(f"{n} ({store.channel_attrs[n]['units']})" for n in store.channels)
    return [
        ("store", store.path),
        ("digest", store.digest),
        *periods,
        ("variables", units),
        ("grid", f"{len(store.lat)} × {len(store.lon)}, every {duration(store.step)}"),
        *said,
        ("licence", "that of its source, which the store does not hold: ask its publisher"),
    ]


def open_validation(cfg: DictConfig, store: TrainingStore, backend: Backend) -> RolloutValidation:
    """Rollouts over the validation period, as the config says."""
    options = dict(cfg.validation) | {
        "lead": parse_duration("validation.lead", cfg.validation.lead)
    }
    step = parse_duration("step", cfg.step)
    return RolloutValidation(
        store, backend, step=step, history=cfg.history, seed=cfg.seed, **options
    )


def identity_of(cfg: DictConfig, stream: WindowStream, objective: DictConfig) -> dict[str, Any]:
    """What a checkpoint and a run that goes on from it must agree in beside data and model."""
    return {
        "order": stream.order.digest,
        "batch": cfg.batch,
        "seed": cfg.seed,
        "objective": OmegaConf.to_container(objective, resolve=True),
    }


def train(cfg: DictConfig) -> None:
    """Train as a config says; see configs/train_era5.yaml. *Collective.*

    Raises:
        InputError: one line, for what cannot be trained on or gone on from.
    """
    need("tensorboard", "training")
    region_of(cfg)  # before ranks wait for each other, each says what is wrong with its input
    bring_store(cfg)
    run_dir, backend = Path(cfg.run_dir), build(cfg.backend)
    with owned(run_dir, backend, cfg.resume, lambda: derive(cfg, run_dir)):
        with starting(Status(run_dir)):
            trainer = build_trainer(cfg, backend, run_dir)
        with described(trainer, data_facts(open_task_store(cfg, run_dir))):
            trainer.fit()
        if backend.rank == 0:
            log.info("%s", trainer.ending())


def build_trainer(cfg: DictConfig, backend: Backend, run_dir: Path) -> Trainer:
    """Everything of a run, ready to start. *Collective.*

    Args:
        cfg: see configs/train_era5.yaml.
        backend: of this process.
        run_dir: exists; instead of that of the config.
    """
    store = open_task_store(cfg, run_dir)
    field, described = build_model(cfg, store, domain_before(cfg, run_dir), run_dir / DERIVED)
    facts = {
        "mask": described["domain"]["mask"] or None,  # first: it says more than other statistics
        "statistics": store.statistics.hash,
        "model": comparable(described["model"]),
        "domain": identical(described["domain"]),
    }
    stage = cfg.get("finetune", cfg)
    if stage is not cfg:
        check_tunable(field, cfg.init)
    if cfg.init is not None:
        start_from(field, cfg.init, facts, WITHOUT_LATENTS)
    freeze(field, stage.get("frozen", []))
    weights = loss_weights(field.domain.forecast, cfg.weights)
    field.weigh(None if weights is None else [weights.get(name, 1.0) for name in field.channels])
    objective = build(stage.objective)
    aside = None
    if isinstance(objective, Prepared):
        aside = objective.prepare(field, store, backend, run_dir / DERIVED)
    first = open_stream(cfg, store, backend, objective.ahead, 0)
    first.close()
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    must_match = facts | identity_of(cfg, first, stage.objective) | {"weights": weights}
    rebuild = {**described["model"], "domain": described["domain"]}
    choose_gradient(field, objective.ahead, cfg.batch, backend)
    trainer = Trainer(
        field,
        objective,
        groups=parameter_groups(field, **cfg.optimizer),
        backend=backend,
        open_stream=lambda consumed: open_stream(
            cfg, store, backend, objective.ahead, consumed, aside
        ),
        validate=open_validation(cfg, store, backend),
        rate=build(stage.rate),
        schedules={name: build(schedule) for name, schedule in stage.schedules.items()},
        global_batch=cfg.batch,
        plan=Plan(**cfg.trainer),
        run_dir=run_dir,
        identity={
            "must_match": must_match,
            "rebuild": rebuild,
            "config": resolved,
            "data": {"store": store.digest},
        },
        free=FREE,
    )
    if backend.rank == 0:
        count = sum(p.numel() for p in field.parameters())
        log.info(
            "%d parameters, %d samples, %d rank(s) on %s",
            count, len(first.order.anchors), backend.world_size, backend.device,
        )  # fmt: skip
        if weights is not None:
            log.info("weights of the loss: %s", describe_weights(weights))
        say_left_out(field)
        for line in mask_lines(store.channels, store.mask):
            log.info("%s; they count in no loss and no score", line)
        for line in role_lines(field.domain.forcing, field.domain.diagnostic):
            log.info("%s", line)
    return trainer
