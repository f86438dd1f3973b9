"""Two real launches at one place begin together: one works, the other is refused in one line."""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import warm
from builders import SPLITS, contents, write_folder
from processes import SUPPORT, environment, finish
from system_fields import write_stores

from climate.conversion.verify import find_damaged_shards
from climate.store.layout import open_store
from vgbdm.training import checkpoint

pytestmark = pytest.mark.slow
REPO = Path(__file__).resolve().parents[2]


def both(seed, command, *options, gate=None):
    """What the one that is refused says, of two launches apart by a moment that the seed draws.

    Args:
        seed: of the moment.
        command: that is launched.
        options: of it.
        gate: file that is made when one has ended, so that none can be through before both begin.
    """
    command, started = [*map(str, command), *map(str, options)], []
    with TemporaryDirectory() as folder:
        logs = [Path(folder) / "first", Path(folder) / "second"]
        waits = (0.0, np.random.default_rng(seed).uniform(0, 0.3))
        for wait, log in zip(waits, logs, strict=True):
            time.sleep(wait)
            started.append(warm.Group(command, [environment()], log))
        while gate and all(group.poll() is None for group in started):
            time.sleep(0.05)
        if gate:
            gate.touch()
        codes = [group.wait(300) for group in started]
        said = [log.read_text() for log in logs]
    assert sorted(codes) == [0, 2], said
    lines = [line for line in said[codes.index(2)].splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in said[codes.index(2)]
    return lines[0]


def launcher(name):
    return [REPO / "launch" / f"{name}.py"]


def convert_options(place):
    splits = [f"split.{name}=[{','.join(map(str, ends))}]" for name, ends in SPLITS.items()]
    return [f"source.root={place}/files", "variables=[z,u10,v10]", *splits]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("source")
    write_folder(place / "files")
    return place


def test_one_of_two_converters_works(files, tmp_path):
    line = both(1, launcher("convert_era5"), f"store={tmp_path}/store", *convert_options(files))
    assert "at work on it" in line or "already finished" in line
    assert not list(find_damaged_shards(tmp_path / "store")) and len(
        open_store(tmp_path / "store").times
    )
    assert not [path for path in contents(tmp_path / "store") if ".lock" in str(path)]


def test_one_of_two_trainings_works(tmp_path):
    options = [
        *write_stores(tmp_path), f"run_dir={tmp_path}/run", "resume=true", "system=lorenz",
        "model.window=10", "model.features=16", "batch=8", "system.presets.encoder.width=16",
        "trainer.total_steps=40", "trainer.validations=2", "validation.limit=8",
    ]  # fmt: skip
    gate = tmp_path / "gate"
    command = [SUPPORT / "faulty.py", "train_system", f"gate path={gate}"]
    assert "at work on it" in both(2, command, *options, gate=gate)
    assert checkpoint.find_whole(tmp_path / "run", "last").name == "step-00000040"


def test_one_of_two_forecasts_works(store, tmp_path):
    train = [sys.executable, REPO / "launch" / "train_era5.py", f"store={store.path}"]
    quick = ["size=tiny", "trainer.total_steps=2", "trainer.validations=1", "validation.starts=2"]
    finish([*train, f"run_dir={tmp_path}/run", *quick, "validation.lead=6h"])
    options = [f"run_dir={tmp_path}/run", f"store={store.path}", f"out={tmp_path}/out", "leads=42h"]
    line = both(1, launcher("forecast_era5"), *options)
    assert any(why in line for why in ("at work on it", "exists; remove it", "has come there"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]
