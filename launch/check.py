"""Check a training run before it is started: two steps and a save in a scratch folder.

python launch/check.py store=STORE run_dir=RUN …the arguments of train_era5.py…
deepspeed --num_accelerators 2 launch/check.py store=STORE run_dir=RUN backend.stage=2
"""

from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Check what the config says."""
    from climate.training.preflight import preflight

    preflight(cfg)


if __name__ == "__main__":
    launch(main, "train_era5", trains=True)
