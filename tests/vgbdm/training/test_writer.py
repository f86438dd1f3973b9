"""Writing beside training: one at a time, errors told once, everything joined."""

import logging
import subprocess
import sys
import threading

import pytest

from vgbdm.training.writer import Writer


def test_a_job_runs_beside_and_is_waited_for():
    writer, go, done = Writer(), threading.Event(), []
    writer.begin(lambda: (go.wait(300), done.append(threading.current_thread())))
    assert writer.is_busy and not done
    go.set()
    assert writer.wait() is None and not writer.is_busy
    assert len(done) == 1 and done[0] is not threading.main_thread()


def test_a_second_job_is_not_begun_before_the_first_is_waited_for():
    writer, go = Writer(), threading.Event()
    writer.begin(lambda: go.wait(300))
    with pytest.raises(AssertionError):
        writer.begin(lambda: None)
    go.set()
    writer.wait()


def fail():
    raise OSError("No space left on device")


def test_an_error_is_told_once():
    writer = Writer()
    assert writer.wait() is None and not writer.has_failed
    writer.begin(fail)
    writer.join()
    assert writer.has_failed
    assert str(writer.wait()) == "No space left on device"
    assert writer.wait() is None and not writer.has_failed


def test_a_context_ends_with_its_job_and_its_error(caplog):
    done = []
    with Writer() as writer:
        writer.begin(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(OSError, match="No space"), Writer() as writer:
        writer.begin(fail)
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError), Writer() as writer:
        writer.begin(fail)
        raise KeyError  # which the error of the job must not hide
    assert caplog.messages == ["No space left on device"]


def test_the_interpreter_does_not_end_before_the_job():
    code = (
        "import time; from vgbdm.training.writer import Writer\n"
        "Writer().begin(lambda: (time.sleep(0.2), print('written')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "written\n", result.stderr
