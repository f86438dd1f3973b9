"""Options of a backend that do not go together, refused before data are opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vgbdm.errors import InputError


def check_backend(backend: Mapping[str, Any], batch: int) -> None:
    """Refuse micro-batches that do not divide the batch, and what ZeRO's stage cannot move.

    Args:
        backend: node.
        batch: samples or trajectories per step over all ranks.

    Raises:
        InputError: for these.
    """
    parts = backend.get("accumulation", 1)
    if batch % parts:
        raise InputError(f"backend.accumulation={parts}: want a divisor of batch={batch}")
    stage, offload = backend.get("stage") or 0, backend.get("offload")
    if (offload == "cpu" and stage < 1) or (offload == "nvme" and stage < 3):
        least = {"cpu": 1, "nvme": 3}[offload]
        raise InputError(f"backend.offload={offload}: needs backend.stage={least}")
    if offload == "nvme" and backend.get("nvme_path") is None:
        raise InputError("backend.offload=nvme: needs backend.nvme_path=FOLDER")
    if offload != "nvme" and backend.get("nvme_path") is not None:
        raise InputError("backend.nvme_path: does nothing without backend.offload=nvme")
