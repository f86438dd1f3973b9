"""Check a training run before it is started: two steps and a save in a scratch folder.

python launch/check.py store=STORE run_dir=RUN …the arguments of train_era5.py…
deepspeed --num_accelerators 2 launch/check.py store=STORE run_dir=RUN backend.stage=2
python launch/check.py check.grid=0.25 check.channels=40 check.ranks=64 …  a plan without data
"""

from ending import then
from entry import is_first, launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Check what the config says, or plan it."""
    if cfg.check.grid is not None:
        from climate.planning.plan import plan

        plan(cfg)
        next_one = "convert data; then the same command with store=STORE run_dir=RUN for check.…"
    else:
        from climate.training.preflight import preflight

        preflight(cfg)
        next_one = "the same command with train-era5 for check"
    if is_first():
        then(next_one)


if __name__ == "__main__":
    launch(main, "check", trains=True)
