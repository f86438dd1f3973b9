"""Look after what was written: stores, and by verify also forecasts, trajectories and runs.

python launch/store.py info STORE
python launch/store.py verify STORE|FORECAST|TRAJECTORIES|RUN      exit 0: whole, 1: damaged
python launch/store.py upgrade STORE                               from the version before
python launch/store.py repair STORE source=weatherbench source.root=DIR [variables=[…]] [period=…]
"""

import sys
from pathlib import Path

from ending import command, then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Do what the first argument says."""
    from climate.conversion.upgrade import upgrade
    from climate.conversion.verify import describe_store, repair
    from climate.sources.opening import open_source
    from vgbdm.errors import InputError

    path = Path(cfg.store)
    if cfg.action == "info":
        print("\n".join(describe_store(path)))
        then(command("store", "verify", str(path)))
    elif cfg.action == "verify":
        lines = damages(path)
        print("\n".join(lines) if lines else f"{path}: whole")
        then(mending(path) if lines else use(path))
        sys.exit(1 if lines else 0)
    elif cfg.action == "upgrade":
        lines = upgrade(path, cfg.force_unlock)
        print("\n".join(lines) or f"{path}: is of this version")
        then(command("store", "verify", str(path)))
    else:
        if "source" not in cfg:
            raise InputError("repair reads the source: give source=weatherbench source.root=DIR")
        mended = repair(path, *open_source(cfg), cfg.force_unlock)
        print("\n".join(f"mended {name}" for name in mended) or f"{path}: was whole")
        then(command("store", "verify", str(path)))


def damages(path: Path) -> list[str]:
    """One line for each damaged file of whatever lies at a path."""
    from climate.conversion import verify as stores
    from climate.store.layout import STORE_KIND
    from vgbdm.errors import InputError
    from vgbdm.storage import sealing
    from vgbdm.training import verify as runs
    from vgbdm.training.run_folder import DERIVED

    kind = sealing.kind_of(path)
    if runs.is_run(path):
        derived = path / DERIVED
        return runs.verify_run(path) + (stores.verify_derived(derived) if derived.is_dir() else [])
    if not (path / sealing.MANIFEST).exists():
        raise InputError(
            f"{path}: holds no {sealing.MANIFEST}, so it is no finished store, forecast, "
            "trajectories or run; give one, or run again what was to make it"
        )
    return (
        stores.verify_store(path) if kind in ("", STORE_KIND) else sealing.verify_folder(path, kind)
    )


def use(path: Path) -> str:
    """What to do with something whole."""
    from climate.forecasts.access import FORECAST_KIND
    from physics_systems.data.trajectories import TRAJECTORIES_KIND
    from vgbdm.storage.sealing import kind_of
    from vgbdm.training.verify import is_run

    if is_run(path):
        return f"python -c 'import vgbdm; model = vgbdm.load(\"{path}\")'"
    kind = kind_of(path)
    if kind == FORECAST_KIND:
        return command("evaluate_era5", f"forecast={path}", "store=STORE", "out=SCORES")
    if kind == TRAJECTORIES_KIND:
        return command("train_system", "system=SYSTEM", f"data.train={path}", "data.val=STORE")
    return command("train_era5", f"store={path}", "run_dir=RUN")


def mending(path: Path) -> str:
    """What to do about damage."""
    from climate.store.layout import STORE_KIND
    from vgbdm.storage.sealing import kind_of
    from vgbdm.training.verify import is_run

    if is_run(path):
        return "train with resume=true, which goes on from the newest checkpoint that is whole"
    if kind_of(path) in ("", STORE_KIND):
        return command("store", "repair", str(path), "source=SOURCE", "source.root=FILES")
    return "make it again, or fetch it again"


if __name__ == "__main__":
    launch(main, "store", positional=("action", "store"))
