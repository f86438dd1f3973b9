"""Class paths that a saved config may name as an earlier version did, brought up to date.

Each package keeps a table ``FORMER_MODULES`` of modules, and of classes of modules that were split,
in its ``__init__``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from vgbdm import plugins


def renewed(node: Any) -> Any:
    """A saved value in which every ``_target_`` that was moved is the one of now.

    Args:
        node: as JSON gives it back; it is left as it is.
    """
    if isinstance(node, Mapping):
        return {
            name: _path_of_now(child) if name == "_target_" else renewed(child)
            for name, child in node.items()
        }
    return [renewed(child) for child in node] if isinstance(node, list) else node


def _path_of_now(target: Any) -> Any:
    package = target.split(".")[0] if isinstance(target, str) else ""
    named = {name.split(".")[0] for name in plugins.named()}
    if package not in named.union(plugins.trusted_packages()):
        return target
    module, _, name = target.rpartition(".")
    moved = getattr(importlib.import_module(package), "FORMER_MODULES", {})
    now = moved.get(target) or moved.get(module)
    return f"{now}.{name}" if now else target
