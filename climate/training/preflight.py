"""What a training run will take, found out before it is started.

Everything that training would refuse is refused here in the same words; then two steps and one save
are made in a scratch folder beside the run's, and nothing is left of it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig

from climate.conventions.wording import period
from climate.store.constants import check_variation
from climate.store.layout import TrainingStore
from climate.store.odd_maps import describe_odd_maps
from climate.training.run import bring_store, build_trainer, derive, open_task_store, region_of
from vgbdm.errors import InputError
from vgbdm.extras import need
from vgbdm.precision import PRECISIONS
from vgbdm.registry.build import build
from vgbdm.storage.files import aside_of, new_token
from vgbdm.storage.outputs import scratch
from vgbdm.training.backends.base import Backend
from vgbdm.training.loop import Trainer
from vgbdm.training.memory import (
    HEADROOM,
    LAYOUTS,
    WORD,
    checkpoint_bytes,
    in_words,
    live_bytes,
    peak_bytes,
    state_bytes,
)
from vgbdm.training.run_folder import check_run_dir, for_all
from vgbdm.training.shares import share_size
from vgbdm.training.transfer import Arrived, Feed, to_numbers

log = logging.getLogger(__name__)

STEPS = 2
"""The first one allocates and compiles; the last one is timed, and memory is counted in it."""
HALFWAY = (5040, 2 * 5040)
"""Step and steps at which schedules are read: in the middle of a run, where rollouts have about
their mean length, and a multiple of every period, for terms that come by turns."""
FASTER = 0.9
"""Share of the seconds below which another precision is worth taking."""
FEW_SAMPLES = 100
"""In training, below which a model of the weather learns them by heart."""
MANY_EPOCHS = 100
"""Passes over the same samples above which more of them would serve better."""
SLOW_SAVE = 0.05
"""Share of the time between saves that a save may take."""


class Measured(NamedTuple):
    """What the steps and the save of a preflight showed, on this rank.

    Attributes:
        state: bytes of weights, gradients, moments and averaged weights on a rank.
        peak: most bytes a rank has held.
        memory: bytes there are for a rank.
        step: seconds.
        save: seconds.
        passes: seconds of forward and backward, and the loss, by precision.
    """

    state: int
    peak: int
    memory: int
    step: float
    save: float
    passes: Mapping[str, tuple[float, float]]


def check_statistics(store: TrainingStore) -> None:
    """Refuse statistics that a validation or test could have leaked into, or that are 0.

    Raises:
        InputError: if their period is not inside the training split, or touches another; if a
            channel does not vary in it.
    """
    (begin, end), splits = store.statistics.period, store.splits
    first, last = splits["train"]
    if begin < first or end > last:
        raise InputError(
            f"{store.path}: its statistics are of {period(begin, end)}, which the training split "
            f"{period(first, last)} does not contain; convert again with this split"
        )
    for name, (start, stop) in splits.items():
        if name != "train" and start <= end and stop >= begin:
            raise InputError(
                f"{store.path}: its statistics ({period(begin, end)}) touch the split {name} "
                f"({period(start, stop)}); convert again with splits that do not overlap"
            )
    held = store.statistics
    check_variation(
        str(store.path),
        store.channels,
        held.std,
        held.tendency_std,
        held.min,
        held.max,
        "convert again to a new store",
    )


def check_disk(run_dir: Path, one: int, keep: int) -> str:
    """Whether the checkpoints of a run fit: ``keep``, best, last, and one being written.

    Raises:
        InputError: if they do not.
    """
    needed, free = one * (keep + 3), shutil.disk_usage(run_dir.parent).free
    if needed > free:
        raise InputError(
            f"run_dir={run_dir}: its checkpoints will take {in_words(needed)}, there is "
            f"{in_words(free)}; make room, choose another disk or lower trainer.keep"
        )
    return f"checkpoints: {in_words(one)} each, {in_words(needed)} at most; free {in_words(free)}"


def preflight(cfg: DictConfig) -> None:
    """Check a run and say what it will take; see configs/train_era5.yaml. *Collective.*

    Raises:
        InputError: one line, for whatever training would refuse.
    """
    need("tensorboard", "training")
    region_of(cfg)
    bring_store(cfg)
    backend, run_dir = build(cfg.backend), Path(cfg.run_dir).absolute()
    check_run_dir(run_dir, cfg.resume)
    token = int(backend.broadcast(float(new_token())))
    place = aside_of(run_dir, token)

    def begin(stack: contextlib.ExitStack) -> None:
        stack.enter_context(scratch(run_dir, token))
        derive(cfg, place)

    with for_all(backend, begin):
        check_statistics(open_task_store(cfg, place))
        trainer = build_trainer(cfg, backend, place)
        opened: Any = trainer.open_stream(0)
        with opened as stream:
            samples = len(stream.order.anchors)
            measured = measure(trainer, backend, Feed(stream, backend.device))
        disk = check_disk(run_dir, checkpoint_bytes(backend), cfg.trainer.keep)
    sizes = {n: backend.shapes[n].numel() for n, p in trainer.field.named_parameters()
             if p.requires_grad}  # fmt: skip
    log.info("%s", arithmetic(cfg, backend, samples))
    log.info("%s", disk)
    for line in memory_table(sizes, backend, measured):
        log.info("%s", line)
    log.info("%s", timing(trainer, measured))
    log.info("%s", precisions(measured))
    odd = describe_odd_maps(Path(cfg.stage or cfg.store))
    for line in advice(cfg, backend, sizes, measured, samples, odd):
        log.info("advice: %s", line)


def measure(trainer: Trainer, backend: Backend, batches: Iterator[Arrived]) -> Measured:
    """Start, make a few steps, and save. *Collective.*"""
    numbers = sum(p.numel() for p in trainer.field.parameters())
    before = live_bytes() - WORD * numbers
    trainer.start()
    values = {name: f(*HALFWAY) for name, f in trainer.schedules.items()}
    state, seconds = 0, 0.0

    def count(terms: Mapping[str, float]) -> bool:
        nonlocal state
        state = live_bytes() - before  # gradients are whole here, activations are gone
        return True

    for batch in itertools.islice(batches, STEPS):
        begin = time.perf_counter()
        trainer.field.train()
        backend.step(batch, values, 1e-6, (), count)
        seconds = time.perf_counter() - begin
    peak = peak_bytes(backend)
    passes = {kind: measure_pass(backend, batch, values, kind) for kind in PRECISIONS}
    begin = time.perf_counter()
    trainer.save()
    trainer.saver.settle()
    saved = time.perf_counter() - begin
    return Measured(state, peak, memory_of(backend), seconds, saved, passes)


def measure_pass(
    backend: Backend, batch: Arrived, values: Mapping[str, float], precision: str
) -> tuple[float, float]:
    """Seconds of forward and backward in a precision, and the loss; nothing moves. *Collective.*"""
    usual, learner = backend.learner.precision, backend.learner
    learner.precision, seconds, loss = precision, 0.0, 0.0
    micro = batch.device.part(0, len(batch.host) // backend.accumulation)
    for _ in range(STEPS):
        begin = time.perf_counter()
        (loss,) = to_numbers(backend.gradients(micro, values, True)["loss"].detach().reshape(1))
        seconds = time.perf_counter() - begin
        backend.discard(micro, values)
    learner.precision = usual
    return seconds, loss


def memory_of(backend: Backend) -> int:
    """Bytes a rank may take: of its accelerator, or its share of the machine's."""
    if backend.device.type == "cuda":
        return int(torch.cuda.get_device_properties(backend.device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // backend.world_size


# --- what it says ---------------------------------------------------------------------------------


def arithmetic(cfg: DictConfig, backend: Backend, samples: int) -> str:
    """How the batch is shared."""
    ranks, parts = backend.world_size, backend.accumulation
    own = share_size(cfg.batch, ranks, parts)
    padded = own * ranks - cfg.batch
    more = f" less {padded} of weight 0" if padded else ""
    return (
        f"batch: {cfg.batch} samples = {ranks} rank(s) × {parts} micro-batch(es) × "
        f"{own // parts}{more}; {samples} samples in an epoch, {samples / cfg.batch:.1f} steps"
    )


def memory_table(sizes: Mapping[str, int], backend: Backend, measured: Measured) -> list[str]:
    """State bytes of each layout by formula, and measured for the one in use."""
    ranks, ema = backend.world_size, backend.ema is not None
    lines = [f"state per rank on {ranks} rank(s) (weights, gradients, moments), by formula:"]
    for layout in LAYOUTS:
        if (layout == "single") == (ranks > 1):
            continue
        text = f"  {layout:7s} {in_words(state_bytes(sizes, layout, ranks, ema)):>9s}"
        if layout == backend.name:
            text += f"   measured {in_words(measured.state)}"
        lines.append(text)
    return [*lines, f"peak memory of this rank: {in_words(measured.peak)} of "
            f"{in_words(measured.memory)}"]  # fmt: skip


def timing(trainer: Trainer, measured: Measured) -> str:
    """Seconds of a step and of the run, without its validations."""
    minutes = trainer.plan.max_minutes
    if minutes is not None:
        whole = f"{60 * minutes / measured.step:.0f} steps fit in {minutes:g} minutes"
    else:
        steps = trainer.plan.total_steps
        whole = f"{steps} steps take {steps * measured.step / 3600:.2g} h"
    return (
        f"time: {measured.step:.3g} s a step, {measured.save:.3g} s a save; {whole}, "
        "validations aside"
    )


def precisions(measured: Measured) -> str:
    """What bf16 is worth on this machine, for this model."""
    (slow, exact), (fast, loss) = measured.passes["fp32"], measured.passes["bf16"]
    return (
        f"precision: bf16 computes a pass in {fast / slow:.2f} of the time of fp32, "
        f"its loss differs by {abs(loss - exact) / abs(exact):.1g}"
    )


def judge_length(cfg: DictConfig, samples: int, weights: int, seconds: float) -> list[str]:
    """What is odd about the samples, the epochs and the steps of a run.

    Args:
        cfg: of the run.
        samples: in an epoch.
        weights: that are trained.
        seconds: of a step.
    """
    minutes, total = cfg.trainer.max_minutes, int(cfg.trainer.total_steps)
    steps = max(1, int(60 * minutes / seconds)) if minutes is not None else total
    epochs, found = steps * cfg.batch / samples, []
    run = f"{steps} steps of {cfg.batch} samples"
    if samples < cfg.batch:
        found.append(
            f"a batch of {cfg.batch} is more than the {samples} samples of training: each comes "
            f"several times in every step; lower batch, or convert a longer split.train"
        )
    if samples < FEW_SAMPLES or epochs > MANY_EPOCHS:
        fewer = max(1, int(MANY_EPOCHS * samples / cfg.batch))
        shorter = (
            f"trainer.total_steps={fewer}" if minutes is None else "a smaller trainer.max_minutes"
        )
        remedy = f", or {shorter}" if epochs > MANY_EPOCHS else ""
        found.append(
            f"few samples: {run} are {epochs:.0f} epochs over {samples} samples, for "
            f"{weights} weights; they will be learnt by heart: convert a longer split.train{remedy}"
        )
    elif epochs < 1:
        whole = -(-samples // cfg.batch)
        found.append(
            f"short: {run} are {epochs:.2f} of an epoch of {samples} samples; the rest is never "
            f"seen: an epoch is trainer.total_steps={whole}"
        )
    return found


def advice(
    cfg: DictConfig,
    backend: Backend,
    sizes: Mapping[str, int],
    measured: Measured,
    samples: int,
    odd: Sequence[str] = (),
) -> list[str]:
    """What could be done better, in plain words.

    Args:
        cfg: of the run.
        backend: of the run.
        sizes: numbers by parameter that is trained.
        measured: see there.
        samples: in an epoch.
        odd: maps of the store that are no weather, see `climate.store.odd_maps`.
    """
    found = [f"look at odd maps before training: {line}" for line in odd]
    found += judge_length(cfg, samples, sum(sizes.values()), measured.step)
    ranks = backend.world_size
    if measured.peak > HEADROOM * measured.memory:
        found.append(
            "memory is nearly full: try backend.recompute=true, then backend.accumulation=2"
        )
        if ranks > 1 and backend.name != "zero3":
            less = state_bytes(sizes, "zero3", ranks, backend.ema is not None)
            found.append(
                f"backend.stage=3 would hold {in_words(less)} of state on a rank instead of "
                f"{in_words(measured.state)}"
            )
    elif backend.name == "zero3" and measured.peak < HEADROOM * measured.memory / 2:
        found.append("there is room: a lower backend.stage sends less between ranks and is faster")
    seconds = {kind: found_in for kind, (found_in, _) in measured.passes.items()}
    best = min(seconds, key=seconds.__getitem__)
    if seconds[best] < FASTER * seconds[backend.precision]:
        found.append(f"backend.precision={best}: it is faster here, see above")
    if backend.accumulation > 1 and measured.peak < HEADROOM * measured.memory / 2:
        found.append("there is room: a smaller backend.accumulation is faster")
    every = 60 * (cfg.trainer.get("save_minutes") or 0)
    if every and measured.save > SLOW_SAVE * every:
        found.append(f"a save takes {measured.save:.0f} s: raise trainer.save_minutes")
    return found or ["nothing stands out; start it"]
