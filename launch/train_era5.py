"""Train a weather model on a training store, on one process or many.

deepspeed --num_accelerators 2 launch/train_era5.py store=STORE run_dir=RUN
python launch/train_era5.py store=STORE run_dir=RUN size=small step=6h trainer.max_minutes=10
"""

from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Train as the config says."""
    from climate.training.run import train

    train(cfg)


if __name__ == "__main__":
    launch(main, "train_era5", trains=True)
