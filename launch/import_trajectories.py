"""Bring in trajectories from a published .pt file, without executing what it holds.

python launch/import_trajectories.py FILE.pt out=STORE [system=NAME]

The system is recognised by its shape and equations; system=NAME says which it is.
"""

from ending import command, then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Read, check, write."""
    from physics_systems.data.importing import import_file
    from physics_systems.data.trajectories import write
    from physics_systems.systems.registered import registered_systems
    from vgbdm.plugins import config_folders
    from vgbdm.registry.build import class_of
    from vgbdm.resources import configs_folder
    from vgbdm.storage.outputs import check_free

    check_free(cfg.out)
    systems = registered_systems((configs_folder(), *config_folders()))
    given = cfg.get("system") and class_of(cfg.system.get("_target_"), "system")
    made = import_file(cfg.file, tuple(systems.values()), given)
    write(made, cfg.out)
    print(f"{made.sizes['trajectory']} trajectories: {cfg.out}")
    data = (f"data.train={cfg.out}", "data.val=STORE")
    then(command("train_system", "system=SYSTEM", *data, "run_dir=RUN"))


if __name__ == "__main__":
    launch(main, "import_trajectories", positional=("file",))
