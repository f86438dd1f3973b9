"""Train a model of a system on trajectories, on one process or many.

python launch/train_system.py system=lorenz objective=vgbdm data.train=STORE data.val=STORE seed=3
torchrun --nproc-per-node 2 launch/train_system.py system=lorenz data.train=STORE data.val=STORE
python launch/train_system.py --multirun seed=1,2,3 objective=vgbdm,blackbox data.train=… data.val=…
"""

from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Train as the config says."""
    from physics_systems.training import train

    train(cfg)


if __name__ == "__main__":
    launch(main, "train_system", trains=True)
