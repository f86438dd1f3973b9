"""One owner at a time: on one machine by flock, between machines by signs of life."""

import contextlib
import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from refusals import refused

from vgbdm.errors import InputError
from vgbdm.storage import lock
from vgbdm.storage.files import aside_of
from vgbdm.storage.lock import LOCK, locked
from vgbdm.storage.outputs import appearing

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def quick(monkeypatch):
    """Signs of life that do not take their time, but for which a busy machine may take it."""
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "SILENCE", 600.0)
    monkeypatch.setattr(lock, "LOOK", 0.02)


class Clock:
    """Time that passes only while all who are at work sleep; one, unless more are named."""

    def __init__(self, count=1):
        self.now, self.awake, self.slept, self.ends = 1000.0, count, [], []
        self.changed = threading.Condition()

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        with self.changed:
            self.slept.append(seconds)
            end = self.now + seconds
            self.ends.append(end)
            self.rest()
            assert self.changed.wait_for(lambda: self.now >= end, 600)

    def rest(self):
        """One sleeps or has gone; where none is awake, it is as late as the next one's end."""
        with self.changed:
            self.awake -= 1
            if not self.awake and self.ends:
                self.now = min(self.ends)
                self.awake = self.ends.count(self.now)
                self.ends = [end for end in self.ends if end > self.now]
                self.changed.notify_all()


@pytest.fixture
def clock(monkeypatch):
    """Time as the lock knows it."""
    found = Clock()
    monkeypatch.setattr(lock, "time", found)
    return found


@pytest.fixture
def per_machine(monkeypatch):
    """A disk on which every machine, or here every process, is granted flock."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


def enter(folder):
    with locked(folder):
        pass


# --- one machine ---------------------------------------------------------------------------------


def test_a_second_is_refused_at_once_and_the_folder_is_left_as_it_was(tmp_path, clock):
    place = tmp_path / "place"
    with locked(place):
        line = refused(lambda: enter(place), "locked by process", "wait for its end")
        assert str(os.getpid()) in line and not clock.slept
        (place / "kept").touch()
    assert [path.name for path in place.iterdir()] == ["kept"]
    enter(place)
    enter(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


DIES = """
import os, signal, sys
from pathlib import Path
from vgbdm.storage.lock import locked
with locked(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.readline()
"""


def test_the_lock_of_the_dead_is_taken_at_once(tmp_path, clock):
    child = subprocess.Popen(
        [sys.executable, "-c", DIES, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"in\n"
    refused(lambda: enter(tmp_path), f"process {child.pid}")
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert (tmp_path / LOCK).exists()
    enter(tmp_path)
    assert not clock.slept
    child.stdin.close()
    child.stdout.close()


def test_neither_children_nor_forks_hold_the_lock_of_the_dead(tmp_path):
    """The three of them live until this process closes its end of a pipe."""
    reader, writer = os.pipe()

    def die(ready):
        os.close(writer)
        with locked(tmp_path):
            if os.fork() == 0:  # it must neither keep the lock nor give it back
                ready.release()
                os.read(reader, 1)
                os._exit(0)
            subprocess.Popen(["cat"], stdin=reader)
            ready.release()
            os.read(reader, 1)

    ready = FORK.Semaphore(0)
    child = FORK.Process(target=die, args=(ready,))
    child.start()
    assert all(ready.acquire(timeout=300) for _ in range(2))
    refused(lambda: enter(tmp_path), "locked by")
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    enter(tmp_path)
    os.close(writer)
    os.close(reader)


def contend(work, seed, count=2):
    """How many of some processes that begin together could work; they stay until all have tried."""
    barrier, worked = FORK.Barrier(count), FORK.Value("i", 0)
    waits = np.random.default_rng(seed).uniform(0, 0.002, count)

    def one(wait):
        barrier.wait()
        time.sleep(wait)
        with contextlib.suppress(InputError):
            work(lambda: barrier.wait(300), worked)
            return
        barrier.wait(300)

    def contestant(wait):
        one(wait)
        os._exit(0)

    children = [FORK.Process(target=contestant, args=(wait,)) for wait in waits]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * count
    return worked.value


@pytest.mark.parametrize("kind", ["fresh", "left by the dead"])
def test_one_of_two_works_in_twenty_of_twenty_tries(tmp_path, kind):
    def work(all_tried, worked):
        with locked(tmp_path / "run"):
            with worked.get_lock():
                worked.value += 1
            all_tried()

    def die():
        with locked(tmp_path / "run"):
            os._exit(0)

    (tmp_path / "run").mkdir()
    for seed in range(20):
        if kind != "fresh":
            process = FORK.Process(target=die)
            process.start()
            process.join()
            assert (tmp_path / "run" / LOCK).exists()
        assert contend(work, seed) == 1
        assert not (tmp_path / "run" / LOCK).exists()


def test_one_of_two_outputs_appears_whole_in_twenty_of_twenty_tries(tmp_path):
    for seed in range(20):
        out = tmp_path / f"out-{seed}"

        def work(all_tried, worked, out=out):
            with appearing(out) as aside:
                aside.mkdir()
                (aside / "first").touch()
                all_tried()
                (aside / "second").touch()
            with worked.get_lock():
                worked.value += 1

        assert contend(work, seed) == 1
        assert sorted(path.name for path in out.iterdir()) == ["first", "second"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_files_that_the_dead_were_writing_go(tmp_path):
    left, folder = aside_of(tmp_path / "state.json"), aside_of(tmp_path / "initial_wind")
    left.touch()
    folder.mkdir()
    with locked(tmp_path):
        assert not left.exists() and folder.exists()  # a folder has an owner of its own


# --- many machines -------------------------------------------------------------------------------


def test_where_flock_says_nothing_a_living_owner_is_seen_by_its_signs(tmp_path, quick, per_machine):
    with locked(tmp_path):
        for _ in range(3):
            refused(lambda: enter(tmp_path), "locked by process")
    enter(tmp_path)


def test_the_dead_of_another_machine_are_silent(tmp_path, clock):
    """No clocks and no names of hosts are compared: the same name elsewhere is another machine."""
    record = {"word": "abc", "count": "000000000007", "machine": "elsewhere/1", "process": "1 of h"}
    (tmp_path / LOCK).write_text(json.dumps(record))
    os.utime(tmp_path / LOCK, (0, 2**33))
    enter(tmp_path)
    assert sum(clock.slept) == lock.SILENCE + lock.SETTLE
    (tmp_path / LOCK).write_text(json.dumps(record))
    clock.slept.clear()
    with locked(tmp_path, force=True):
        assert clock.slept == [lock.SETTLE]


def test_one_of_many_machines_takes_the_lock_of_the_dead(tmp_path, per_machine, monkeypatch):
    (tmp_path / LOCK).write_text("")
    clock, inside, most = Clock(4), [], []
    monkeypatch.setattr(lock, "time", clock)

    def take():
        try:
            with contextlib.suppress(InputError), locked(tmp_path):
                inside.append(1)
                most.append(len(inside))
                clock.sleep(1.0)
                inside.pop()
        finally:
            clock.rest()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_who_was_silent_for_too_long_learns_that_it_lost(tmp_path):
    with locked(tmp_path) as held:
        held._done.set()  # silent from now on
        held._thread.join()
        held.check()
        record = json.loads((tmp_path / LOCK).read_text())
        (tmp_path / LOCK).write_text(json.dumps(record | {"word": "another"}))
        refused(held.check, "took it over")
        refused(lambda: lock.check_held(tmp_path), "took it over")
        lock.check_held(tmp_path / "other")
    assert "another" in (tmp_path / LOCK).read_text()  # it is not ours to remove


def test_a_disk_without_flock_is_decided_by_signs_of_life(tmp_path, quick, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with locked(tmp_path):
        refused(lambda: enter(tmp_path), "locked by process")


# --- what stands in the way ----------------------------------------------------------------------


def test_a_folder_a_link_and_a_pipe_in_place_of_the_lock_are_named(tmp_path):
    (tmp_path / "a" / LOCK).mkdir(parents=True)
    refused(lambda: enter(tmp_path / "a"), f"{tmp_path}/a/{LOCK}", "is a folder", "remove it")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / LOCK).symlink_to(tmp_path / "target")
    refused(lambda: enter(tmp_path / "b"), f"{tmp_path}/b/{LOCK}", "is a link", "remove it")
    assert not (tmp_path / "target").exists()
    (tmp_path / "c").mkdir()
    os.mkfifo(tmp_path / "c" / LOCK)
    refused(lambda: enter(tmp_path / "c"), f"{tmp_path}/c/{LOCK}", "no regular file")


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("kept")
    refused(lambda: enter(tmp_path / "file"), f"{tmp_path}/file", "choose another place")
    refused(lambda: enter(tmp_path / "file" / "in"), "a file is there where a folder belongs")
    assert (tmp_path / "file").read_text() == "kept"


# --- how long it takes ---------------------------------------------------------------------------


def test_the_dead_of_another_machine_are_watched_for_a_minute(tmp_path, clock):
    record = {"word": "abc", "count": "000000000007", "machine": "elsewhere/1", "process": "1 of h"}
    (tmp_path / LOCK).write_text(json.dumps(record))
    enter(tmp_path)
    assert clock.slept == [0.5] * 120 + [2.0]
    clock.slept.clear()
    (tmp_path / LOCK).write_text("")  # its owner has not come to say anything
    enter(tmp_path)
    assert clock.slept == [0.5] * 4 + [2.0]
    clock.slept.clear()
    enter(tmp_path)
    assert clock.slept == []


def test_an_owner_gives_a_sign_of_life_every_five_seconds_and_no_longer_than_its_process(tmp_path):
    with locked(tmp_path) as held:
        assert held._thread.daemon  # or a process that is told to end would stay
        held._done.set()
        held._thread.join()
        waits, counts = [], []

        def wait(seconds):
            waits.append(seconds)
            counts.append(json.loads((tmp_path / LOCK).read_text())["count"])
            return len(waits) == 3

        held._done.wait = wait
        held._beat()
    assert waits == [5.0] * 3
    assert counts == [f"{k:012d}" for k in range(3)]


def test_locks_are_taken_on_files_open_for_writing(tmp_path, monkeypatch):
    """Network file systems grant no other."""
    modes, flock = [], fcntl.flock

    def noting(handle, operation):
        modes.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE)
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", noting)
    with locked(tmp_path):
        assert not lock.is_left(tmp_path / LOCK)
        content = (tmp_path / LOCK).read_bytes()
    (tmp_path / LOCK).write_bytes(content)
    assert lock.is_left(tmp_path / LOCK)
    assert not lock.is_left(tmp_path / "none")
    (tmp_path / LOCK).write_text(json.dumps({"machine": "elsewhere/1"}))
    assert not lock.is_left(tmp_path / LOCK)
    assert len(modes) >= 4 and set(modes) == {os.O_RDWR}
