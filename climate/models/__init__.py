"""Weather models, and loading a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from climate.models.domain import Domain
from vgbdm.build import build
from vgbdm.errors import InputError
from vgbdm.training import checkpoint


def load_model(run_dir: str | Path, pointer: str = "best") -> nn.Module:
    """A trained model, ready to forecast, on the CPU; nothing is unpickled.

    Args:
        run_dir: of the training.
        pointer: ``best`` or ``last``.

    Returns:
        The model, with ``statistics_hash`` of the store it was trained on, and its ``region``.

    Raises:
        InputError: if there is no whole checkpoint.
    """
    folder = checkpoint.find(Path(run_dir), pointer)
    if folder is None:
        raise InputError(f"run_dir={run_dir}: no {pointer} checkpoint; train first")
    facts = checkpoint.read_state(folder)["must_match"]
    domain = Domain.from_description(facts["domain"])
    model: Any = build(facts["model"], domain)
    model.load_state_dict(checkpoint.read_tensors(folder, "model"))
    model.statistics_hash, model.region = facts["statistics"], domain.region
    trained: nn.Module = model.eval()
    return trained
