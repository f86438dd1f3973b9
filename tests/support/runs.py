"""Configs of short training runs."""

from pathlib import Path

from hydra import compose, initialize_config_dir

CONFIGS = str(Path(__file__).resolve().parents[2] / "configs")
SMALL = [
    "model.window=10", "model.features=16", "system.presets.encoder.width=16", "batch=8",
    "trainer.total_steps=6", "trainer.validations=2", "objective.schedules.gauge.start=0.01",
]  # fmt: skip


def config(stores, run_dir, *options):
    """A short run on the stores ``train`` and ``val`` of a folder."""
    data = [f"data.train={stores}/train", f"data.val={stores}/val", f"run_dir={run_dir}"]
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose("train_system", [*data, *SMALL, *options])
