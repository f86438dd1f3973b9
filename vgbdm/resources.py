"""Where the launchers and their configs lie: in a wheel, an editable install, a plain checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def configs_folder() -> Path:
    """The folder of the Hydra configs."""
    return _folder("configs")


def launch_folder() -> Path:
    """The folder of the launchers, each a script that is run by its path."""
    return _folder("launch")


def checkout() -> Path | None:
    """The root of the checkout that this package lies in; None where it was installed."""
    return None if (_PACKAGE / "launch").is_dir() else _PACKAGE.parent


def _folder(name: str) -> Path:
    """Inside of the package where it was installed, beside it in a checkout."""
    root = checkout()
    return (_PACKAGE if root is None else root) / name
