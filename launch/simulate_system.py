"""Simulate trajectories of a system to a Zarr store.

python launch/simulate_system.py system=lorenz out=STORE n=1000 seed=1 [split=train]
"""

import re

from ending import command, then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Simulate and write."""
    from physics_systems.data.simulate import simulate
    from physics_systems.data.trajectories import write
    from vgbdm.registry.build import build
    from vgbdm.storage.outputs import check_free

    check_free(cfg.out)
    made = simulate(
        build(cfg.system),
        cfg.n,
        cfg.seed,
        split=cfg.split,
        irregular=cfg.irregular,
        noise=cfg.noise,
        parameters=cfg.parameters,
    )
    write(made, cfg.out)
    print(f"{cfg.n} trajectories: {cfg.out}")
    kind = str(cfg.system._target_).rsplit(".", 1)[-1]
    name = re.sub("(?<=[a-z])(?=[A-Z])", "_", kind).lower()
    given = (f"data.train={cfg.out}", "data.val=STORE")
    then(command("train_system", f"system={name}", *given))


if __name__ == "__main__":
    launch(main, "simulate_system")
