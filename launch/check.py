"""Check a training run before it is started: two steps and a save in a scratch folder.

python launch/check.py store=STORE run_dir=RUN …the arguments of train_era5.py…
deepspeed --num_accelerators 2 launch/check.py store=STORE run_dir=RUN backend.stage=2
python launch/check.py check.grid=0.25 check.channels=40 check.ranks=64 …  a plan without data
"""

from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Check what the config says, or plan it."""
    if cfg.check.grid is not None:
        from climate.planning.plan import plan

        return plan(cfg)
    from climate.training.preflight import preflight

    return preflight(cfg)


if __name__ == "__main__":
    launch(main, "check", trains=True)
