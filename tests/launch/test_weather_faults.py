"""What only weather has: a shard that cannot be read; a full disk, which is all the same to it."""

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import contents, make_store, make_years
from disks import read_only
from processes import Run, finish

pytestmark = pytest.mark.slow
REPO = Path(__file__).resolve().parents[2]

QUICK = [
    "size=tiny", "trainer.total_steps=20", "trainer.validations=1", "validation.starts=4",
    "validation.lead=6h",
]  # fmt: skip


def test_an_unreadable_shard_is_named_once(tmp_path):
    store = make_store(tmp_path)
    files = [path for path in store.path.rglob("*") if "/c/" in str(path) and path.is_file()]
    shard = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[len(data) // 4] ^= 0xFF
    shard.write_bytes(data)
    options = [f"store={store.path}", *QUICK]
    with Run(tmp_path / "run", options, script="train_era5", launcher=2) as run:
        assert run.finish() != 0
        lines = run.lines()
        assert len(lines) == 1, run.text()
        assert "cannot be read" in lines[0]
        assert run.status()["state"] == "failed"
        assert run.status()["cause"] in lines[0]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 16 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted as root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_named_and_the_last_checkpoint_stands(store, small_disk):
    often = [o for o in QUICK if "validations" not in o]
    more = [f"store={store.path}", *often, "trainer.validations=20"]
    fill = small_disk / "filler"
    run_dir = small_disk / "run"
    with Run(run_dir, more, "train_era5", launcher=2, faults="pause seconds=0.2") as run:
        run.wait_until(lambda: run.step() >= 2)
        while run.process.poll() is None:  # a deleted checkpoint makes room, for a moment
            with contextlib.suppress(OSError), fill.open("ab", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            time.sleep(0.01)
        assert run.finish() != 0
        lines = run.lines()
        assert len(lines) == 1, run.text()
        assert "No space left" in lines[0]
        status = run.status()
        assert status["state"] == "failed"
        assert (run_dir / "checkpoints" / status["checkpoint"] / "state.json").exists()


@pytest.mark.parametrize("options", [["model=climode", "model.fit.degree=3"], ["task=monthly"]])
def test_a_read_only_store_is_trained_on_and_forecast_from(tmp_path, options):
    """What is made from it goes to the run folder, and is found there."""
    monthly = options == ["task=monthly"]
    store = make_years(tmp_path) if monthly else make_store(tmp_path)
    quick = ["size=tiny", "batch=8", "trainer.total_steps=2", "trainer.validations=1"]
    lead = "1mo" if monthly else "6h"
    quick += ["backend=single", "validation.starts=2", f"validation.lead={lead}"]
    run_dir, launch = tmp_path / "run", REPO / "launch"
    before = contents(store.path)
    with read_only(store.path):
        begin = [sys.executable, launch / "train_era5.py", f"store={store.path}"]
        finish([*begin, f"run_dir={run_dir}", *quick, *options], 0)
        made = {path.name.split("-")[0] for path in (run_dir / "derived").iterdir()}
        assert made == ({"monthly"} if monthly else {"initial_wind", "step"})
        told = [f"store={store.path}", f"leads={'2mo' if monthly else '12h'}"]
        told += [f"run_dir={run_dir}", f"out={tmp_path}/forecast"]
        finish([sys.executable, launch / "forecast_era5.py", *told], 0)
        told = [f"store={store.path}", f"forecast={tmp_path}/forecast", f"out={tmp_path}/scores"]
        finish([sys.executable, launch / "evaluate_era5.py", *told, f"run_dir={run_dir}"], 0)
    assert contents(store.path) == before
    later = {path.name.split("-")[0] for path in (run_dir / "derived").iterdir()}
    assert later == made | {"trivial"}
    assert (tmp_path / "scores" / "report.html").exists()
