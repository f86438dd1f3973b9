"""The trainer saves beside training, goes on from what is whole, and says what went wrong."""

import json
import logging
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import finish_ranks
from tiny import alike, make_trainer, record

from vgbdm.errors import InputError, RunError
from vgbdm.origin import software
from vgbdm.training import checkpoint, saving
from vgbdm.training.parts import stored
from vgbdm.training.saving import Saver
from vgbdm.training.transfer import Feed

SUPPORT = Path(__file__).resolve().parents[2] / "support"
ALWAYS = 1e-9
"""Minutes between saves that have always passed."""


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """The writer waits for the next step of training: a save that blocks would never reach it."""
    events, reached = [], threading.Event()
    commit = checkpoint.commit

    def slow(run_dir, part, state, *rest):
        if state["step"] == 2:
            assert reached.wait(300)
            events.append("written 2")
        commit(run_dir, part, state, *rest)

    monkeypatch.setattr(checkpoint, "commit", slow)
    trainer = make_trainer(tmp_path, total_steps=4, validations=1)
    trainer.start()
    with trainer.open_stream(0) as batches:
        feed = Feed(batches, trainer.backend.device)
        for step in range(1, 5):
            trainer.train_step(next(feed), feed.prepare, None, 0.0)
            if step == 2:
                trainer.save()
                before = record(trainer)
            if step == 3:
                assert trainer.saver.writer.is_busy
                events.append("step 3")
                reached.set()
        trainer.save()  # waits for the first: never two at once
        events.append("save 4")
        trainer.saver.settle()
    assert events == ["step 3", "written 2", "save 4"]
    folder = checkpoint.folder_of(tmp_path, 2)
    held = {kind: dict(tensors) for kind, tensors in stored(folder).items()}
    assert alike(before, held) and not alike(before, record(trainer))


def test_saves_come_by_the_clock_and_not_on_top_of_validations(tmp_path, monkeypatch):
    saved = []
    commit = checkpoint.commit

    def watched(run_dir, part, state, *rest):
        saved.append(state["step"])
        commit(run_dir, part, state, *rest)

    monkeypatch.setattr(checkpoint, "commit", watched)
    trainer = make_trainer(tmp_path, save_minutes=ALWAYS)
    monkeypatch.setattr(type(trainer.saver.writer), "is_busy", False)
    trainer.fit()
    assert saved == [0, 1, 2, 3, 4, 5, 6]
    saved.clear()
    make_trainer(tmp_path / "other", save_minutes=60).fit()
    assert saved == [0, 3, 6]
    assert not any(t.name == "checkpoint writer" for t in threading.enumerate())


def test_a_wish_waits_for_the_writer(tmp_path):
    trainer, go = make_trainer(tmp_path, save_minutes=ALWAYS), threading.Event()
    assert trainer.saver.is_due()
    trainer.saver.writer.begin(lambda: go.wait(300))
    assert not trainer.saver.is_due()
    go.set()
    trainer.saver.settle()
    assert trainer.saver.is_due() and not make_trainer(tmp_path).saver.is_due()
    trainer.backend.rank = 1
    assert not trainer.saver.is_due()


def test_resuming_in_the_middle_is_as_if_nothing_had_been(tmp_path):
    whole, part = make_trainer(tmp_path / "whole"), make_trainer(tmp_path / "part")
    whole.fit()
    part.start()
    with part.open_stream(0) as batches:
        feed = Feed(batches, part.backend.device)
        for _ in range(2):
            part.train_step(next(feed), feed.prepare, None, 0.0)
        part.save()
        part.saver.settle()
    again = make_trainer(tmp_path / "part")
    again.fit()
    assert alike(record(whole), record(again)) and again.best == whole.best


@pytest.mark.parametrize(
    "name", ["model-00000.safetensors", "index.json", "state.json", "manifest.json"]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path, caplog, name):
    whole = make_trainer(tmp_path)
    whole.fit()
    path = checkpoint.folder_of(tmp_path, 6) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    again = make_trainer(tmp_path)
    with caplog.at_level(logging.INFO):
        again.fit()
    said = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert str(path) in said[0] and "\n" not in said[0]
    assert f"resuming {tmp_path} at step 3 of 6" in caplog.messages
    assert alike(record(whole), record(again)) and again.best == whole.best
    assert checkpoint.find_whole(tmp_path, "best") == checkpoint.folder_of(tmp_path, 6)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "3", "4", "5", "6"]


def test_a_lost_best_is_said_and_set_by_the_next_validation(tmp_path, caplog):
    first = make_trainer(tmp_path, total_steps=4)
    first.fit()
    (tmp_path / "best.json").write_text('{"checkpoint": "step-00000077"}')
    longer = make_trainer(tmp_path, total_steps=4)
    longer.start()
    assert longer.best == float("inf")
    assert "step-00000077" in caplog.text
    longer.save(0.5)
    longer.saver.settle()
    assert json.loads((tmp_path / "best.json").read_text())["score"] == 0.5


def test_no_whole_checkpoint_is_one_line(tmp_path):
    make_trainer(tmp_path).fit()
    for path in tmp_path.glob("checkpoints/*/state.json"):
        path.write_text("{}")
    with pytest.raises(InputError, match="none of 2 is whole; start with another run_dir"):
        make_trainer(tmp_path).fit()


def fill_disk(monkeypatch, from_step):
    """Let the disk be full from a step on."""
    finish = checkpoint._finish

    def full(folder, state):
        finish(folder, state)
        if state["step"] >= from_step:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_finish", full)


@pytest.mark.parametrize(("step", "seen"), [(3, 4), (6, 6)])
def test_a_full_disk_ends_a_run_with_a_line_and_what_was_there(tmp_path, monkeypatch, step, seen):
    """In the middle it is seen a step later, at the end before the run ends."""
    fill_disk(monkeypatch, step)
    trainer = make_trainer(tmp_path)
    saver, due = trainer.saver, trainer.saver.is_due
    monkeypatch.setattr(saver, "is_due", lambda: (saver.writer.join(), due())[1])
    with pytest.raises(RunError, match=f"step {step} cannot be written .*No space left"):
        trainer.fit()
    assert trainer.step == seen
    last = {3: 0, 6: 3}[step]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir())[-1] == f"step-{last:08d}"
    assert checkpoint.find_whole(tmp_path, "last") == checkpoint.folder_of(tmp_path, last)
    assert checkpoint.find_whole(tmp_path, "best") == checkpoint.folder_of(tmp_path, last)
    monkeypatch.undo()
    again, whole = make_trainer(tmp_path), make_trainer(tmp_path / "whole")
    again.fit()
    whole.fit()
    assert alike(record(again), record(whole))


def test_all_ranks_raise_with_one(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    trainer.backend.rank, trainer.backend.world_size, saver = 1, 3, trainer.saver
    idle, of_2 = [0.0, 0.0], [0.0, 0.0, 1.0]
    for collective, said in (
        (saver.settle, [idle, of_2]),
        (trainer.save, [idle, of_2]),
        (saver.find_start, [of_2]),
    ):
        answers = iter(said)
        monkeypatch.setattr(trainer.backend, "totals", lambda *numbers, a=answers: next(a))
        with pytest.raises(InputError, match="rank 2 cannot"):
            collective()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_two_ranks_save_fail_and_go_on_alike(tmp_path, rank):
    def run(full_from):
        worker = [
            str(SUPPORT / "saving_worker.py"),
            str(tmp_path / "run"),
            str(full_from),
            str(rank),
        ]
        finish_ranks(worker, 2)
        return [json.loads((tmp_path / f"run-rank{r}.json").read_text()) for r in (0, 1)]

    failed = run(4)
    assert "step 4 cannot be written" in failed[rank]["error"]
    assert f"rank {rank} cannot save" in failed[1 - rank]["error"]
    assert {end["error"].split(":")[0] for end in failed} == {"RunError"}
    last = checkpoint.find_whole(tmp_path / "run", "last")
    assert failed[0]["ended"] == failed[1]["ended"] == 5 and last.name == "step-00000003"
    (last / "exp_avg-00000.safetensors").write_bytes(b"")
    done = run(99)
    assert [(end["began"], end["ended"], end["error"]) for end in done] == [(2, 6, "")] * 2
    whole = make_trainer(tmp_path / "whole")
    whole.fit()
    assert done[0]["best"] == pytest.approx(whole.best, rel=1e-5)


def test_nothing_that_is_written_holds_a_password(tmp_path):
    make_trainer(tmp_path).fit()
    texts = [p.read_text() for p in tmp_path.rglob("*.json")]
    assert json.loads((tmp_path / "config.json").read_text()) == {"store": "s3://***@host/store"}
    assert texts and not any("secret" in text for text in texts)


def test_the_state_says_where_the_run_stood(tmp_path):
    make_trainer(tmp_path).fit()
    state = checkpoint.read_state(Path(tmp_path / "checkpoints/step-00000003"))
    assert state.keys() == {
        "must_match", "config", "step", "total_steps", "samples", "best", "waited", "looked",
        "guard", "changes", "software", "course", "train_seconds", "recent_seconds",
    }  # fmt: skip
    assert (state["step"], state["samples"], state["total_steps"]) == (3, 12, 6)
    assert state["software"] == software()


def test_a_run_goes_on_with_another_version_which_its_next_checkpoint_names(tmp_path, monkeypatch):
    make_trainer(tmp_path, total_steps=3, validations=1).fit()
    monkeypatch.setattr("vgbdm.training.loop.software", lambda: "vgbdm 9.9")
    make_trainer(tmp_path, total_steps=6, told={"trainer": {"total_steps": 6}}).fit()
    states = [checkpoint.read_state(checkpoint.folder_of(tmp_path, step)) for step in (3, 6)]
    assert [state["software"] for state in states] == [software(), "vgbdm 9.9"]


@pytest.mark.parametrize("grows", [True, False])
def test_a_long_write_is_progress_as_long_as_its_files_grow(tmp_path, monkeypatch, grows):
    """A wait for a large checkpoint must not end a run, but one for a disk that hangs."""
    calls, looks, looked = [], threading.Semaphore(0), checkpoint.bytes_under_way

    def look(run_dir):
        found = looked(run_dir)
        looks.release()
        return found

    def slow(run_dir, *_):
        aside = run_dir / "checkpoints/.step-00000000.tmp"
        aside.mkdir(parents=True)
        with (aside / "model-00000.safetensors").open("wb", buffering=0) as file:
            for _ in range(4):
                file.write(b"x" * grows)
                # the first look may have been under way before the file grew
                assert all(looks.acquire(timeout=300) for _ in range(2))

    monkeypatch.setattr(checkpoint, "commit", slow)
    monkeypatch.setattr(checkpoint, "bytes_under_way", look)
    monkeypatch.setattr("vgbdm.training.saving.POLL_SECONDS", 0.01)
    monkeypatch.setattr("vgbdm.training.saving.note_progress", lambda: calls.append(1))
    trainer = make_trainer(tmp_path, total_steps=1, validations=1)
    trainer.start()
    trainer.save()
    trainer.saver.settle()
    assert len(calls) >= 4 if grows else len(calls) <= 2


def test_a_save_is_due_after_its_minutes_and_never_without(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(saving, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    first, second = SimpleNamespace(rank=0), SimpleNamespace(rank=1)
    two, never = Saver(tmp_path, first, 1, 2.0), Saver(tmp_path, first, 1, None)
    other = Saver(tmp_path, second, 1, 2.0)
    for seconds, due in ((0.0, False), (119.5, False), (120.0, True), (1e9, True)):
        now[0] = 1000.0 + seconds
        assert (two.is_due(), never.is_due(), other.is_due()) == (due, False, False)
