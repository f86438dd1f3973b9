"""Bring in trajectories from a published .pt file, without executing what it holds.

python launch/import_trajectories.py FILE.pt out=STORE
"""

from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Read, check, write."""
    from physics_systems.data.importing import import_file
    from physics_systems.data.trajectories import write
    from vgbdm.storage.outputs import check_free

    check_free(cfg.out)
    made = import_file(cfg.file)
    write(made, cfg.out)
    print(f"{made.sizes['trajectory']} trajectories: {cfg.out}")


if __name__ == "__main__":
    launch(main, "import_trajectories", positional=("file",))
