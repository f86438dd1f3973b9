"""How a run begins: with the weights of another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from vgbdm.errors import InputError
from vgbdm.training.checkpoint import find_whole, put_weights, read_state, read_weights
from vgbdm.training.state import describe_difference


def start_from(
    field: nn.Module,
    init: str | Path,
    facts: Mapping[str, Any],
    lacking: Mapping[str, Any] | None = None,
) -> None:
    """Take the weights of another run's best checkpoint.

    Args:
        field: that takes them.
        init: folder of the other run.
        facts: what must be alike in both runs, as under ``must_match`` of a checkpoint.
        lacking: options of the ``model`` whose parts the other one may be without → the values that
            say so; the field keeps its own weights for them.

    Raises:
        InputError: where there is no whole best checkpoint, or a fact differs.
    """
    folder = find_whole(Path(init), "best")
    held = read_state(folder, "must_match")["must_match"]
    weights = read_weights(folder)
    if lacking and held.get("model") == {**facts["model"], **lacking}:
        facts = {name: value for name, value in facts.items() if name != "model"}
        weights = {**field.state_dict(), **weights}
    for name, value in facts.items():
        if held.get(name) != value:
            before = held.get(name)
            if name == "model" and lacking and isinstance(before, dict):  # these alone would do
                before = before | {
                    k: value[k] for k, v in lacking.items() if k in before and before[k] == v
                }
            told = describe_difference(name, before, value)
            raise InputError(
                f"init={init}: its {name} is another one ({told}); start from a run with "
                "the same data and model options"
            )
    put_weights(field, weights, folder)
