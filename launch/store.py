"""Look after a converted store.

python launch/store.py info STORE
python launch/store.py verify STORE                                exit 0: whole, 1: damaged
python launch/store.py repair STORE source=weatherbench source.root=DIR [variables=[…]] [period=…]
"""

import sys
from pathlib import Path

from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Do what the first argument says."""
    from climate.sources.opening import open_source
    from climate.store.verify import describe, repair, verify
    from vgbdm.errors import InputError

    path = Path(cfg.store)
    if cfg.action == "info":
        print("\n".join(describe(path)))
    elif cfg.action == "verify":
        lines = verify(path)
        print("\n".join(lines) if lines else f"{path}: whole")
        sys.exit(1 if lines else 0)
    elif cfg.action == "repair":
        if "source" not in cfg:
            raise InputError("repair reads the source: give source=weatherbench source.root=DIR")
        mended = repair(path, *open_source(cfg), cfg.force_unlock)
        print("\n".join(f"mended {name}" for name in mended) or f"{path}: was whole")
    else:
        raise InputError(f"action {cfg.action!r}: want info, verify or repair")


if __name__ == "__main__":
    launch(main, "store", positional=("action", "store"))
