"""Class paths that a saved config may name as an earlier version did, brought up to date.

Each package keeps a table ``FORMER_MODULES`` in its ``__init__``: former module → module,
or former class → class where the module was split or the class has another name. A table
``FORMER_OPTIONS`` gives, for a class of now that took other options, the function that renews them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from vgbdm import plugins


def renewed(node: Any) -> Any:
    """A saved value in which every ``_target_``, and what it is told, is as of now.

    Args:
        node: as JSON gives it back; it is left as it is.
    """
    if isinstance(node, Mapping):
        held = {
            name: _path_of_now(child) if name == "_target_" else renewed(child)
            for name, child in node.items()
        }
        target = held.get("_target_")
        if not isinstance(target, str) or target not in _table_of(target, "FORMER_OPTIONS"):
            return held
        module, _, name = _table_of(target, "FORMER_OPTIONS")[target].rpartition(".")
        return getattr(importlib.import_module(module), name)(held)
    return [renewed(child) for child in node] if isinstance(node, list) else node


def _table_of(target: str, table: str) -> Mapping[str, str]:
    """A table of the package of a class; empty for one that nobody trusts."""
    package = target.split(".")[0]
    named = {name.split(".")[0] for name in plugins.named()}
    if package not in named.union(plugins.trusted_packages()):
        return {}
    found: Mapping[str, str] = getattr(importlib.import_module(package), table, {})
    return found


def _path_of_now(target: Any) -> Any:
    if not isinstance(target, str):
        return target
    module, _, name = target.rpartition(".")
    moved = _table_of(target, "FORMER_MODULES")
    if target in moved:
        return moved[target]
    return f"{moved[module]}.{name}" if module in moved else target
