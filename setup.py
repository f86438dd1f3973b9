"""The packages of the wheel; all else stands in pyproject.toml."""

from setuptools import find_packages, setup

INSIDE = {"vgbdm.launch": "launch", "vgbdm.configs": "configs"}
"""Packages that lie beside vgbdm in the repository."""

setup(
    packages=[*find_packages(include=["vgbdm*", "climate*", "physics_systems*"]), *INSIDE],
    package_dir=INSIDE,
)
