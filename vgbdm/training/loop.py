"""The training loop. It knows no weather, no circuit and no engine."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn

from vgbdm.errors import InputError
from vgbdm.masking import mask
from vgbdm.training import checkpoint
from vgbdm.training.backends import Backend, Batch, Objective, ParameterGroup, StepResult
from vgbdm.training.records import Records
from vgbdm.training.schedules import Schedule
from vgbdm.training.writer import Writer

log = logging.getLogger(__name__)

UNTIMED_STEPS, TIMED_STEPS = 3, 8
"""The first steps are slower (allocation, compilation); the median of the next ones counts, so that
what else a machine does for a moment does not set the length of a run."""


@dataclass(frozen=True)
class Plan:
    """How long to train and when to stop and look.

    Attributes:
        total_steps: optimiser steps, unless ``max_minutes`` is given.
        max_minutes: wall-clock budget; the first steps are timed, then the total is fixed for good.
        validations: how many, evenly spread, the last at the end.
        keep: checkpoints kept besides best and last.
        save_minutes: time between checkpoints, besides those of validations; None: only those.
        patience: validations without a better score after which a run ends; None: never.
    """

    total_steps: int = 1000
    max_minutes: float | None = None
    validations: int = 5
    keep: int = 1
    save_minutes: float | None = 10.0
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.total_steps < 1 or self.validations < 1 or self.keep < 1:
            raise InputError("trainer: total_steps, validations and keep must be at least 1")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"trainer.patience={self.patience}: at least 1, or null for never")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise InputError(f"trainer.max_minutes={self.max_minutes}: must be positive")
        if self.save_minutes is not None and not self.save_minutes > 0:
            raise InputError(f"trainer.save_minutes={self.save_minutes}: positive, or null")


def prepare_run_dir(run_dir: Path, resume: bool) -> None:
    """Make a run folder; one that holds something is only taken to resume.

    Raises:
        InputError: if the folder is not empty and ``resume`` is false.
    """
    if run_dir.exists() and any(run_dir.iterdir()) and not resume:
        raise InputError(f"run_dir={run_dir} is not empty; add resume=true or choose another")
    run_dir.mkdir(parents=True, exist_ok=True)


class Trainer:
    """Trains a field on an endless stream and keeps what can be gone on from.

    Args:
        field: what is trained.
        objective: terms per sample.
        groups: its parameters by learning rate and decay.
        backend: computes steps.
        open_stream: samples consumed → an iterator over this rank's batches, closed at the end.
        validate: field → scores; ``score`` is the one to minimise. *Collective.*
        rate: schedule of the learning rate.
        schedules: of the values an objective takes, by name.
        global_batch: samples per step over all ranks.
        plan: length and validations.
        run_dir: where everything goes.
        identity: what a checkpoint carries: under ``must_match`` hashes and configs that are
            compared on resume, under ``rebuild`` the config of the field as `vgbdm.load` builds it,
            under ``config`` that of the run; it goes to ``config.json`` too, without credentials.
    """

    def __init__(
        self,
        field: nn.Module,
        objective: Objective,
        groups: list[ParameterGroup],
        backend: Backend,
        open_stream: Callable[[int], contextlib.AbstractContextManager[Iterator[Batch]]],
        validate: Callable[[Any], Mapping[str, float]],
        rate: Schedule,
        schedules: Mapping[str, Schedule],
        global_batch: int,
        plan: Plan,
        run_dir: Path,
        identity: Mapping[str, Any],
    ) -> None:
        self.field, self.objective, self.groups, self.backend = field, objective, groups, backend
        self.open_stream, self.validate = open_stream, validate
        self.rate, self.schedules, self.global_batch = rate, schedules, global_batch
        self.plan, self.run_dir = plan, run_dir
        self.identity = {**identity, "config": mask(identity["config"])}
        self.writer, self.saved = Writer(), time.perf_counter()
        self.step, self.best, self.waited = 0, math.inf, 0
        self.total: int | None = None if plan.max_minutes else plan.total_steps

    # --- start and resume ----------------------------------------------------------------------

    def start(self) -> None:
        """Build the engine, from the last whole checkpoint where there is one. *Collective.*"""
        folder = self.find_start()
        if folder is None:
            self.backend.start(self.field, self.objective, self.groups, self.global_batch)
        else:
            self.resume(folder)
        if self.backend.rank == 0:
            checkpoint.write_json(self.run_dir / "config.json", self.identity["config"])

    def resume(self, folder: Path) -> None:
        """Go on from a whole checkpoint of a run that is alike. *Collective.*"""
        state = checkpoint.read_state(folder)
        for name, value in self.identity["must_match"].items():
            if state["must_match"].get(name) != value:
                raise InputError(
                    f"{folder}: {name} is {state['must_match'].get(name)}, this run has {value}; "
                    "resume with the data and options it was started with"
                )
        self.field.load_state_dict(checkpoint.read_tensors(folder, "model"))
        self.backend.start(self.field, self.objective, self.groups, self.global_batch)
        held = set(checkpoint.tensor_files(folder)) - {"model"}
        tensors = {name: checkpoint.read_tensors(folder, name) for name in sorted(held)}
        self.backend.load_moments(tensors, state["step"])
        self.step, self.total, self.waited = state["step"], state["total_steps"], state["waited"]
        self.best = math.inf if state["best"] is None else state["best"]
        self.check_best()
        log.info("resuming %s at step %d of %s", self.run_dir, self.step, self.total)

    def find_start(self) -> Path | None:
        """Rank 0's choice of the checkpoint to go on from, on every rank. *Collective.*"""
        folder, error = None, None
        if self.backend.rank == 0:
            try:
                folder = checkpoint.find_resumable(self.run_dir)
            except InputError as caught:
                error = caught
        self.agree(error)
        step = int(self.backend.broadcast(-1 if folder is None else checkpoint.step_of(folder)))
        return None if step < 0 else checkpoint.folder_of(self.run_dir, step)

    def check_best(self) -> None:
        """Where the best checkpoint is lost, let the next validation set it. *Collective.*"""
        lost = 0.0
        if self.backend.rank == 0:
            try:
                checkpoint.find_whole(self.run_dir, "best")
            except InputError as error:
                log.warning("%s; the next validation sets best anew", error)
                lost = 1.0
        if self.backend.broadcast(lost):
            self.best = math.inf

    def agree(self, error: Exception | None) -> None:
        """Raise rank 0's error on every rank, so that none waits for another. *Collective.*"""
        failed = self.backend.broadcast(float(error is not None))
        if error is not None:
            raise error
        if failed:
            raise InputError("rank 0 has an error with its checkpoints")

    # --- checkpoints ---------------------------------------------------------------------------

    def wishes(self) -> set[str]:
        """What this rank asks of all others: rank 0 a save when it is time for one.

        It asks, too, when the last one could not be written, for `save` says so on every rank.
        """
        minutes = self.plan.save_minutes
        late = minutes is not None and time.perf_counter() - self.saved >= 60 * minutes
        due = (late and not self.writer.is_busy) or self.writer.has_failed
        return {"save"} if self.backend.rank == 0 and due else set()

    def save(self, score: float | None = None) -> None:
        """Begin a checkpoint, as last and, if it is, as best. *Collective.*

        The tensors are gathered and copied here; they are written while training goes on.

        Raises:
            InputError: if the checkpoint before could not be written.
        """
        self.settle()
        better = score is not None and score < self.best
        if score is not None:
            self.waited = 0 if better else self.waited + 1
            self.best = score if better else self.best
        tensors = self.backend.state()
        if self.backend.rank == 0:
            state = {
                **self.identity,
                "step": self.step,
                "total_steps": self.total,
                "samples": self.step * self.global_batch,
                "best": self.best if math.isfinite(self.best) else None,
                "waited": self.waited,
            }
            best = score if better else None
            self.writer.begin(
                lambda: checkpoint.commit(self.run_dir, tensors, state, best, self.plan.keep)
            )
        self.saved = time.perf_counter()

    def settle(self) -> None:
        """Wait until the checkpoint under way is on disk. *Collective.*

        Raises:
            InputError: on every rank, if it could not be written.
        """
        self.agree(self.writer.wait())

    # --- the loop ------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train to the end. *Collective.*

        Raises:
            InputError: if a loss or gradient is not finite; the last checkpoint stands.
        """
        self.start()
        begin = time.perf_counter()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.writer)
            records = None
            if self.backend.rank == 0:
                records = stack.enter_context(Records(self.run_dir, self.step))
            if self.step == 0:
                self.look(records)
            looking = time.perf_counter() - begin
            stream = stack.enter_context(self.open_stream(self.step * self.global_batch))
            seconds: list[float] = []
            while not self.is_over():
                started = time.perf_counter()
                result = self.train_step(next(stream), records, started)
                if self.total is None:
                    seconds.append(time.perf_counter() - started)
                    if self.step == UNTIMED_STEPS + TIMED_STEPS:
                        self.fix_total(begin, looking, median(seconds[-TIMED_STEPS:]))
                if self.total and self.is_due(self.total):
                    self.look(records)
                elif "save" in result.wishes:
                    self.save()
            self.settle()

    def is_over(self) -> bool:
        """Whether the last step is done, or the score has not improved for too long."""
        if self.plan.patience is not None and self.waited >= self.plan.patience:
            return True
        return self.total is not None and self.step >= self.total

    def is_due(self, total: int) -> bool:
        """Whether a validation belongs after this step."""
        marks = [round(total * k / self.plan.validations) for k in range(1, self.plan.validations)]
        return self.step in marks or self.step == total

    def fix_total(self, begin: float, looking: float, step_seconds: float) -> None:
        """Turn the wall-clock budget into a number of steps, once, alike on all ranks."""
        assert self.plan.max_minutes is not None
        spent = time.perf_counter() - begin
        left = 60 * self.plan.max_minutes - spent - looking * self.plan.validations
        steps = self.step + max(left, 0.0) / step_seconds
        self.total = int(self.backend.broadcast(max(math.floor(steps), self.step + 1)))
        log.info("%.3g minutes are %d steps", self.plan.max_minutes, self.total)

    def train_step(self, batch: Batch, records: Records | None, started: float) -> StepResult:
        """One optimiser step, refused where something is not finite."""
        values = {name: f(self.step, self.total) for name, f in self.schedules.items()}
        rate = self.rate(self.step, self.total)
        self.field.train()
        result = self.backend.step(batch, values, rate, self.wishes())
        numbers = (*result.terms.values(), result.gradient_norm)
        if not all(map(math.isfinite, numbers)):
            raise InputError(self.describe_failure(batch, result))
        self.step += 1
        if records:
            seconds = time.perf_counter() - started
            rates = {
                "gradient_norm": result.gradient_norm,
                "learning_rate": rate,
                **{f"weight_{name}": value for name, value in values.items()},
                "samples_per_second": self.global_batch / seconds,
            }
            records.step(self.step, result.terms, rates, self.total)
        return result

    def describe_failure(self, batch: Batch, result: StepResult) -> str:
        """One line: the step, the samples' times, the last good checkpoint."""
        self.writer.join()  # for the last checkpoint to be the last
        bad = [name for name, value in result.terms.items() if not math.isfinite(value)]
        last = checkpoint.find(self.run_dir, "last")
        return (
            f"step {self.step + 1}: {', '.join(bad) or 'the gradient'} is not finite; this rank's "
            f"samples are {batch.describe()}; last good checkpoint: {last or 'none'}; "
            "lower the learning rate and resume=true"
        )

    def look(self, records: Records | None) -> None:
        """Validate and save. *Collective.*"""
        scores = self.validate(self.backend.whole_field().eval())
        better = scores["score"] < self.best
        if records:
            records.validate(self.step, scores, better)
        self.save(scores["score"])
