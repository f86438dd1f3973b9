"""Progress off a terminal: few plain lines, none wider than 80 columns."""

import logging
import sys

import pytest

from vgbdm import progress as module
from vgbdm.progress import EVERY, SAID, Lines, Speaker, each, progress, say


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def told(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_line_comes_every_half_minute_and_at_the_end(capsys):
    clock = Clock()
    with Lines(100, "start", "validating", clock=clock) as bar:
        for _ in range(100):
            clock.now += 1.0
            bar.update(1)
    assert EVERY == 30.0
    assert told(capsys) == [
        "validating: 30 of 100 starts, 00:30, 01:10 left",
        "validating: 60 of 100 starts, 01:00, 00:40 left",
        "validating: 90 of 100 starts, 01:30, 00:10 left",
        "validating: 100 of 100 starts, 01:40",
    ]


def test_what_is_short_is_silent_and_so_are_ranks_that_do_not_speak(capsys):
    clock = Clock()
    for silent, seconds in ((False, 29.0), (True, 100.0)):
        with Lines(2, "day", "simulating", silent=silent, clock=clock) as bar:
            clock.now += seconds
            bar.update(2)
    assert told(capsys) == []


def test_a_resumed_bar_counts_what_was_done_before_and_its_speed_does_not(capsys):
    clock = Clock()
    bar = Lines(200, "step", "training", initial=100, clock=clock)
    bar.set_postfix_str("loss 0.5")
    clock.now = 30.0
    bar.update(50)
    assert told(capsys) == ["training: 150 of 200 steps, 00:30, 00:30 left; loss 0.5"]


@pytest.mark.parametrize(
    "unit, total, postfix, line",
    [
        ("B", 2**22, "", "converting: 2 of 4 MiB, 01:00, 01:00 left"),
        ("run", None, "", "converting: 2097152 runs, 01:00"),
        ("B", 2**22, "x" * 80, "converting: 2 of 4 MiB, 01:00, 01:00 left; " + "x" * 36 + "…"),
    ],
)
def test_lines_have_the_unit_and_at_most_80_columns(unit, total, postfix, line):
    bar = Lines(total, unit, "converting")
    bar.n = 2**21
    bar.set_postfix_str(postfix)
    assert bar.line(60.0) == line and len(line) <= 80


def test_off_a_terminal_there_is_no_bar_and_items_come_as_they_are(capsys):
    assert isinstance(progress(3, "run", "scoring"), Lines)
    assert list(each("abc", 3, "run", "scoring")) == ["a", "b", "c"]
    assert told(capsys) == []


def test_on_a_terminal_there_is_a_bar_and_lines_come_between(capsys, monkeypatch):
    monkeypatch.setattr(module, "is_watched", lambda: True)
    with progress(3, "run", "scoring") as bar:
        bar.update(1)
        say("a word")
        logging.getLogger("x").warning("another")
    out, err = capsys.readouterr()
    assert out == "a word\n" and "scoring" in err and "1/3" in err


def test_what_is_said_can_be_kept(capsys):
    kept = []
    handler = logging.Handler()
    handler.emit = lambda record: kept.append(record.getMessage())
    SAID.addHandler(handler)
    try:
        say("100 % done")
    finally:
        SAID.removeHandler(handler)
    assert kept == ["100 % done"] and capsys.readouterr().out == "100 % done\n"


def test_loggers_speak_on_the_standard_error(capsys):
    Speaker(sys.stderr).emit(logging.makeLogRecord({"msg": "found"}))
    assert told(capsys) == ["found"]
