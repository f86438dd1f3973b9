"""The same states with other dates: a model trained on one season forecasts them alike."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from runs import CONFIGS

from climate.conversion.convert import convert
from climate.sample.write import make_sample
from climate.sources.opening import open_source
from climate.store.layout import open_store
from climate.stream.batches import read_windows
from climate.training.run import train
from vgbdm.loading import load

pytestmark = pytest.mark.slow
SIX = np.timedelta64(21600, "s")
HALF_YEAR = 183 * 86400
STEPS = {"gbdm": 150, "vgbdm": 100, "blackbox": 100, "climode": 150}
"""Of fast learning: enough that a model which is told the season fails by more than 10 %."""


@pytest.fixture(scope="module")
def spring(tmp_path_factory):
    """A hundred days of the stand-in to train on, and ten after them."""
    base = tmp_path_factory.mktemp("spring")
    make_sample(
        base / "sample", days=112, seed=3, start="2006-01-01", spin_up_days=15, truncation=21
    )
    options = [
        f"source.root={base}/sample", f"store={base}/store", "step=6h",
        "split.train=[2006-01-01,2006-04-10]", "split.val=[2006-04-11,2006-04-14]",
        "split.test=[2006-04-15,2006-04-22]",
    ]  # fmt: skip
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        cfg = compose("convert_era5", options)
    convert(open_source(cfg)[0], base / "store", dict(cfg.split), source={})
    return open_store(base / "store")


def errors(model, store, shift: int) -> np.ndarray:
    """RMSE (C,) at 24 h over the test period, whose clock is shifted by so many seconds."""
    starts = store.anchors("test", SIX, model.history, 4)
    window = read_windows(store, starts, stride=1, history=model.history, ahead=4)
    times = torch.from_numpy(store.times[starts].astype(np.int64)) + shift
    past = torch.from_numpy(window[:, : model.history + 1])
    ahead = torch.cat([
        model.forecast(past[i : i + 8], times[i : i + 8], 4)[:, -1] for i in range(0, len(past), 8)
    ])  # fmt: skip
    square = (ahead.double().numpy() - window[:, -1]) ** 2
    return np.sqrt((square * store.grid.area_weights[:, None]).mean((0, 2, 3)))


@pytest.mark.parametrize("name", STEPS)
def test_a_clock_shifted_by_half_a_year_changes_no_score(spring, tmp_path, name):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        options = [
            f"store={spring.path}", f"run_dir={tmp_path}/run", f"model={name}", "size=tiny",
            "backend=single", f"trainer.total_steps={STEPS[name]}", "trainer.validations=1",
            "validation.starts=2", "batch=8", "rate.peak=1e-2", "rate.warmup=5",
        ]  # fmt: skip
        if name == "climode":
            options += ["objective.ahead=1", "model.solver.substeps=2", "model.fit.degree=3"]
        train(compose("train_era5", options))
    model = load(tmp_path / "run", "last")
    own, shifted = (errors(model, spring, shift) for shift in (0, HALF_YEAR))
    assert shifted == pytest.approx(own, rel=0.05)
