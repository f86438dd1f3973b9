"""What a training run would take on a grid, said without data.

Memory is counted on tensors without numbers at the true shapes, and added up as a rank holds it;
files and disk follow from the layout of a store that is not there. Seconds are those of this
machine: each kind of work at its rate on a coarse grid.

Shapes: ``F`` frames of a window, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import psutil
import torch
from omegaconf import DictConfig, OmegaConf
from torch._subclasses.fake_tensor import FakeTensorMode

from climate.conventions.calendar import parse_duration
from climate.forecasts.jobs import WRITE_BYTES, Jobs
from climate.forecasts.pieces import READ_BYTES, WINDOW_BYTES
from climate.grids.named import parse_grid
from climate.planning.costs import (
    Costs,
    forecast_costs,
    learning_of,
    table_bytes,
    trained,
    training_costs,
)
from climate.planning.pace import COARSE, Pace, measure_pace
from climate.planning.reads import Reads, reads_of
from climate.store.layout import TrainingStore
from climate.store.planned import PlannedArray, channels_of, planned_store, wind_pairs
from climate.training.run import open_stream
from vgbdm.training.backends.base import Backend
from vgbdm.training.memory import WORD, in_words, state_bytes
from vgbdm.training.shares import share_size

log = logging.getLogger(__name__)

YEARS, CHANNELS = 40, 5
FORECAST_BATCH = 16
"""Of configs/forecast_era5.yaml."""


class Needs(NamedTuple):
    """Bytes, files and work of a rank.

    Attributes:
        samples: of a micro-batch.
        micro_batches: of a step.
        weights: numbers that learn.
        tables: bytes of operators and fixed fields, on the device.
        state: bytes of weights, gradients, moments and averaged weights, on the device.
        costs: of a micro-batch.
        batch: bytes of this step's samples and the next one's, on an accelerator.
        stream: bytes of pools and batches, on the host.
        forecast: costs of a model step of one forecast.
        reads: of the store in an epoch.
        epoch: samples of it, of all ranks.
    """

    samples: int
    micro_batches: int
    weights: int
    tables: int
    state: int
    costs: Costs
    batch: int
    stream: int
    forecast: Costs
    reads: Reads
    epoch: int

    @property
    def computing(self) -> int:
        """Bytes of training on the device, the batch aside."""
        return self.tables + self.state + self.costs.peak

    def forecasting(self, batch: int) -> int:
        """Bytes of so many forecasts at a time on the device."""
        return self.tables + WORD * self.weights + batch * self.forecast.peak


def plan(cfg: DictConfig) -> None:
    """Say what a run would take; see configs/check.yaml. Reads and writes nothing.

    Raises:
        InputError: for what training would refuse without looking at data.
    """
    base = psutil.Process().memory_info().rss
    cfg, store = planned(cfg)
    needs = needs_of(cfg, store)
    there = torch.accelerator.current_accelerator() if torch.accelerator.device_count() else None
    device = there or torch.device("cpu")
    pace = measure_pace(cfg, store, device)
    for line in [
        *describe_memory(cfg, store, needs, base, device),
        *describe_time(cfg, needs, pace, device),
        *describe_disk(cfg, store, needs),
    ]:
        log.info("%s", line)


def planned(cfg: DictConfig) -> tuple[DictConfig, TrainingStore]:
    """The config with the winds of its levels as vectors, and its store that is not there."""
    told, cfg = cfg.check, cast(DictConfig, OmegaConf.create(OmegaConf.to_container(cfg)))
    grid = parse_grid(told.grid, "check.grid")
    if told.channels is None or isinstance(told.channels, int):
        channels = channels_of(told.channels or CHANNELS)
        known = {name for pair in cfg.vectors for name in pair}
        if known:
            cfg.vectors += [pair for pair in wind_pairs(channels) if not {*pair} & known]
    else:
        channels = tuple(told.channels)
    step = parse_duration("step", cfg.step)
    return cfg, planned_store(grid, channels, step, told.years or YEARS)


def needs_of(cfg: DictConfig, store: TrainingStore) -> Needs:
    """What a rank of a run needs; the first rank, than which none needs more.

    Args:
        cfg: as `planned` gives it.
        store: likewise.

    Raises:
        InputError: as `plan`.
    """
    ranks, parts = cfg.check.ranks or 1, cfg.backend.accumulation
    own = share_size(cfg.batch, ranks, parts)
    with FakeTensorMode():
        learning = learning_of(cfg, store)
        sizes = {name: p.numel() for name, p in trained(learning.field).items()}
        costs = training_costs(learning, own // parts)
        forecast = forecast_costs(learning, 1)
    seat: Any = SimpleNamespace(
        rank=0, world_size=ranks, accumulation=parts, device=torch.device("cpu")
    )
    ahead = learning.frames - cfg.history - 1
    stream = open_stream(cfg, store, cast(Backend, seat), ahead, 0)
    stream.close()
    layout = cast(PlannedArray, store.state)
    return Needs(
        samples=own // parts,
        micro_batches=parts,
        weights=sum(sizes.values()),
        tables=table_bytes(learning.field),
        state=state_bytes(sizes, layout_of(cfg, ranks), ranks, cfg.backend.ema is not None),
        costs=costs,
        batch=2 * own * learning.frames * state_of(store),
        stream=stream.memory_bytes,
        forecast=forecast,
        reads=reads_of(stream, layout.shards),
        epoch=len(stream.order.anchors),
    )


def layout_of(cfg: DictConfig, ranks: int) -> str:
    """How weights and moments are shared: as the config says, else as `torchrun` does it."""
    stage = cfg.backend.get("stage")
    return f"zero{stage}" if stage is not None else "ddp" if ranks > 1 else "single"


def state_of(store: TrainingStore) -> int:
    """Bytes of a state."""
    return WORD * math.prod(store.state.shape[1:])


# --- what it says ---------------------------------------------------------------------------------


def describe_memory(
    cfg: DictConfig, store: TrainingStore, needs: Needs, base: int, device: torch.device
) -> list[str]:
    """Memory of a rank in training, of a forecast and of an evaluation."""
    ranks, apart = cfg.check.ranks or 1, device.type != "cpu"
    count, height, width = store.state.shape[1:]
    whole = needs.computing + (needs.batch if apart else needs.stream + base)
    also = (
        f"two batches {in_words(needs.batch)}; of the host's: stream {in_words(needs.stream)}, "
        f"the process {in_words(base)}"
        if apart
        else f"stream {in_words(needs.stream)}, the process itself {in_words(base)}"
    )
    fit = forecast_together(store, cfg.history + 1)
    states = fit * (cfg.history + 1) * state_of(store)
    held = max(WRITE_BYTES, fit * state_of(store))
    one, many = (needs.forecasting(n) for n in (1, fit))
    host = states + 2 * held
    few = "" if fit == FORECAST_BATCH else f", of which {fit} are computed at a time,"
    return [
        f"plan of {height} × {width}, {count} channels, {ranks} rank(s), on {device.type}: no data "
        f"were read; {needs.weights} weights; winds of a level are its vectors",
        f"memory of a rank: {in_words(whole)} = tables {in_words(needs.tables)} + "
        f"{layout_of(cfg, ranks)} state {in_words(needs.state)} + {in_words(needs.costs.peak)} of "
        f"{needs.samples} sample(s) forward and backward ({in_words(needs.costs.kept)} kept "
        f"between) + {also}",
        f"memory of a forecast: {in_words(one)} with batch=1, {in_words(many)} with "
        f"batch={FORECAST_BATCH}{few} and {in_words(host)} of the host's for states and what is "
        f"written, the process aside; whatever the leads and starts",
        f"memory of an evaluation: {in_words(evaluation_bytes(store))} for each thread or worker "
        "by its budgets, the process aside",
    ]


def forecast_together(store: TrainingStore, frames: int) -> int:
    """Starts of a forecast's usual batch that are computed at a time: fewer on fine grids."""
    count, height, width = store.state.shape[1:]
    jobs = Jobs(FORECAST_BATCH, None, 1, count, (height, width), FORECAST_BATCH, frames)
    return jobs.together[0]


def evaluation_bytes(store: TrainingStore) -> int:
    """States and their anomalies that a piece holds, and forecasts read; see `pieces`."""
    of_channel = WORD * math.prod(store.state.shape[2:])
    share = 1 if store.is_big else len(store.channels)
    return max(WINDOW_BYTES, 4 * share * of_channel) + max(READ_BYTES, share * of_channel)


def describe_time(cfg: DictConfig, needs: Needs, pace: Pace, device: torch.device) -> list[str]:
    """Seconds of a step, of the run and of a forecast's step, two digits."""
    step = needs.micro_batches * needs.costs.work.seconds(pace.training)
    lead = needs.forecast.work.seconds(pace.forecast)
    kind = "CPU seconds" if device.type == "cpu" else "seconds"
    total = int(cfg.trainer.total_steps)
    whole = (
        f"{total} steps {step * total / 3600:.2g} h"
        if cfg.trainer.max_minutes is None
        else f"about {max(1, int(60 * cfg.trainer.max_minutes / step))} steps in "
        f"{cfg.trainer.max_minutes:g} minutes"
    )
    return [
        f"time, estimated: {step:.2g} {kind} a step of a rank, {whole}; a model step of one "
        f"forecast {lead:.2g}; by the rates of this {device.type} on {COARSE[True]} points "
        f"({needs.micro_batches * needs.costs.work.operations:.2g} operations of a step); reading, "
        "sending between ranks, saves and validations aside"
    ]


def describe_disk(cfg: DictConfig, store: TrainingStore, needs: Needs) -> list[str]:
    """Bytes on disk, and what a rank reads of them."""
    layout = cast(PlannedArray, store.state)
    bins = cast(Any, store.climatology.array)
    one = WORD * needs.weights * (3 if cfg.backend.ema is None else 4)
    return [
        f"disk: store {in_words(layout.size)} of {layout.shape[0]} states in {layout.files} files "
        "before compression (what lz4 saves depends on the data), its climatology "
        f"{in_words(bins.size)} of "
        f"{bins.shape[0]} maps a channel; checkpoint {in_words(one)}, "
        f"{in_words(one * (cfg.trainer.keep + 3))} at most; a forecast {in_words(state_of(store))} "
        "a lead and start",
        f"files: a rank opens {needs.reads.files} of the store in an epoch, "
        f"{needs.reads.opened} times, and reads {in_words(needs.reads.bytes)} before compression; "
        f"{needs.epoch} samples are {needs.epoch / cfg.batch:.1f} steps",
    ]
