"""Forecasts of several verification periods that are scored as one.

Only what the periods are may differ: what was forecast, how far ahead and where is the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from climate.conventions.wording import date, duration
from climate.forecasts.reading import Forecast
from climate.store.layout import TrainingStore
from climate.verification.dressing import SAME_MODEL
from vgbdm.errors import InputError


def in_order(forecasts: Sequence[Forecast], store: TrainingStore) -> list[Forecast]:
    """The forecasts by their first starts.

    Args:
        forecasts: of one period each.
        store: of their truth.

    Raises:
        InputError: if they differ in more than their periods, or these overlap.
    """
    if not forecasts:
        raise InputError("forecast=[]: names none; give at least one")
    ordered = sorted(forecasts, key=lambda forecast: int(forecast.starts[0]))
    first = ordered[0]
    for other in ordered[1:]:
        differ = [name for name, alike in _alike(first, other, store).items() if not alike]
        if differ:
            raise InputError(
                f"forecast={first.path} and {other.path}: their {', '.join(differ)} differ; pool "
                "periods that one model forecast alike, or score them one by one"
            )
    for earlier, later in itertools.pairwise(ordered):
        if later.starts[0] <= earlier.starts[-1]:
            raise InputError(
                f"forecast={earlier.path} and {later.path}: their periods overlap, from "
                f"{date(store.times[later.starts[0]])}; a start counts once"
            )
    return ordered


def _alike(a: Forecast, b: Forecast, store: TrainingStore) -> dict[str, bool]:
    models = [forecast.dataset.attrs.get(SAME_MODEL) for forecast in (a, b)]
    return {
        "lat": np.array_equal(a.area.lat, b.area.lat),
        "lon": np.array_equal(a.area.lon, b.area.lon),
        f"steps ({duration(a.step)}, {duration(b.step)})": a.step == b.step,
        f"leads ({a.leads}, {b.leads})": a.leads == b.leads,
        f"members ({a.members}, {b.members})": a.members == b.members,
        "members in pairs": a.mirrored == b.mirrored,
        "variables": a.scored(store) == b.scored(store),
        "models": None in models or models[0] == models[1],
    }


def periods_rule(forecasts: Sequence[Forecast], store: TrainingStore) -> str:
    """Which periods are pooled, and how."""
    spans = (
        f"{date(store.times[f.starts[0]])} to {date(store.times[f.starts[-1]])} "
        f"({len(f.starts)} starts)"
        for f in forecasts
    )
    return f"pooled: {', '.join(spans)}; rows of days drawn for intervals stay in one"


def join_rules(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Rules of all parts, in order; what differs between them one after the other."""
    held: dict[str, dict[str, None]] = {}
    for rules in parts:
        for name, rule in rules.items():
            held.setdefault(name, {})[rule] = None
    return {name: "; ".join(found) for name, found in held.items()}
