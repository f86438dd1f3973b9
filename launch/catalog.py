"""What launchers there are, read from their files without running them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Launcher:
    """One of them.

    Attributes:
        name: of its file.
        config_name: of its config.
        positional: keys that its bare arguments are the values of.
        about: what its file says of it.
    """

    name: str
    config_name: str
    positional: tuple[str, ...]
    about: str

    @property
    def command(self) -> str:
        """Its name as a subcommand."""
        return self.name.replace("_", "-")


def launchers() -> dict[str, Launcher]:
    """All of them by their names, which are those of their files."""
    found = (read(path) for path in sorted(FOLDER.glob("*.py")))
    return {launcher.name: launcher for launcher in found if launcher is not None}


def read(path: Path) -> Launcher | None:
    """What a file launches; None: nothing."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name, *values = [node.func.id, *node.args]
            if name == "launch" and len(values) == 2:
                more = {word.arg: word.value for word in node.keywords}
                positional = more.get("positional", ast.Tuple([]))
                return Launcher(
                    path.stem,
                    ast.literal_eval(values[1]),
                    tuple(ast.literal_eval(positional)),
                    ast.get_docstring(tree) or "",
                )
    return None
