"""What may go wrong in a run, and what is done about it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

import torch

from vgbdm.errors import (
    FULL,
    InputError,
    RunError,
    StoppedError,
    describe_system_error,
    system_error,
)
from vgbdm.training import interrupts
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.steps import StepResult
from vgbdm.training.status import Status

PEER_WORDS = ("gloo", "nccl", "peer", "broken pipe", "connection reset", "connection refused")
"""What errors of collectives speak of, in lower case, where another process is gone."""

FIRST_WORD = 1.0
"""Seconds that the others leave to rank 0, which knows most where all fail at once."""
NOT_FINITE = ("stop", "skip")
RECENT, ENOUGH_LOSSES = 64, 16
"""Losses of the same terms whose median a loss is compared with, and how many there must be."""


def terms_of(terms: Mapping[str, float]) -> str:
    """Which terms a loss has: those of some schedules come and go from step to step."""
    return " ".join(sorted(terms))


class LossGuard:
    """Decides whether a step may move the weights. All ranks decide alike: terms are global.

    Args:
        nonfinite: ``stop`` or ``skip`` a step whose loss or gradient is not finite.
        max_skips: steps skipped one after the other; the next one stops the run.
        explosion: a loss above this multiple of the median of recent ones with the same terms
            counts as not finite; None: any finite loss is fine.
    """

    def __init__(self, nonfinite: str, max_skips: int, explosion: float | None) -> None:
        if nonfinite not in NOT_FINITE or max_skips < 1:
            raise InputError(
                f"trainer.nonfinite={nonfinite}, max_skips={max_skips}: want stop or skip, and at "
                "least 1"
            )
        if explosion is not None and not explosion > 1:
            raise InputError(f"trainer.explosion={explosion}: want more than 1, or null for never")
        self.limit = max_skips if nonfinite == "skip" else 0
        self.explosion = explosion
        self.skipped, self.in_a_row = 0, 0
        self.recent: dict[str, list[float]] = {}

    def complaint(self, terms: Mapping[str, float]) -> str:
        """What is wrong with the terms of a step; empty where nothing is."""
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        if bad:
            return f"{', '.join(bad)} is not finite"
        recent = self.recent.get(terms_of(terms), [])
        if self.explosion is None or len(recent) < ENOUGH_LOSSES:
            return ""
        usual = median(recent)
        if terms["loss"] > self.explosion * abs(usual):
            return f"the loss of {terms['loss']:.4g} is far above the usual {usual:.4g}"
        return ""

    def accepts(self, terms: Mapping[str, float]) -> bool:
        """Whether the optimiser may move, as far as the terms show."""
        return not self.complaint(terms)

    def judge(self, result: StepResult) -> tuple[str, bool]:
        """Note a step: what is wrong with it, and whether the run may go on nevertheless."""
        complaint = self.complaint(result.terms)
        if not complaint and not math.isfinite(result.gradient_norm):
            complaint = "the gradient is not finite"
        if not complaint:
            self.in_a_row = 0
            kind = terms_of(result.terms)
            self.recent[kind] = [*self.recent.get(kind, []), result.terms["loss"]][-RECENT:]
            return "", True
        self.skipped += 1
        self.in_a_row += 1
        return complaint, self.in_a_row <= self.limit

    def state(self) -> dict[str, Any]:
        """For a checkpoint: as JSON."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "recent_losses": self.recent}

    def load(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint; one from before losses were kept apart by terms holds none."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
        self.recent = dict(state.get("recent_losses", {}))


def is_peer_loss(error: BaseException) -> bool:
    """Whether an error says that another process of the run is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in PEER_WORDS)


def first_line(error: BaseException) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def explain(error: Exception, status: Status) -> str:
    """One line on what ended a run."""
    line = first_line(error)
    stands = f"the last checkpoint stands: {status.checkpoint or 'none yet'}"
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "the device's memory is full; lower batch, or set backend.recompute=true or "
            f"backend.accumulation=2; {stands}"
        )
    if is_peer_loss(error):
        return f"a peer is gone ({line.split('. ')[0]}); {stands}"
    system = system_error(error)
    if system is not None and system.errno in FULL:
        return f"the disk of {status.run_dir} is full ({line}); {stands}"
    if system is not None and not isinstance(error, InputError):
        described = describe_system_error(system, status.run_dir)
        if described is not None:
            return f"{described}; {stands}"
    return line if isinstance(error, InputError) else f"{type(error).__name__}: {line}"


@contextlib.contextmanager
def starting(status: Status) -> Iterator[None]:
    """Before the first step: what cannot be begun has failed too.

    Raises:
        RunError: for what nobody has foreseen, from it; what is refused stays as it is.
    """
    try:
        yield
    except InputError as error:
        status.fail(str(error), 0)
        raise
    except Exception as error:
        line = explain(error, status)
        raise RunError(line, status.fail(line, 0), status.run_dir) from error


@contextlib.contextmanager
def supervised(status: Status, backend: Backend, step: Callable[[], int]) -> Iterator[None]:
    """Keep the status of a run, whatever way it ends.

    After a failure nothing collective is done: the last checkpoint stands.

    Args:
        status: of the run.
        backend: its processes.
        step: optimiser steps done.

    Raises:
        StoppedError: where the run was asked to stop; every rank has seen that it is saved.
        RunError: for any other error, from it.
    """
    if backend.rank == 0:
        status.write("running", "", step())
    try:
        yield
        if backend.rank == 0:
            status.write("finished", "", step())
    except StoppedError as stop:
        if backend.rank == 0:
            status.write("stopped", str(stop), step())
        with contextlib.suppress(RuntimeError):  # what is saved is saved
            backend.barrier()  # launchers kill those that still write when the first one leaves
        raise
    except Exception as error:
        line = explain(error, status)
        if backend.rank:
            time.sleep(FIRST_WORD)
        raise RunError(line, status.fail(line, step()), status.run_dir) from error
    except KeyboardInterrupt:
        last = status.checkpoint
        kept = f"{last} stands" if last else "nothing is saved yet"
        line = interrupts.describe_stop("SIGINT, twice", step(), kept)
        status.write("stopped", line, step())
        raise KeyboardInterrupt(line) from None
    except BaseException as error:
        status.fail(f"ended by {type(error).__name__}", step())
        raise
