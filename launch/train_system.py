"""Train a model of a system on trajectories, on one process or many.

python launch/train_system.py system=lorenz objective=vgbdm data.train=STORE data.val=STORE seed=3
torchrun --nproc-per-node 2 launch/train_system.py system=lorenz data.train=STORE data.val=STORE
python launch/train_system.py --multirun seed=1,2,3 objective=vgbdm,blackbox data.train=… data.val=…
"""

from pathlib import Path

from ending import command, then
from entry import is_first, launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Train as the config says."""
    from physics_systems.training import run_dir_of, train

    train(cfg)
    if is_first():
        print(f"curves: tensorboard --logdir {run_dir_of(cfg)}")
        then(command("evaluate_system", f"runs={run_dir_of(cfg)}", "data.test=STORE", "out=SCORES"))


def folder_of(cfg: DictConfig) -> Path:
    """The run folder, also where it is named by a hash of the config."""
    from physics_systems.training import run_dir_of

    return run_dir_of(cfg)


if __name__ == "__main__":
    launch(main, "train_system", trains=True, folder_of=folder_of)
