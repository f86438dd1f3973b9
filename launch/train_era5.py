"""Train a weather model on a training store, on one process or many.

deepspeed --num_accelerators 2 launch/train_era5.py store=STORE run_dir=RUN
python launch/train_era5.py store=STORE run_dir=RUN size=small step=6h trainer.max_minutes=10
"""

from ending import command, then
from entry import is_first, launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Train as the config says."""
    from climate.training.run import train

    train(cfg)
    if is_first():
        print(f"curves: tensorboard --logdir {cfg.run_dir}")
        given = (f"run_dir={cfg.run_dir}", f"store={cfg.store}", "out=FORECAST")
        then(command("forecast_era5", *given, "leads=6mo" if cfg.step == "1mo" else "leads=42h"))


if __name__ == "__main__":
    launch(main, "train_era5", trains=True)
