"""Simulate trajectories of a system to a Zarr store.

python launch/simulate_system.py system=lorenz out=STORE n=1000 seed=1 [split=train]
"""

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


if __name__ == "__main__":
    launch(main, "simulate_system")
