"""Which systems a path serves, for the check of options and for the path itself."""

from __future__ import annotations

from collections.abc import Collection

from vgbdm.errors import InputError


def check_order(path: str, served: Collection[int], order: int) -> None:
    """Refuse a path where its curves lack the derivatives that a system needs.

    Args:
        path: name of its class.
        served: orders of systems that it serves.
        order: of the system.

    Raises:
        InputError: unless it serves that.
    """
    if order not in served:
        lacking = "accelerations" if order == 2 else f"derivatives of order {order}"
        raise InputError(
            f"path: {path} gives no {lacking}, which a system of order {order} needs; take "
            "path=hermite"
        )
