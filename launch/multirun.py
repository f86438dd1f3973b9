"""Many runs of one command, each in a process of its own: one that fails ends no other.

The first process only waits. What asks it to stop goes on to the run under way, once, as that has a
process group of its own; no other run begins then.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from arguments import check_arguments
from explaining import how_to_quote
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from vgbdm.errors import InputError
from vgbdm.registry.search_path import searching, with_plugins
from vgbdm.resources import configs_folder
from vgbdm.storage.masking import mask_text

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
ASKED = (75, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of what was asked to stop."""


@dataclass
class Run:
    """One of many.

    Attributes:
        overrides: all of its arguments.
        varied: those that tell it from the others, as text.
        cfg: composed of them.
        folder: that it makes, where that is known.
        code: what it ended with; None: it was not started.
        minutes: that it took.
        asked: to stop, by what.
    """

    overrides: list[str]
    varied: str
    cfg: DictConfig
    folder: Path | None = None
    code: int | None = None
    minutes: float = 0.0
    asked: signal.Signals | None = None

    @property
    def result(self) -> str:
        """In words."""
        if self.code is None:
            return "not started"
        if self.code < 0:
            return f"killed ({signal.Signals(-self.code).name})"
        if self.code in ASKED:
            return "stopped"
        return f"failed (exit {self.code})" if self.code else "done"


def plan(
    overrides: Sequence[str],
    compose: Callable[[list[str]], DictConfig],
    folder_of: Callable[[DictConfig], Path | None],
) -> list[Run]:
    """Every combination of the values that arguments list, composed and checked.

    Args:
        overrides: arguments, some of them such as ``seed=1,2,3``.
        compose: makes the config of one run's arguments, and refuses what is wrong.
        folder_of: what a run makes, of its config.

    Raises:
        InputError: where one run is wrong, or two would write into one folder.
    """
    combinations = sweep(overrides)
    runs: list[Run] = []
    for number, (chosen, varied) in enumerate(combinations, 1):
        text = " ".join(varied)
        try:
            cfg = compose(chosen)
            runs.append(Run(chosen, text, cfg, folder_of(cfg)))
        except InputError as error:
            place = f"run {number} of {len(combinations)} ({text})"
            raise InputError(f"{place}: {error}; no run was started") from error
    for first, second in itertools.combinations(runs, 2):
        if first.folder is not None and first.folder == second.folder:
            raise InputError(
                f"{first.folder}: is the folder of two runs ({first.varied} and {second.varied}); "
                f"give each its own{_own_folder(second)}"
            )
    return runs


def _own_folder(run: Run) -> str:
    """What may be told, where an argument that varies is no choice of a group."""
    keys = [told.partition("=")[0] for told in run.varied.split()]
    plain = [key for key in keys if not OmegaConf.is_config(OmegaConf.select(run.cfg, key))]
    return f", such as '{run.folder}-${{{plain[0]}}}'" if plain else ""


def sweep(overrides: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """Every combination: all of its arguments, and those that vary, as Hydra reads them."""
    check_arguments(overrides)
    _, folders = with_plugins(overrides, configs_folder())
    with searching(folders):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        try:
            parsed = parser.parse_overrides(list(overrides))
        except OverrideParseException as error:
            raise InputError(how_to_quote(error.override)) from None
        choices = [
            [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
            if o.is_sweep_override()
            else [str(o.input_line)]
            for o in parsed
        ]
    varies = [o.is_sweep_override() for o in parsed]
    return [
        (list(told), list(itertools.compress(told, varies))) for told in itertools.product(*choices)
    ]


def start_each(runs: Sequence[Run]) -> Run | None:
    """Start one run after the other.

    Returns:
        In the process of a run: that run. In the first process, once all are done or one was asked
        to stop: None.
    """
    with _listening() as heard:
        for number, run in enumerate(runs, 1):
            print(mask_text(f"run {number} of {len(runs)}: {run.varied}"), file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            begun, child = time.monotonic(), os.fork()
            if not child:
                os.setpgid(0, 0)
                return run
            _wait(child, run, heard)
            run.minutes = (time.monotonic() - begun) / 60
            if run.asked:
                break
    return None


@contextmanager
def _listening() -> Iterator[int]:
    """A pipe of the numbers of the signals that come, whichever thread they come to."""
    heeded = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]  # as under nohup
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {s: signal.signal(s, lambda *_: None) for s in [*heeded, signal.SIGCHLD]}
    wakened = signal.set_wakeup_fd(writer)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakened)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _wait(child: int, run: Run, heard: int) -> None:
    """Wait for the end of a run, and hand it what asks to stop."""
    while run.code is None or select.select([heard], [], [], 0)[0]:
        number = signal.Signals(os.read(heard, 1)[0])
        if number != signal.SIGCHLD:
            run.asked = number
        if run.code is None:
            if number != signal.SIGCHLD:
                os.kill(child, number)
            done, status = os.waitpid(child, os.WNOHANG)
            run.code = os.waitstatus_to_exitcode(status) if done else None


def exit_code(runs: Sequence[Run], stopped: int | None = None) -> int:
    """What the whole ends with.

    Args:
        runs: that were started, and those that were not.
        stopped: of runs that save when they are asked to stop.

    Returns:
        0: all are done. 1: some failed. Where the whole was asked to stop: what the run under way
        ended with, or ``stopped``, or 128 and the signal's number.
    """
    if all(run.code == 0 for run in runs):
        return 0
    asked = next((run for run in runs if run.asked), None)
    if asked is None or asked.asked is None:
        return 1
    return asked.code if asked.code and asked.code > 0 else stopped or 128 + asked.asked


def table(runs: Sequence[Run]) -> str:
    """What became of each."""
    rows = [("run", "arguments", "result", "minutes", "folder")]
    for number, run in enumerate(runs, 1):
        minutes = "" if run.code is None else f"{run.minutes:.1f}"
        told = mask_text(run.varied)
        rows.append((str(number), told, run.result, minutes, str(run.folder or "")))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
