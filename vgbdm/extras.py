"""Packages that only some uses need, and the line that says how to get one."""

from __future__ import annotations

import importlib.util
import sys

from vgbdm.errors import InputError

EXTRAS = {
    "train": ("deepspeed", "ninja", "psutil", "setuptools", "tensorboard"),
    "report": ("jinja2", "matplotlib", "pillow"),
    "cloud": ("aiohttp", "gcsfs", "requests", "s3fs"),
    "cluster": ("distributed",),
    "grib": ("cfgrib", "eccodes"),
}
"""Extra of this distribution → the packages it brings."""


def how_to_install(extra: str) -> str:
    """The command that brings the packages of an extra."""
    return f"pip install 'vgbdm[{extra}]'"


def need(package: str, purpose: str) -> None:
    """Go on only where a package of an extra is installed; it is not imported.

    Args:
        package: of `EXTRAS`.
        purpose: what needs it, for the message.

    Raises:
        InputError: if it is not installed.
    """
    if not _is_installed(package):
        extra = next(name for name, packages in EXTRAS.items() if package in packages)
        raise InputError(
            f"{purpose}: needs {package}, which is not installed; {how_to_install(extra)}"
        )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # it was put among the loaded modules by hand
        return package in sys.modules
