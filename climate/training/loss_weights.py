"""How much each channel counts in a loss (docs/method/weather.md#weather-objective)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from climate.conventions.variables import level_of
from vgbdm.errors import InputError
from vgbdm.options.nearest import one_of


def loss_weights(
    channels: Sequence[str], given: Mapping[str, float] | str | None
) -> dict[str, float] | None:
    """The weights of channels in losses, of mean 1; None where all are alike.

    Args:
        channels: short names.
        given: ``auto``: of a variable on several levels in proportion to pressure, with mean 1, and
            1 of all others; a mapping: the same but for the names that it holds; None: alike.

    Raises:
        InputError: for a name that is no channel, a negative weight, or where nothing would count.
    """
    if given is None:
        return None
    weights = by_pressure(channels)
    for name, weight in ({} if isinstance(given, str) else given).items():
        if name not in weights:
            raise InputError(f"weights.{name}: no such channel{one_of(name, channels)}")
        if not weight >= 0:
            raise InputError(f"weights.{name}={weight:g}: want a number ≥ 0; 0 leaves it out")
        weights[name] = float(weight)
    mean = sum(weights.values()) / len(channels)
    if not math.isfinite(mean):
        raise InputError("weights: they have no sum; give numbers of ordinary size")
    if not mean > 0:
        raise InputError("weights: all are 0 and nothing would be learned; leave some out")
    if len(set(weights.values())) == 1:
        return None
    return {name: weights[name] / mean for name in channels}


def describe_weights(weights: Mapping[str, float]) -> str:
    """In words, those of one weight together."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, weight in weights.items():
        names[f"{weight:.3g}"].append(name)
    return ", ".join(f"{' '.join(held)} {weight}" for weight, held in names.items())


def by_pressure(channels: Sequence[str]) -> dict[str, float]:
    """Weights in proportion to pressure within each variable on several levels; else 1."""
    pressures: dict[str, dict[str, float]] = defaultdict(dict)
    for name in channels:
        variable, pressure = level_of(name) or (name, 1.0)
        pressures[variable][name] = pressure
    return {
        name: pressure * len(levels) / sum(levels.values())
        for levels in pressures.values()
        for name, pressure in levels.items()
    }
