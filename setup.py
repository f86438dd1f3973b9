"""The packages of the wheel, and the commit it is built from; all else stands in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
INSIDE = {"vgbdm.launch": "launch", "vgbdm.configs": "configs"}
"""Packages that lie beside vgbdm in the repository."""

sys.path.insert(0, str(HERE))  # an isolated build has none of what vgbdm requires; this needs none
from vgbdm.origin import BUILT_FROM, commit  # noqa: E402


def note_commit(package: Path) -> None:
    """Write down in a built ``vgbdm`` what it was built from, where that is known."""
    told = commit()
    (package / BUILT_FROM).unlink(missing_ok=True)  # of an earlier build
    if told:
        (package / BUILT_FROM).write_text(f"{told}\n")


class BuildWithCommit(build_py):
    """Into a wheel, never into the checkout of an editable install."""

    def run(self) -> None:
        """Copy the packages, and note the commit beside them."""
        super().run()
        if not self.editable_mode:
            note_commit(Path(self.build_lib) / "vgbdm")


class SourcesWithCommit(sdist):
    """Sources leave their repository."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Lay out the sources, and note the commit among them."""
        super().make_release_tree(base_dir, files)
        note_commit(Path(base_dir) / "vgbdm")


setup(
    packages=[*find_packages(include=["vgbdm*", "climate*", "physics_systems*"]), *INSIDE],
    package_dir=INSIDE,
    cmdclass={"build_py": BuildWithCommit, "sdist": SourcesWithCommit},
)
