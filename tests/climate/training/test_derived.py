"""What a start makes once for all its ranks lies in the run's folder before they look."""

import numpy as np
from fake_weather import compose_training

from climate.store.layout import open_store
from climate.training.run import build_model, derive
from vgbdm.training.run_folder import DERIVED


def test_changes_over_several_steps_of_the_store_are_gathered_once(store, tmp_path, monkeypatch):
    run = tmp_path / "run"
    cfg = compose_training(str(store.path), f"run_dir={run}", "step=6h", "size=tiny")
    derive(cfg, run)
    (file,) = (run / DERIVED).iterdir()
    assert file.name.startswith("step-change-")

    def refuse(*_):
        raise AssertionError("states are read again")

    held = open_store(store.path)
    monkeypatch.setattr(type(held.state), "read", refuse)
    model, _ = build_model(cfg, held, kept=run / DERIVED)
    assert np.isfinite(model.change.numpy()).all() and (model.change > 0).all()
