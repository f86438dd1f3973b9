"""What only weather has: a shard that cannot be read; a full disk, which is all the same to it."""

import shutil
import subprocess

import pytest
from builders import make_store
from processes import Run

from climate.store.layout import open_store

pytestmark = pytest.mark.slow

QUICK = [
    "size=tiny", "trainer.total_steps=20", "trainer.validations=1", "validation.starts=4",
    "validation.lead=6h", "backend=torch",
]  # fmt: skip


def test_an_unreadable_shard_is_named_once(tmp_path):
    store = make_store(tmp_path)
    shards = sorted(path for path in store.path.rglob("c/*") if path.is_file())
    shards = shards or sorted(p for p in store.path.rglob("*") if "/c/" in str(p) and p.is_file())
    first = max(shards, key=lambda path: path.stat().st_size)
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 0xFF
    first.write_bytes(data)
    open_store(store.path)
    with Run(tmp_path / "run", [f"store={store.path}", *QUICK], script="train_era5") as run:
        assert run.finish() != 0
        lines = run.lines()
        assert len(lines) == 1, run.text()
        assert "cannot be read" in lines[0]
        assert run.status()["state"] == "failed"
        assert run.status()["cause"] in lines[0]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted as root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_named_and_the_last_checkpoint_stands(store, small_disk):
    more = [f"store={store.path}", *QUICK, "trainer.validations=20"]
    fill = small_disk / "filler"
    run_dir = small_disk / "run"
    with Run(run_dir, more, script="train_era5", faults="pause seconds=0.2") as run:
        run.wait_until(lambda: run.step() >= 2)
        try:
            with fill.open("wb") as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            pass
        assert run.finish() != 0
        lines = run.lines()
        assert len(lines) == 1, run.text()
        assert "No space left" in lines[0]
        status = run.status()
        assert status["state"] == "failed"
        assert (run_dir / "checkpoints" / status["checkpoint"] / "state.json").exists()
