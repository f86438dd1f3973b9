"""The preflight says what a run will take, refuses what cannot be, and leaves nothing."""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from processes import finish, starter
from runs_era5 import REPO

from climate.training import preflight
from vgbdm.errors import InputError
from vgbdm.training.backends.deepspeed import bucket_of
from vgbdm.training.memory import state_bytes

CONFIGS = str(REPO / "configs")
DAY = np.timedelta64(1, "D")


def config(store, run_dir, *options):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        told = [f"store={store.path}", f"run_dir={run_dir}", "size=tiny", "batch=8", *options]
        return compose("train_era5", told)


def test_it_says_what_a_run_takes_and_leaves_nothing(store, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    preflight.preflight(config(store, tmp_path / "run", "trainer.total_steps=3600"))
    said = caplog.text
    for words in (
        "8 samples = 1 rank(s) × 1 micro-batch(es) × 8", "checkpoints: ", "single", "measured",
        "peak memory", "s a step", "3600 steps take", "advice: ", "bf16 computes a pass in",
    ):  # fmt: skip
        assert words in said
    assert not list(tmp_path.iterdir())


def judged(samples, *options):
    cfg = config(SimpleNamespace(path="store"), "run", *options)
    return preflight.judge_length(cfg, samples, 5000, 0.5)


def test_samples_epochs_and_steps_are_judged():
    (said,) = judged(24, "trainer.total_steps=1000")
    assert "1000 steps of 8 samples are 333 epochs over 24 samples" in said
    assert "convert a longer split.train, or trainer.total_steps=300" in said
    (said,) = judged(240, "trainer.max_minutes=50")
    assert "6000 steps of 8 samples are 200 epochs over 240" in said and "max_minutes" in said
    (said,) = judged(24, "trainer.total_steps=30")
    assert "10 epochs over 24" in said and said.endswith("convert a longer split.train")
    batch, few = judged(4, "trainer.total_steps=30")
    assert "a batch of 8 is more than the 4 samples" in batch and "few samples" in few
    (said,) = judged(58000, "trainer.total_steps=1000")
    assert "0.14 of an epoch" in said and said.endswith("trainer.total_steps=7250")
    assert not judged(58000, "trainer.total_steps=7250")
    assert not judged(300, "trainer.total_steps=1000")


def test_what_it_finds_about_samples_is_said(store, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    preflight.preflight(config(store, tmp_path / "run", "trainer.total_steps=10000"))
    assert "advice: few samples: 10000 steps of 8 samples are 303 epochs" in caplog.text
    assert "nothing stands out" not in caplog.text


def test_what_training_would_refuse_is_refused_and_leaves_nothing(store, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "log.csv").write_text("step\n1\n")
    for run_dir, options, words in (
        ("old", [], "resume=true"),
        ("run", ["batch=7"], "."),
        ("run", ["backend.accumulation=9"], "a rank has 8 of a batch of 8"),
    ):
        with pytest.raises(InputError, match=words):
            preflight.preflight(config(store, tmp_path / run_dir, *options))
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_statistics_must_come_from_training(store):
    preflight.check_statistics(store)
    begin, end = store.splits["train"]
    shorter = replace(store, splits=store.splits | {"train": (begin, end - DAY)})
    with pytest.raises(InputError, match="does not contain"):
        preflight.check_statistics(shorter)
    touching = replace(store, splits=store.splits | {"val": (end - DAY, end + DAY)})
    with pytest.raises(InputError, match="touch the split val"):
        preflight.check_statistics(touching)


def test_checkpoints_must_fit_the_disk(tmp_path):
    assert "free" in preflight.check_disk(tmp_path / "run", 2**20, 1)
    with pytest.raises(InputError, match="make room"):
        preflight.check_disk(tmp_path / "run", 2**60, 1)


def test_state_by_formula():
    sizes = {"a": 8 * 10**6, "b": 1000}
    count = sum(sizes.values())
    assert state_bytes(sizes, "ddp", 4, False) == 16 * count
    assert state_bytes(sizes, "ddp", 4, True) == 20 * count
    assert state_bytes(sizes, "zero2", 4, False) == 8 * count
    # a quarter of all; the small parameter whole; an eighth for sending
    sent = bucket_of(count)
    assert count // 9 < sent < count // 7
    assert state_bytes(sizes, "zero3", 4, False) == 4 * (count + 1000 + sent)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchrun", "deepspeed", "python"])
def test_it_works_under_every_launcher(store, tmp_path, name):
    script = str(Path(REPO) / "launch" / "check.py")
    options = [f"store={store.path}", f"run_dir={tmp_path}/run", "size=tiny", "batch=8"]
    done = finish([*starter(name), script, *options])
    assert (done.stdout + done.stderr).count("advice: ") >= 1
    assert done.stdout.count("next: the same command with train-era5 for check") == 1
    assert not list(tmp_path.iterdir())


def advised(*odd, peak=1, passes=((1.0, 2.0), (1.0, 2.0)), save=0.0, save_minutes=None,
            name="ddp", ranks=1, accumulation=1):  # fmt: skip
    """What is advised of a run that is fine but for what is told; memory is 100 bytes."""
    trainer = {"max_minutes": None, "total_steps": 7250, "save_minutes": save_minutes}
    cfg = OmegaConf.create({"batch": 8, "trainer": trainer})
    backend = SimpleNamespace(
        world_size=ranks, name=name, ema=None, precision="fp32", accumulation=accumulation
    )
    kinds = dict(zip(("fp32", "bf16"), passes, strict=False))
    measured = preflight.Measured(2**20, peak, 100, 0.5, save, kinds)
    return preflight.advice(cfg, backend, {"a": 5000}, measured, 58000, odd)


FINE = ["nothing stands out; start it"]


def test_nothing_is_advised_where_nothing_stands_out():
    assert advised() == FINE
    assert advised("z at noon") == ["look at odd maps before training: z at noon"]


def test_a_faster_precision_is_advised_where_it_is_worth_it():
    worth = preflight.FASTER
    assert advised(passes=((1.0, 2.0), (1.01 * worth, 2.0))) == FINE
    assert advised(passes=((10.0, 2.0), (10.1 * worth, 2.0))) == FINE
    for slow in (1.0, 10.0):
        (said,) = advised(passes=((slow, 2.0), (0.99 * worth * slow, 2.0)))
        assert said == "backend.precision=bf16: it is faster here, see above"
    assert advised(passes=((1.0, 2.0), (5.0, 2.0))) == FINE


def test_longer_pauses_between_saves_are_advised_where_a_save_is_long():
    minute = 60 * preflight.SLOW_SAVE
    assert advised(save_minutes=10, save=9.9 * minute) == FINE
    (said,) = advised(save_minutes=10, save=10.1 * minute)
    assert said == f"a save takes {10.1 * minute:.0f} s: raise trainer.save_minutes"
    assert advised(save=1e9) == FINE


def test_memory_that_is_nearly_full_or_nearly_empty_is_seen():
    full, half = 100 * preflight.HEADROOM, 50 * preflight.HEADROOM
    assert advised(peak=full, ranks=2) == FINE
    (said,) = advised(peak=full + 1)
    assert said.startswith("memory is nearly full: try backend.recompute=true")
    _, less = advised(peak=full + 1, ranks=2)
    assert less.startswith("backend.stage=3 would hold ")
    assert less.endswith(" of state on a rank instead of 1 MiB")
    assert len(advised(peak=full + 1, ranks=2, name="zero3")) == 1
    (said,) = advised(peak=half - 1, name="zero3")
    assert said.startswith("there is room: a lower backend.stage")
    assert advised(peak=half, name="zero3") == FINE
    (said,) = advised(peak=half - 1, accumulation=2)
    assert said == "there is room: a smaller backend.accumulation is faster"
    assert advised(peak=half, accumulation=2) == FINE


def test_a_pass_is_that_of_a_micro_batch_in_its_precision():
    parts, seen, learner = [], [], SimpleNamespace(precision="fp32")

    def gradients(micro, values, last):
        seen.append((micro, learner.precision))
        return {"loss": torch.tensor(1.5)}

    def part(start, stop):
        parts.append((start, stop))
        return "micro"

    backend = SimpleNamespace(
        learner=learner, accumulation=2, gradients=gradients, discard=lambda *_: None
    )
    batch = SimpleNamespace(host=range(8), device=SimpleNamespace(part=part))
    seconds, loss = preflight.measure_pass(backend, batch, {}, "bf16")
    assert parts == [(0, 4)] and seen == [("micro", "bf16")] * preflight.STEPS
    assert loss == 1.5 and 0 <= seconds < 60 and learner.precision == "fp32"
