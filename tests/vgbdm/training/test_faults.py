"""What is done about faults, without ranks: guard, status, watchdog, requests to stop."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from tiny import make_trainer

from vgbdm.errors import InputError, RunError, StoppedError
from vgbdm.training import checkpoint, interrupts
from vgbdm.training.backends.steps import StepResult
from vgbdm.training.faults import ENOUGH_LOSSES, RECENT, LossGuard, is_peer_loss, supervised
from vgbdm.training.parts import Part
from vgbdm.training.status import Status


def result(loss, norm=1.0):
    return StepResult({"loss": loss, "kl": 1.0}, norm, frozenset(), 0)


def test_a_step_that_is_not_finite_stops_by_default():
    guard = LossGuard("stop", 5, None)
    assert guard.judge(result(1.0)) == ("", True)
    assert not guard.accepts({"loss": 1.0, "kl": math.nan})
    assert guard.judge(result(math.inf)) == ("loss is not finite", False)
    assert guard.judge(result(1.0, math.nan)) == ("the gradient is not finite", False)


def test_skipping_has_a_bound_of_steps_in_a_row():
    guard = LossGuard("skip", 2, None)
    goes_on = [guard.judge(result(loss))[1] for loss in (math.nan, math.nan, 1.0)]
    assert all(goes_on)
    goes_on = [guard.judge(result(math.nan))[1] for _ in range(3)]
    assert goes_on == [True, True, False]
    assert guard.skipped == 5


def test_an_exploding_loss_is_seen_once_there_is_something_to_compare_with():
    guard = LossGuard("skip", 2, 10.0)
    assert guard.accepts({"loss": 1e9, "kl": 1.0})
    for _ in range(ENOUGH_LOSSES):
        guard.judge(result(2.0))
    assert guard.accepts({"loss": 19.0, "kl": 1.0})
    complaint, goes_on = guard.judge(result(21.0, math.nan))
    assert "21 is far above the usual 2" in complaint
    assert goes_on
    assert not LossGuard("stop", 1, None).complaint({"loss": 1e30})


def test_an_explosion_is_told_from_the_size_of_the_usual_loss():
    """Losses of likelihoods are negative: ten times their size above 0 is far, a little is not."""
    guard = LossGuard("skip", 2, 10.0)
    for loss in (-1.0, -2.0, -2.0, -3.0) * (ENOUGH_LOSSES // 4):
        guard.judge(result(loss))
    for loss, fine in ((-2.5, True), (-1e6, True), (5.0, True), (19.9, True), (20.1, False)):
        assert guard.accepts({"loss": loss, "kl": 1.0}) == fine, loss


def test_a_guard_needs_enough_losses_and_forgets_old_ones():
    guard = LossGuard("skip", 2, 10.0)
    for _ in range(ENOUGH_LOSSES - 1):
        guard.judge(result(1.0))
    assert guard.accepts({"loss": 1e9, "kl": 1.0})
    guard.judge(result(1.0))
    assert not guard.accepts({"loss": 10.1, "kl": 1.0}) and guard.accepts({"loss": 10, "kl": 1.0})
    for _ in range(RECENT):
        guard.judge(result(9.0))
    assert guard.accepts({"loss": 89.0, "kl": 1.0})
    assert guard.recent == {"kl loss": [9.0] * RECENT}


def test_a_good_step_ends_a_row_of_skips_but_not_their_count():
    guard = LossGuard("skip", 3, None)
    for loss in (math.nan, math.nan, 1.0, math.nan):
        guard.judge(result(loss))
    assert guard.state() == {"skipped": 3, "in_a_row": 1, "recent_losses": {"kl loss": [1.0]}}
    assert LossGuard("stop", 3, None).limit == 0


def test_a_loss_is_compared_with_those_of_the_same_terms():
    """A term that is computed at some steps only must not look like an explosion there."""
    guard = LossGuard("stop", 1, 3.0)
    more = StepResult({"loss": 8.0, "kl": 1.0, "crps": 3.0}, 1.0, frozenset(), 0)
    for step in range(4 * ENOUGH_LOSSES):
        assert guard.judge(more if step % 4 == 0 else result(2.0)) == ("", True)
    assert guard.complaint({"loss": 8.0, "kl": 1.0})
    assert guard.complaint({"loss": 25.0, "kl": 1.0, "crps": 3.0})


def test_a_guard_goes_on_where_its_checkpoint_was():
    guard, other = LossGuard("skip", 2, 10.0), LossGuard("skip", 2, 10.0)
    for loss in [0.1 * n for n in range(100)] + [math.nan]:
        guard.judge(result(loss))
    other.load(json.loads(json.dumps(guard.state())))
    assert other.state() == guard.state()
    for loss in (60.0, 80.0, math.nan):
        terms = {"loss": loss, "kl": 1.0}
        assert guard.complaint(terms) == other.complaint(terms)
    assert guard.complaint({"loss": 1e4, "kl": 1.0})


@pytest.mark.parametrize(
    "options", [("ignore", 1, None), ("skip", 0, None), ("stop", 1, 1.0), ("stop", 1, math.nan)]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(InputError, match="trainer"):
        LossGuard(*options)


# --- status --------------------------------------------------------------------------------------


class OneRank:
    rank = 0

    def barrier(self):
        pass


def read(run_dir):
    return json.loads((run_dir / "status.json").read_text())


def supervise(run_dir, error):
    status = Status(run_dir)
    status.clear()
    with supervised(status, OneRank(), lambda: 7):
        assert read(run_dir)["state"] == "running"
        if error:
            raise error


def test_the_status_tells_how_a_run_ended(tmp_path):
    supervise(tmp_path, None)
    assert read(tmp_path) == {
        "state": "finished", "cause": "", "checkpoint": None, "step": 7, "train_seconds": None
    }  # fmt: skip
    folder = checkpoint.write_checkpoint(tmp_path, Part({}), {"step": 5})
    checkpoint.point(tmp_path, "last", folder, step=5)
    with pytest.raises(StoppedError):
        supervise(tmp_path, StoppedError("stopped"))
    assert read(tmp_path)["state"] == "stopped"
    with pytest.raises(RunError, match="bad shard") as caught:
        supervise(tmp_path, InputError("bad shard\nmore"))
    assert caught.value.speaks
    assert read(tmp_path) == {
        "state": "failed", "cause": "bad shard", "checkpoint": folder.name, "step": 7,
        "train_seconds": None,
    }  # fmt: skip
    with pytest.raises(RunError, match=f"a peer is gone.*last checkpoint stands: {folder.name}"):
        supervise(tmp_path, RuntimeError("[gloo/pair.cc:534] Connection closed by peer"))
    with pytest.raises(RunError, match=r"the disk of .* is full .*No space left"):
        supervise(tmp_path, OSError(28, "No space left on device"))
    with pytest.raises(RunError, match=r"lower batch, .*recompute=true.*accumulation=2") as full:
        supervise(tmp_path, torch.OutOfMemoryError("CUDA out of memory. Tried to …\nmore"))
    assert "\n" not in str(full.value)
    said = f"stopped at step 7 (SIGINT, twice); {folder.name} stands, resume=true goes on"
    with pytest.raises(KeyboardInterrupt) as interrupted:
        supervise(tmp_path, KeyboardInterrupt())
    assert str(interrupted.value) == said
    assert (read(tmp_path)["state"], read(tmp_path)["cause"]) == ("stopped", said)


def test_the_first_rank_that_fails_names_the_cause(tmp_path):
    first, second = Status(tmp_path), Status(tmp_path)
    assert first.fail("unreadable shard", 3)
    assert not second.fail("a peer is gone", 3)
    assert read(tmp_path)["cause"] == "unreadable shard"
    first.clear()
    assert second.fail("again", 4)


def test_the_status_is_written_even_where_the_disk_is_full(tmp_path, monkeypatch):
    status = Status(tmp_path)
    status.write("running", "a long cause that the next one does not have", 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vgbdm.training.status.write_json", full)
    status.write("failed", "full", 2)
    assert read(tmp_path)["cause"] == "full"


def test_peers_are_told_from_other_errors():
    assert is_peer_loss(RuntimeError("[../gloo/transport/tcp/pair.cc] Connection reset by peer"))
    assert not is_peer_loss(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_peer_loss(ValueError("peer"))


# --- watchdog and signals ------------------------------------------------------------------------


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip


HANGS = """
import logging, sys, threading, time
from pathlib import Path
from types import SimpleNamespace
from vgbdm.training import watchdog
logging.basicConfig(format="%(message)s")

now, looks, main = [0.0], threading.Semaphore(0), threading.main_thread()

def monotonic():  # time passes as the script says
    if threading.current_thread() is not main:
        looks.release()
    return now[0]

def wait_for_nobody(seconds):
    time.sleep(seconds)

watchdog.time = SimpleNamespace(monotonic=monotonic, sleep=lambda seconds: None)
watchdog.note_progress()
with watchdog.Watchdog(600.0, Path(sys.argv[1]), lambda line: True):
    for _ in range(2):
        now[0] += 400.0
        looks.acquire(), looks.acquire()  # the first look may have been under way before
        watchdog.note_progress()
    print("alive", flush=True)
    now[0] += float(sys.argv[2])
    wait_for_nobody(float(sys.argv[2]))
"""


def test_a_hang_is_ended_and_its_stacks_are_left(tmp_path):
    done = python(HANGS, tmp_path / "hang.txt", 1000)
    assert done.returncode == 1
    assert "alive" in done.stdout
    assert [line for line in done.stderr.splitlines() if line.startswith("error: no progress")]
    assert "wait_for_nobody" in (tmp_path / "hang.txt").read_text()


def test_who_gets_on_is_left_alone(tmp_path):
    done = python(HANGS, tmp_path / "hang.txt", 0)
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())


LISTENS = """
import os, sys, time
from vgbdm.training import interrupts
interrupts.listen(int(sys.argv[1]))
print(os.getpid(), flush=True)
for _ in range(6000):
    if interrupts.request():
        print(interrupts.request(), flush=True)
        sys.stdin.readline()  # until nobody signals any more: Python's own end takes no handler
        break
    time.sleep(0.1)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_signals_are_noted_and_repeats_ignored(name):
    with subprocess.Popen(
        [sys.executable, "-c", LISTENS, "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline()
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline().strip() == name
        for _ in range(5):
            process.send_signal(getattr(signal, name))
            time.sleep(0.001)
        process.stdin.close()
        assert process.wait() == 0


@pytest.fixture
def listening(monkeypatch):
    """What this process hears; its own handlers are back afterwards."""
    monkeypatch.setattr(interrupts, "_heard", [])
    monkeypatch.setattr(interrupts, "_parents", [])
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_interrupt_is_a_request_and_the_second_ends(listening):
    said = []
    interrupts.listen(0, said.append)
    os.kill(os.getpid(), signal.SIGINT)
    assert (interrupts.request(), said) == ("SIGINT", ["SIGINT"])
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert said == ["SIGINT"] and signal.getsignal(signal.SIGINT) == signal.SIG_DFL


def test_launchers_repeat_an_interrupt_and_it_is_one(listening):
    interrupts.listen(1)
    for _ in range(5):
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.request() == "SIGINT"


def test_an_interrupt_saves_and_the_run_goes_on(listening, tmp_path):
    interrupts.listen()
    trainer = make_trainer(tmp_path)
    step = trainer.backend.step

    def interrupted(*given):
        if trainer.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(*given)

    trainer.backend.step = interrupted
    line = "stopped at step 5 (SIGINT); step-00000005 is saved, resume=true goes on"
    with pytest.raises(StoppedError) as stopped:
        trainer.fit()
    assert str(stopped.value) == line
    status = {"state": "stopped", "cause": line, "checkpoint": "step-00000005", "step": 5}
    said = read(tmp_path)
    assert said == status | {"train_seconds": said["train_seconds"]} and said["train_seconds"] > 0
    interrupts._heard.clear()
    make_trainer(tmp_path).fit()
    assert read(tmp_path)["state"] == "finished"


def test_a_launcher_that_is_gone_is_a_request(tmp_path):
    # front-end → launcher → rank, as deepspeed has it; the front-end is killed
    middle = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LISTENS!r}, '2'])"
    front = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {middle!r}])"
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", front], stdin=subprocess.DEVNULL, stdout=out
        )
    deadline = time.monotonic() + 600
    while not (tmp_path / "out").read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    rank = int((tmp_path / "out").read_text())
    process.kill()
    process.wait()
    while len((tmp_path / "out").read_text().splitlines()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (tmp_path / "out").read_text().splitlines()[1] == "its launcher is gone"
    while os.path.exists(f"/proc/{rank}"):  # noqa: PTH110
        assert time.monotonic() < deadline
        time.sleep(0.02)
