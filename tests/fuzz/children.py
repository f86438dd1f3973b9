"""Work in a process of its own: to kill it at any moment, or to see what it would execute.

Processes come from a server that has imported everything and started nothing, so that one costs
milliseconds and holds no lock of ours.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection

from tqdm import tqdm

from fuzz.judging import HANG, REFUSED, RIGHT, TRACEBACK
from vgbdm.errors import InputError, RunError

KILLED = "killed"
SERVER = get_context("forkserver")
Work = Callable[[], object]


def preload(*modules: str) -> None:
    """What every process has imported when it starts."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server looks nowhere else
    SERVER.set_forkserver_preload(list(modules))


def _run(work: Work, said: Connection) -> None:
    os.setsid()
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    tqdm.set_lock(threading.RLock())  # one between processes would be left behind by a kill
    said.send("started")
    try:
        work()
        said.send((RIGHT, ""))
    except (InputError, RunError) as error:
        said.send((REFUSED, str(error)))
    except BaseException:
        said.send((TRACEBACK, traceback.format_exc(limit=-3)))


def run(work: Work, seconds: float, kill: bool = False) -> tuple[str, str]:
    """Do work elsewhere: a verdict, and what was said.

    Args:
        work: can be pickled.
        seconds: after so many it is killed, with everything that it started.
        kill: that is what is wanted, and no hang.
    """
    listening, said = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=_run, args=(work, said))
    process.start()
    said.close()
    try:
        listening.recv()
        begin = time.monotonic()
        done = listening.poll(seconds)
        while kill and time.monotonic() < begin + seconds:  # what comes after the last word, too
            time.sleep(0.001)
        found = listening.recv() if done and not kill else None
    except EOFError:
        found = (TRACEBACK, "ended without a word")
    finally:
        if process.is_alive() and process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        listening.close()
    return found or (KILLED if kill else HANG, f"after {seconds:.3f} s")
