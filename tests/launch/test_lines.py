"""One line for each cause, and where a traceback goes; in process, without a launch."""

import errno
import importlib
import os
import resource
import signal
import socket
import stat
import sys

import entry
import pytest
import torch
import zarr
from omegaconf import OmegaConf
from ranks import discover
from refusals import refused

from vgbdm.errors import InputError, RunError, StoppedError
from vgbdm.storage import masking
from vgbdm.storage.lock import locked
from vgbdm.storage.outputs import appearing


class Exit(BaseException):
    """In place of the end of the process."""

    def __init__(self, code):
        self.code = code


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The user's state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RANK", "0")
    return tmp_path / "state" / "vgbdm"


@pytest.fixture
def said(home, monkeypatch, capsys):
    """Runs a launcher's main that does something; its code and its lines."""

    def leave(code):
        raise Exit(code)

    monkeypatch.setattr(entry.os, "_exit", leave)
    monkeypatch.setattr(entry, "find_ranks", lambda: discover({}, 1))
    monkeypatch.setattr(entry, "set_up_logging", lambda: None)
    monkeypatch.setattr(entry.interrupts, "listen", lambda *_: None)
    monkeypatch.setattr(entry, "present", lambda *_: None)

    def run(do, config="make_sample", overrides=("out=OUT", "days=1", "seed=1"), trains=False):
        monkeypatch.setattr(sys, "argv", ["x", *overrides])
        before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(Exit) as caught:
                entry.launch(lambda cfg: do(), config, trains=trains)
        finally:
            signal.signal(signal.SIGTERM, handler)
            os.environ.clear()
            os.environ.update(before)
        return caught.value.code, capsys.readouterr().err.splitlines()

    return run


def raising(error):
    def do():
        raise error

    return do


CASES = {
    "unwritable": (OSError(errno.EACCES, "Permission denied", "/x"), 2, "/x: may not be used"),
    "read-only": (
        OSError(errno.EROFS, "Read-only", "/ro"),
        2,
        "/ro: is on a disk",
    ),
    "full": (OSError(errno.ENOSPC, "No space left"), 1, "OUT: no room for it; make room"),
    "too large": (OSError(errno.EFBIG, "File too large"), 1, "OUT: no room for it; make room"),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "OUT: no room"),
    "half copied": (OSError(errno.ENOENT, "No such file", "S/lat"), 2, "S/lat: is not there"),
    "file": (OSError(errno.ENOTDIR, "Not a directory", "/etc/x/y"), 2, "/etc/x/y: a file is there"),
    "folder": (OSError(errno.EISDIR, "Is a directory", "s/.lock"), 2, "s/.lock: is a folder where"),
    "a library's": (FileNotFoundError("No array found at S/lat"), 2, "S/lat: is not there"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_error_of_the_system_names_the_path_and_what_to_do(said, home, name):
    error, wanted, words = CASES[name]
    code, (line,) = said(raising(error))
    assert code == wanted and line.startswith("error: ") and words in line
    assert not home.exists()


def test_a_port_in_use_is_named(said):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, (line,) = said(lambda: torch.distributed.TCPStore("127.0.0.1", port, 1, True))
    assert code == 2 and "is in use; set another: MASTER_PORT" in line


def test_a_library_that_wraps_such_an_error_changes_nothing(said):
    def do():
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/full/x")
        except OSError as error:
            raise RuntimeError("HDF error") from error

    assert "/full/x: no room" in said(do)[1][0]


def test_what_nobody_has_foreseen_names_its_traceback(said, home):
    code, (line,) = said(raising(KeyError("odd")))
    (file,) = home.iterdir()
    assert code == 1 and line == f"error: KeyError: 'odd' (traceback in {file})"
    assert "Traceback" in file.read_text()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    said(raising(KeyError("odd")))
    assert len(list(home.iterdir())) == 2


def test_the_traceback_of_a_run_goes_to_its_folder_and_follows_no_link(said, home, tmp_path):
    victim, run_dir = tmp_path / "victim", tmp_path / "run"
    victim.write_text("kept")
    run_dir.mkdir()
    (run_dir / "error-rank0.log").symlink_to(victim)

    def do():
        try:
            raise KeyError("odd")
        except KeyError as error:
            raise RunError("KeyError: 'odd'", True, run_dir) from error

    code, (line,) = said(do)
    assert code == 1 and line.endswith(f"(traceback in {run_dir}/error-rank0.log)")
    assert victim.read_text() == "kept" and "KeyError" in (run_dir / "error-rank0.log").read_text()
    assert not home.exists()


def test_a_failed_forecast_leaves_nothing_in_the_run_folder(said, home, tmp_path):
    (tmp_path / "run").mkdir()
    options = [f"run_dir={tmp_path}/run", "store=S", f"out={tmp_path}/out", "leads=6h"]
    said(raising(KeyError("odd")), "forecast_era5", options)
    assert not list((tmp_path / "run").iterdir()) and len(list(home.iterdir())) == 1


def test_without_a_place_for_the_traceback_the_line_says_so(said, home):
    home.parent.write_text("no folder")
    code, (line,) = said(raising(KeyError("odd")))
    assert code == 1 and f"its traceback cannot be kept in {home}" in line


def test_stops_have_one_wording(said):
    stopped = StoppedError("stopped at step 3 (SIGTERM); step-3 is saved, resume=true goes on")
    assert said(raising(stopped)) == (75, [str(stopped)])
    line = "stopped (SIGINT); nothing is left half-done, the same command goes on"
    assert said(raising(KeyboardInterrupt())) == (130, [line])

    def terminate():
        os.kill(os.getpid(), signal.SIGTERM)

    assert said(terminate) == (143, [line.replace("SIGINT", "SIGTERM")])
    again = "stopped at step 3 (SIGINT, twice); step-2 stands, resume=true goes on"
    assert said(raising(KeyboardInterrupt(again)), trains=True) == (130, [again])


def test_no_secret_of_a_config_is_in_a_line_or_a_traceback(said, home, monkeypatch):
    monkeypatch.setattr(masking, "_known", set())
    options = ["source=weatherbench2", "source.root=s3://x", "store=S",
               "+source.storage_options.odd=hunter22"]  # fmt: skip
    code, (line,) = said(raising(KeyError("refused hunter22")), "convert_era5", options)
    (file,) = home.iterdir()
    assert code == 1 and "refused ***" in line and "hunter22" not in file.read_text()
    wrong = [*options[:-1], "source.storage_options.pwd=hunter33"]
    code, (line,) = said(raising(InputError("none")), "convert_era5", wrong)
    assert "storage_options" in line and "hunter33" not in line


def test_a_write_that_no_disk_takes_leaves_nothing_and_is_one_line(said, tmp_path):
    """The limit of a file's size stands for the disk, as in a forecast or a conversion."""

    def do():
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, old[1]))
        try:
            with appearing(tmp_path / "out") as aside:
                zarr.create_array(aside, shape=(10**5,), dtype="f8", compressors=None)[:] = 1.0
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)

    code, (line,) = said(do, overrides=(f"out={tmp_path}/out", "days=1", "seed=1"))
    assert code == 1 and "no room for it; make room" in line and str(tmp_path) in line
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


@pytest.mark.parametrize("name", ["evaluate_era5", "compare_forecasts", "evaluate_system"])
def test_two_evaluations_into_one_folder_are_one_too_many(name, tmp_path):
    main = importlib.import_module(name).main
    cfg = {"out": str(tmp_path / "out"), "run_dir": None}
    with locked(tmp_path / "out"):
        refused(lambda: main(OmegaConf.create(cfg)), "locked by process", "wait for its end")
    (tmp_path / "out").mkdir()
    (tmp_path / "file").write_text("kept")
    refused(lambda: main(OmegaConf.create(cfg | {"out": f"{tmp_path}/file"})), "and no folder")
    assert (tmp_path / "file").read_text() == "kept"


def test_the_first_key_of_what_is_made_names_the_place():
    cfg = OmegaConf.create({"out": None, "run_dir": "RUN", "store": "S"})
    assert entry.describe(OSError(errno.ENOSPC, "full"), cfg).startswith("RUN: ")
    assert entry.describe(ValueError("x"), cfg) is None
    assert entry.describe(OSError(errno.ENOSPC, "full"), None) is None
