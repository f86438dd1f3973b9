"""How every launcher starts: arguments, ranks, logging, and errors in one line."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from arguments import check_references, check_resolved
from explaining import how_to_quote, missing_keys
from hydra.errors import HydraException
from multirun import exit_code, plan, start_each, table
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from quiet import silence
from ranks import Ranks, discover
from reading import compose_told, read_told

from vgbdm.errors import (
    FULL,
    InputError,
    RunError,
    StoppedError,
    describe_system_error,
    system_error,
)
from vgbdm.options.check import check
from vgbdm.progress import Speaker
from vgbdm.registry.search_path import config_dirs
from vgbdm.storage.files import create, new_token
from vgbdm.storage.masking import mask_text, remember
from vgbdm.training import interrupts

STOPPED = 75
"""Exit code of a run that was asked to stop: start it again with resume=true."""
MADE = ("out", "run_dir", "store")
"""Keys of what a launcher makes, for errors that name no path; the first that is given."""
HELP = ("--help", "-h")


def launch(
    main: Callable[[DictConfig], None],
    config_name: str,
    positional: Sequence[str] = (),
    trains: bool = False,
    folder_of: Callable[[DictConfig], Path | None] | None = None,
) -> None:
    """Run ``main`` on the config ``configs/<config_name>.yaml`` with the command line's overrides.

    Bare arguments are the values of the keys ``positional``, in their order. With ``--multirun``
    (or ``-m``), ``main`` runs once for every combination of the values that overrides list, each
    in a process of its own, once all are checked; ``folder_of`` says which folder a run makes,
    where its config may not. A table ends it; it exits 1 where one failed. One rank alone does so.

    Works alike under ``python``, ``deepspeed``, ``torchrun`` and ``srun``. Exits 0; 2 on bad input
    (one line); 1 on any other error (one line, with the file of its traceback where it was not
    foreseen). What ``trains`` is asked to stop by SIGTERM, SIGUSR1 and ^C: it saves, and exits 75;
    at the second ^C it ends with 130. All else ends at the first, clears up, and exits 130 or 143.
    """
    overrides = [a for a in sys.argv[1:] if not a.startswith(("--local_rank", "--local-rank"))]
    ranks = find_ranks()
    if trains:
        try:
            interrupts.listen(ranks.generations, acknowledge)
        except InputError as error:
            fail(str(error), 2)
    else:
        signal.signal(signal.SIGTERM, end)
    set_up_logging()
    cfg: DictConfig | None = None
    many = any(a in ("--multirun", "-m") for a in overrides)
    overrides = [a for a in overrides if a not in ("--multirun", "-m")]
    names = list(positional)
    try:
        overrides = config_dirs(overrides)
        if any(a in (*HELP, "--cfg") for a in overrides):
            if is_first():
                show(main, config_name, overrides)
            return
        overrides = [a if "=" in a or not names else f"{names.pop(0)}={a}" for a in overrides]
        if many:
            cfg = run_each(overrides, config_name, trains, ranks, folder_of or folder_made)
        else:
            cfg = compose_config(config_name, overrides)
        if not cfg.get("verbose"):
            silence()
        if trains:
            present(ranks, cfg)
        main(cfg)
    except KeyboardInterrupt as error:
        name = "SIGTERM" if isinstance(error, Ended) else "SIGINT"
        kept = "nothing is left half-done" if not trains else "no step was done"
        line = str(error) or interrupts.describe_stop(name, None, kept, "the same command")
        fail(line, 128 + signal.Signals[name], "")
    except (HydraException, OmegaConfBaseException) as error:
        fail(f"config: {shorten(error)}; --help lists what there is", 2)
    except Exception as error:
        handle(error, cfg)


def handle(error: Exception, cfg: DictConfig | None) -> None:
    """One line for an error, and its traceback where it can be found."""
    if isinstance(error, StoppedError):
        fail(str(error), STOPPED, "")
    speaks = error.speaks if isinstance(error, RunError) else is_first()
    cause = error.__cause__ if isinstance(error, RunError) else error
    if isinstance(cause, InputError):
        fail(str(error), 2, speaks=speaks)
    line = describe(cause, cfg)
    if line is not None and isinstance(error, RunError):
        fail(str(error), 1, speaks=speaks)
    if line is not None:
        system = system_error(cause)
        fail(line, 1 if system is not None and system.errno in FULL else 2, speaks=speaks)
    hint = write_traceback(error.folder if isinstance(error, RunError) else None)
    name = "" if isinstance(error, RunError) else f"{type(error).__name__}: "
    fail(f"{name}{shorten(error)} ({hint})", 1, speaks=speaks)


def describe(error: BaseException | None, cfg: DictConfig | None) -> str | None:
    """One line for what the operating system refuses; None for all else."""
    if "EADDRINUSE" in str(error):
        port = os.environ.get("MASTER_PORT")
        return (
            f"port {port} of this machine is in use; set another: MASTER_PORT, torchrun "
            "--master-port or deepspeed --master_port"
        )
    system = system_error(error)
    made = [cfg[key] for key in MADE if cfg is not None and cfg.get(key) is not None]
    return describe_system_error(system, made[0] if made else None) if system is not None else None


class Ended(KeyboardInterrupt):
    """SIGTERM to what does not train: as ^C, for all to be cleared up."""


def end(number: int, frame: object) -> NoReturn:
    """A handler of SIGTERM; a second one does not disturb what clears up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Ended


def acknowledge(name: str) -> None:
    """Say within a handler that a signal was heard; nothing else is safe there."""
    again = ", at the second ^C at once" if name == "SIGINT" else ""
    if is_first():
        os.write(2, f"\n{name}: stops after the step under way and saves{again}\n".encode())


def compose_config(config_name: str, overrides: list[str]) -> DictConfig:
    """The composed config, checked; every value that has no default must have been given."""
    unknown = [a for a in overrides if "=" not in a]
    if unknown:
        raise InputError(how_to_quote(unknown[0]))
    overrides = [expand_home(a) for a in overrides]
    cfg = compose_told(config_name, overrides)
    check_references(cfg, overrides)
    missing = missing_keys(cfg)
    if missing:
        raise InputError(f"argument {missing[0]}=… is missing; --help says what it means")
    check_resolved(cfg)
    remember(OmegaConf.to_container(cfg))
    check(config_name, cfg, [o.lstrip("+").partition("=")[0] for o in overrides])
    return cfg


def expand_home(override: str) -> str:
    """The same with the home folder for ``~/`` that begins its value, which no shell expanded."""
    return re.sub(r"""^([^=]+=["']?)~(?=/)""", lambda m: m[1] + str(Path.home()), override)


def run_each(
    overrides: list[str],
    config_name: str,
    trains: bool,
    ranks: Ranks,
    folder_of: Callable[[DictConfig], Path | None],
) -> DictConfig:
    """The config of one of many runs, in the process of that run; the first process ends here."""
    if ranks.world_size > 1:
        raise InputError(
            f"--multirun with {ranks.world_size} ranks ({ranks.launcher}): start each run by "
            f"itself, such as: for seed in 1 2 3; do {ranks.launcher} … seed=$seed; done"
        )
    runs = plan(overrides, lambda told: compose_config(config_name, told), folder_of)
    if (heard := interrupts.request()) is not None:
        kept = "no run was started"
        fail(interrupts.describe_stop(heard, None, kept, "the same command"), STOPPED, "")
    run = start_each(runs)
    if run is not None:
        return run.cfg
    print(table(runs), flush=True)
    code = exit_code(runs, STOPPED if trains else None)
    undone = sum(run.code != 0 for run in runs)
    if code == 1:
        fail(f"{undone} of {len(runs)} runs failed; what each said stands above", code)
    sys.exit(code)


def folder_made(cfg: DictConfig) -> Path | None:
    """The folder that a launcher makes, where its config names it."""
    return next((Path(cfg[key]) for key in MADE[:2] if cfg.get(key) is not None), None)


def find_ranks() -> Ranks:
    """This process's place, told to the libraries too. Must run before torch is imported."""
    try:
        ranks = discover(os.environ, len(os.sched_getaffinity(0)))
    except InputError as error:
        fail(str(error), 2, speaks=True)
    os.environ.update(ranks.variables())
    if ranks.port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            os.environ["MASTER_PORT"] = str(probe.getsockname()[1])
    return ranks


def present(ranks: Ranks, cfg: DictConfig) -> None:
    """Say once what trains where; refuse what the machine cannot do."""
    import torch

    from vgbdm.training.backends.choice import backend_name

    accelerators = torch.accelerator.device_count()
    ranks.check_devices(accelerators)
    device = str(torch.accelerator.current_accelerator()) if accelerators else "cpu"
    threads = int(cfg.trainer.get("threads", ranks.threads))
    described = ranks.describe(device, backend_name(cfg.backend), threads)
    logging.getLogger(__name__).info(described)


class Lines(logging.Formatter):
    """Messages as they are, without credentials."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return mask_text(super().format(record))


def set_up_logging() -> None:
    """Rank 0 speaks, the others say errors alone."""
    rank = int(os.environ["RANK"])
    handler = Speaker()
    handler.setFormatter(Lines("%(message)s"))
    logging.basicConfig(
        level=logging.INFO if rank == 0 else logging.ERROR, handlers=[handler], force=True
    )


def show(main: Callable[[DictConfig], None], config_name: str, words: Sequence[str]) -> None:
    """Print what is asked for: the help, all of some of its groups, or the config.

    Args:
        main: of the launcher.
        config_name: of the launcher.
        words: of the command line.
    """
    from pages import composed, overview, page
    from reading import read_options

    told = read_told(config_name, [word for word in words if "=" in word])
    if "--cfg" in words:
        print(composed(told.cfg), end="")
        return
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    options = read_options(told)
    place = next(i for i, word in enumerate(words) if word in HELP)
    names = [word for word in words[place + 1 :] if "=" not in word and not word.startswith("-")]
    about = (sys.modules[main.__module__].__doc__ or main.__doc__ or "").strip()
    pages = [page(name, told, options, width) for name in names]
    print("\n\n".join(pages or [overview(about, told, options, width)]))


def shorten(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def write_traceback(folder: Path | None) -> str:
    """Save the traceback in the folder of a run that has begun, else in the user's own; where."""
    name = f"error-rank{os.environ['RANK']}.log"
    if folder is None:
        home = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
        folder, name = Path(home) / "vgbdm", f"error-{new_token():013x}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with create(folder / name) as file:
            file.write(mask_text(traceback.format_exc()))
    except (OSError, RuntimeError) as error:  # a user may have no home
        return f"its traceback cannot be kept in {folder}: {error}"
    return f"traceback in {folder / name}"


def is_first() -> bool:
    """Whether this is the rank that speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def fail(message: str, code: int, kind: str = "error: ", speaks: bool | None = None) -> NoReturn:
    """Say it once and end; threads and process groups are not waited for."""
    if is_first() if speaks is None else speaks:
        start = "" if is_first() else "\n"  # a progress bar of rank 0 may be in the line
        print(f"{start}{kind}{mask_text(message)}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)
