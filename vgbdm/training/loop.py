"""The training loop. It knows no weather, no circuit and no engine."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from torch import nn

from vgbdm.errors import InputError, StoppedError
from vgbdm.origin import software
from vgbdm.registry.build import check_parts
from vgbdm.storage.files import write_json
from vgbdm.storage.masking import mask
from vgbdm.training import checkpoint, interrupts
from vgbdm.training.backends import TrainingBatch
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.learner import Objective
from vgbdm.training.backends.steps import ParameterGroup, StepResult
from vgbdm.training.course import Course
from vgbdm.training.faults import LossGuard, supervised
from vgbdm.training.plan import Plan
from vgbdm.training.records import Records
from vgbdm.training.saving import Saver
from vgbdm.training.schedules import Schedule, check_rates
from vgbdm.training.state import (
    allowed_changes,
    course_of,
    describe_changes,
    describe_difference,
)
from vgbdm.training.status import Status
from vgbdm.training.stopwatch import Stopwatch
from vgbdm.training.transfer import Arrived, Feed
from vgbdm.training.watchdog import Watchdog, note_progress

log = logging.getLogger(__name__)

Field = TypeVar("Field", bound=nn.Module)
Batch = TypeVar("Batch", bound=TrainingBatch)

NEEDED = ("step", "total_steps", "best", "waited", "looked", "guard", "must_match", "config")
"""What a checkpoint must say for a run to go on from it."""


class Trainer(Generic[Field, Batch]):
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
            under ``config`` that of the run; it goes to ``config.json`` too, without credentials;
            what else is there is only kept, such as the digest of the data.
        free: names in the config that may differ on resume, see `allowed_changes`.
    """

    def __init__(
        self,
        field: Field,
        objective: Objective[Field, Batch],
        *,
        groups: list[ParameterGroup],
        backend: Backend,
        open_stream: Callable[[int], contextlib.AbstractContextManager[Iterator[Batch]]],
        validate: Callable[[Field], Mapping[str, float]],
        rate: Schedule,
        schedules: Mapping[str, Schedule],
        global_batch: int,
        plan: Plan,
        run_dir: Path,
        identity: Mapping[str, Any],
        free: Sequence[str] = (),
    ) -> None:
        self.field, self.objective, self.groups, self.backend = field, objective, groups, backend
        self.open_stream, self.validate = open_stream, validate
        self.rate, self.schedules, self.global_batch = rate, schedules, global_batch
        self.plan, self.run_dir = plan, run_dir
        if plan.clock == "cpu" and backend.device.type != "cpu":
            raise InputError(f"trainer.clock=cpu: steps run on {backend.device}; give wall")
        if "rebuild" in identity:
            check_parts(identity["rebuild"])
        self.identity = {
            **identity, "config": mask(identity["config"]), "software": software()
        }  # fmt: skip
        self.free, self.changes = free, list[dict[str, Any]]()
        self.saver = Saver(run_dir, backend, plan.keep, plan.save_minutes)
        self.guard = LossGuard(plan.nonfinite, plan.max_skips, plan.explosion)
        self.status = Status(run_dir)
        self.step, self.best, self.waited, self.looked = 0, math.inf, 0, -1
        self.was_over = False
        self.course = Course(None if plan.max_minutes else plan.total_steps)
        self.stopwatch = Stopwatch(plan.clock)
        check_rates(rate, groups, self.total)

    @property
    def total(self) -> int | None:
        """Optimiser steps of the whole run, as planned; None while the first ones are timed."""
        return self.course.total

    # --- start and resume ----------------------------------------------------------------------

    def start(self) -> None:
        """Build the engine, from the last whole checkpoint where there is one. *Collective.*"""
        folder = self.saver.find_start()
        if folder is None:
            self.backend.start(self.field, self.objective, self.groups, self.global_batch)
        else:
            self.resume(folder)

    def resume(self, folder: Path) -> None:
        """Go on from a whole checkpoint of a run that is alike. *Collective.*"""
        state = checkpoint.read_state(folder, *NEEDED)
        changes = allowed_changes(state["config"], self.identity["config"], self.free, folder)
        course = course_of(state, changes, self.plan, folder)
        for name, value in self.identity["must_match"].items():
            if state["must_match"].get(name) != value:
                told = describe_difference(name, state["must_match"].get(name), value)
                raise InputError(
                    f"{folder}: {told}; resume with the data and options it was started with"
                )
        weights = checkpoint.read_tensors(folder, "model")
        checkpoint.put_weights(self.field, weights, folder)
        tensors = checkpoint.read_moments(folder, self.field)
        self.backend.start(self.field, self.objective, self.groups, self.global_batch)
        self.guard.load(state["guard"])
        self.backend.load_moments(tensors, max(state["step"] - self.guard.skipped, 0))
        self.step, self.course, total = state["step"], course, course.total
        self.stopwatch = Stopwatch.of(state, self.plan.clock)
        self.status.train_seconds = self.stopwatch.known
        self.waited, self.looked = state["waited"], state["looked"]
        if state["best"] is not None and self.saver.has_best():  # else the next one is the best
            self.best = state["best"]
        self.changes = list(state.get("changes", []))
        log.info("resuming %s at step %d of %s", self.run_dir, self.step, self.total)
        if changes:
            self.changes.append({"step": self.step, "changed": changes})
            log.info("changed: %s", describe_changes(changes))
        if course != Course.of(state):
            log.info("rates and weights are those of %s steps from step %d on", total, self.step)

    def save(self, score: float | None = None) -> None:
        """Begin a checkpoint, as last and, if it is, as best. *Collective.*"""
        better = score is not None and score < self.best
        if score is not None:
            self.waited = 0 if better else self.waited + 1
            self.best = score if better else self.best
        state = {
            **self.identity,
            "step": self.step,
            **self.course.state(),
            **self.stopwatch.state(),
            "samples": self.step * self.global_batch,
            "best": self.best if math.isfinite(self.best) else None,
            "waited": self.waited,
            "looked": self.looked,
            "guard": self.guard.state(),
            "changes": self.changes,
        }
        self.saver.save(state, score if better else None)

    # --- the loop ------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train to the end. *Collective.*

        Raises:
            InputError: if the run folder's checkpoint is not one to go on from.
            StoppedError: if any rank was asked to stop; the run is saved.
            RunError: for whatever goes wrong on the way; the last checkpoint stands.
        """
        rank = self.backend.rank
        if rank == 0:
            self.status.clear()
        stacks = self.run_dir / f"hang-rank{rank}.txt"

        def fail(line: str) -> bool:
            return self.status.fail(line, self.step)

        with Watchdog(60 * self.plan.hang_minutes, stacks, fail):
            self.start()
            self.was_over = self.is_over() and self.looked == self.step
            if self.was_over:
                return self.status.write("finished", "", self.step) if rank == 0 else None
            with supervised(self.status, self.backend, lambda: self.step):
                if rank == 0:
                    write_json(self.run_dir / "config.json", self.identity["config"])
                self.run()

    def ending(self) -> str:
        """One line on a run that is at its end."""
        made = self.stopwatch.describe(self.step)
        score = f"best validation score {self.best:.4g}; {made}; run in {self.run_dir}"
        if not self.was_over:
            return score
        more = f"trainer.total_steps=… above {self.total}"
        if self.total is None or self.step < self.total:
            more = "a larger trainer.patience"
        elif self.plan.max_minutes:
            more = "a larger trainer.max_minutes"
        return f"finished already, at step {self.step}: {score}; to go on give {more}"

    def run(self) -> None:
        """Step after step from where the run is, validating and saving on the way."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.saver)
            records = None
            if self.backend.rank == 0:
                records = stack.enter_context(Records(self.run_dir, self.step, self.looked))
            if self.is_due() and self.looked != self.step:
                self.look(records)
            stream = stack.enter_context(self.open_stream(self.step * self.global_batch))
            feed = Feed(stream, self.backend.device)
            while not self.is_over():
                started = time.perf_counter()
                result = self.train_step(next(feed), feed.prepare, records, started)
                if "stop" in result.wishes:
                    self.stop()
                if self.is_due():
                    self.look(records)
                elif "save" in result.wishes:
                    self.save()
                elif self.total is None or self.course.is_correction(self.step):
                    self.correct()
            self.saver.settle()

    def is_over(self) -> bool:
        """Whether the last step is done, or the score has not improved for too long."""
        if self.plan.patience is not None and self.waited >= self.plan.patience:
            return True
        return self.total is not None and self.step >= self.total

    def is_due(self) -> bool:
        """Whether a validation belongs here."""
        return self.step in self.course.looks(self.plan.validations) or self.step == 0

    def correct(self) -> None:
        """Plan the steps of a budget of time by what they take, alike on all ranks. *Collective.*

        While too few are timed, the plan stays as it is.
        """
        minutes, planned = self.plan.max_minutes, self.total is not None
        if minutes is None or self.stopwatch.known is None or self.step in (0, self.total):
            return
        left = self.backend.broadcast(self.stopwatch.steps_left(60 * minutes, planned))
        if left:
            total = self.step + int(left)
            self.course = self.course.corrected(self.step, total, self.plan.validations)
            if not planned:
                log.info("%.3g minutes of steps are about %d steps", minutes, total)

    def train_step(
        self,
        batch: Arrived,
        meanwhile: Callable[[], None],
        records: Records | None,
        started: float,
    ) -> StepResult:
        """One optimiser step; where something is not finite, the weights stay as they are."""
        begin, length = self.stopwatch.read(), self.course.length_at(self.step)
        values = {name: f(self.step, length) for name, f in self.schedules.items()}
        rate = self.rate(self.step, length)
        self.field.train()
        stop = ["stop"] if interrupts.request() else []
        wishes = [*stop, "save"] if self.saver.is_due() else stop
        result = self.backend.step(batch, values, rate, wishes, self.guard.accepts, meanwhile)
        complaint, goes_on = self.guard.judge(result)
        if not goes_on:
            raise InputError(self.describe_failure(batch.host, complaint))
        self.step += 1
        self.stopwatch.add(self.stopwatch.read() - begin)
        self.status.train_seconds = self.stopwatch.known
        note_progress()
        if records:
            if complaint:
                records.note(f"step {self.step}: {complaint}; skipped")
            seconds = time.perf_counter() - started
            rates = {
                "gradient_norm": result.gradient_norm,
                "learning_rate": rate,
                **{f"weight_{name}": value for name, value in values.items()},
                "samples_per_second": self.global_batch / seconds,
                "train_seconds": self.stopwatch.seconds,
                "samples_checksum": result.samples,
            }
            records.step(self.step, result.terms, rates, self.total)
        return result

    def describe_failure(self, batch: TrainingBatch, complaint: str) -> str:
        """One line: the step, the samples' times, the last good checkpoint."""
        self.saver.join()  # for the last checkpoint to be the last
        last = self.status.checkpoint
        skipped = self.guard.in_a_row - 1
        before = f" after {skipped} skipped" if skipped else ""
        return (
            f"step {self.step + 1}: {complaint}{before}; this rank's "
            f"samples are {batch.describe()}; last good checkpoint: {last or 'none'}; "
            f"{self.remedy(last)}"
        )

    def remedy(self, last: str | None) -> str:
        """What can be done where numbers are not finite."""
        if last is None:
            return "begin again with a lower learning rate"
        return f"begin another run from it with a lower learning rate: init={self.run_dir}"

    def look(self, records: Records | None) -> None:
        """Correct the plan, validate, and save. *Collective.*

        Raises:
            InputError: if the score is not finite; nothing is saved then.
        """
        self.correct()
        field = cast("Field", self.backend.whole_field().eval())
        with self.backend.validating():
            scores = self.validate(field)
        self.looked = self.step
        better = scores["score"] < self.best
        if records:
            records.validate(self.step, scores, better, self.stopwatch.seconds)
            records.show(self.step, getattr(self.validate, "pictures", dict)())
        if not math.isfinite(scores["score"]):
            self.saver.join()
            last = self.status.checkpoint
            raise InputError(
                f"step {self.step}: the validation score is {scores['score']}; last good "
                f"checkpoint: {last or 'none'}; {self.remedy(last)}"
            )
        self.save(scores["score"])
        note_progress()
        if self.backend.rank == 0:
            self.status.write("running", "", self.step)

    def stop(self) -> None:
        """Save without a look, which a resumed run makes up for. *Collective.*

        Raises:
            StoppedError: always.
        """
        self.save()
        self.saver.settle()
        cause = interrupts.request() or "another rank was asked to"
        saved = f"{self.status.checkpoint} is saved"
        raise StoppedError(interrupts.describe_stop(cause, self.step, saved))
