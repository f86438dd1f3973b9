"""Requests to stop: by signals, or by a launcher that is gone. No handler of this process moves."""

import os
import signal
from types import SimpleNamespace

import psutil
import pytest

from vgbdm.training import interrupts
from vgbdm.training.interrupts import describe_stop, listen, request


@pytest.fixture
def handlers(monkeypatch):
    """What would be called at which signal; nothing was heard before."""
    found = {}
    monkeypatch.setattr(interrupts.signal, "signal", found.__setitem__)
    monkeypatch.setattr(interrupts, "_heard", [])
    monkeypatch.setattr(interrupts, "_parents", [])
    return found


def test_the_line_of_a_stop_says_step_cause_and_remedy():
    assert describe_stop("SIGTERM", 7, "saved") == "stopped at step 7 (SIGTERM); saved, " \
        "resume=true goes on"  # fmt: skip
    assert describe_stop("asked", None, "kept", "again") == "stopped (asked); kept, again goes on"


def test_the_first_signal_is_acknowledged_and_all_are_kept(handlers):
    heard = []
    listen(acknowledge=heard.append)
    assert set(handlers) == set(interrupts.SIGNALS) and request() is None
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    handlers[signal.SIGINT](signal.SIGINT, None)
    assert heard == ["SIGTERM"] and request() == "SIGTERM"


@pytest.mark.parametrize("generations", [0, 1])
def test_a_second_interrupt_by_hand_is_not_waited_for_but_a_launcher_s_is(handlers, generations):
    listen(generations)
    note = handlers[signal.SIGINT]
    note(signal.SIGINT, None)
    if generations:
        note(signal.SIGINT, None)
        assert handlers[signal.SIGINT] is note
        return
    with pytest.raises(KeyboardInterrupt):
        note(signal.SIGINT, None)
    assert handlers[signal.SIGINT] is signal.SIG_DFL


def test_as_many_generations_are_watched_as_were_told_last(handlers):
    listen(2)
    own, parent = os.getpid(), os.getppid()
    assert [process.pid for process, _ in interrupts._parents] == [own, parent]
    assert [above for _, above in interrupts._parents] == [parent, psutil.Process(parent).ppid()]
    assert request() is None
    listen(1)
    assert [process.pid for process, _ in interrupts._parents] == [own]
    listen()
    assert interrupts._parents == []


def test_a_launcher_that_is_gone_is_a_request(handlers):
    def gone():
        raise psutil.NoSuchProcess(1)

    kept, orphan = SimpleNamespace(ppid=lambda: 5), SimpleNamespace(ppid=lambda: 1)
    for processes, said in (
        ([kept], None),
        ([kept, orphan], "its launcher is gone"),
        ([SimpleNamespace(ppid=gone)], "its launcher is gone"),
    ):
        interrupts._parents[:] = [(process, 5) for process in processes]
        assert request() == said
