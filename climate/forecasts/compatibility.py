"""Whether a trained model may forecast from a store, and what it was never shown of its times.

A model carries its own statistics. So it forecasts any store of its channels, units, grid and step,
as long as what is forecast is not what it was trained or chosen on.

Shapes: ``H`` latitudes, ``W`` longitudes, ``N`` starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from climate.conventions.cycles import LENGTHS, SECONDS_PER_DAY, Arcs, describe_arcs, distance
from climate.conventions.units import Conversion, find_conversion
from climate.forecasts.access import GIVEN
from climate.models.domain import Domain
from climate.models.forecaster import Forecaster
from climate.store.layout import TrainingStore
from climate.store.mask import describe_mask
from vgbdm.errors import InputError

PERIOD = {"train": "training_period", "val": "validation_period"}
"""Attributes of a forecast with the periods of its model, by split."""
GRID_SLACK = 1e-3
"""Degrees by which coordinates of one grid may differ, as float32 ones do."""


def check_model(model: Forecaster, store: TrainingStore) -> None:
    """Refuse a model that a store's states do not fit.

    A model that does not record the period it was trained on needs the store it was trained on.

    Raises:
        InputError: one line, for other channels, units, masked points or another grid.
    """
    if tuple(model.channels) != store.channels:
        raise InputError(
            f"{store.path} has channels {','.join(store.channels)}, the model was trained on "
            f"{','.join(model.channels)}; forecast from a store of the same kind"
        )
    domain: Domain | None = getattr(model, "domain", None)
    if domain is not None:
        _check_grid(domain, store)
        _check_units(domain, store)
        _check_mask(domain, store)
    if periods_of(model) is None and model.statistics_hash != store.statistics.hash:
        raise InputError(
            f"{store.path}: its training statistics are not those the model was trained with, and "
            "the model does not record its training period; convert with the same training period "
            "and variables, or train it again"
        )


def _check_grid(domain: Domain, store: TrainingStore) -> None:
    for name, own, held in (("lat", domain.lat, store.lat), ("lon", domain.lon, store.lon)):
        if len(own) != len(held) or not np.allclose(own, held, atol=GRID_SLACK):
            raise InputError(
                f"{store.path}: its {name} is {_axis(held)}, the model's {_axis(own)}; convert the "
                "data on the model's grid"
            )


def _axis(values: Sequence[float] | np.ndarray) -> str:
    return f"{len(values)} values from {values[0]:g} to {values[-1]:g}"


def _check_units(domain: Domain, store: TrainingStore) -> None:
    for name, own in zip(domain.channels, domain.units or (), strict=bool(domain.units)):
        held = store.channel_attrs[name].get("units", "")
        between = find_conversion(held, own) if own and held else Conversion()
        if between is None or between.changes:
            raise InputError(
                f"{store.path}: {name} is in {held!r}, the model was trained on {own!r}; convert "
                "the data in the model's unit"
            )


def _check_mask(domain: Domain, store: TrainingStore) -> None:
    held = describe_mask(store.channels, store.mask)
    if held != domain.mask:
        raise InputError(
            f"{store.path}: masked are {held or 'no points'}, where the model was trained masked "
            f"were {domain.mask or 'none'}; convert data with the model's mask, or train on these"
        )


def periods_of(model: Forecaster) -> Mapping[str, Sequence[str]] | None:
    """The periods a model was trained and chosen on; None where it does not record them."""
    domain: Domain | None = getattr(model, "domain", None)
    return None if domain is None else domain.periods


def check_unseen(
    whose: str, split: str, ends: np.ndarray, periods: Mapping[str, Sequence[str]]
) -> None:
    """Refuse to judge a model by what it was trained on, or chosen on.

    Args:
        whose: forecasts they are, for the message.
        split: that they are of; training ones are nobody's judgement and pass.
        ends: (2,) first initial and last valid time of the forecasts.
        periods: of the model, by split: first and last time.

    Raises:
        InputError: where a forecast of ``test`` reaches into training or validation, or one of
            ``val`` into training.
    """
    if split == "train":
        return
    for name in ("train",) if split == "val" else ("train", "val"):
        first, last = (np.datetime64(text) for text in periods[name])
        if ends[0] <= last and ends[1] >= first:
            kind = "training" if name == "train" else "validation"
            raise InputError(
                f"{whose}: {split} ({_day(ends[0])} to {_day(ends[1])}) overlaps the model's "
                f"{kind} period ({_day(first)} to {_day(last)}); convert with a split.{split} "
                "outside of it"
            )


def _day(time: np.datetime64) -> str:
    return str(time.astype("datetime64[D]"))


def outside_training(seen: Mapping[str, Arcs] | None, times: np.ndarray) -> str:
    """One line on starts at times of the calendar that training saw none of; empty for none.

    Args:
        seen: of the model, see `climate.conventions.cycles`; None: unknown.
        times: (N,) datetime64[s] of the starts, increasing.
    """
    lines = []
    for cycle, arcs in (seen or {}).items():
        away = distance(arcs, times, cycle)
        out = times[away > 0]
        if len(out):
            length = away.max() * LENGTHS[cycle]
            far = f"{length / 3600:.0f} h" if cycle == "day" else _days(length)
            lines.append(
                f"{len(out)} of {len(times)} starts ({_day(out[0])} to {_day(out[-1])}) lie "
                f"outside the {cycle} of training ({describe_arcs(arcs, cycle)}), up to {far} from "
                f"it; the model is not given the {cycle}"
            )
    return "; ".join(lines)


def _days(seconds: float) -> str:
    count = max(1, round(seconds / SECONDS_PER_DAY))
    return f"{count} day{'s' if count > 1 else ''}"


def roles_of(model: Forecaster) -> dict[str, str]:
    """What a forecast says of channels that are not prognostic: their names, by role."""
    domain: Domain | None = getattr(model, "domain", None)
    if domain is None:
        return {}
    named = {GIVEN: domain.forcing, "diagnostic_channels": domain.diagnostic}
    return {role: " ".join(names) for role, names in named.items() if names}


def about_training(model: Forecaster, times: np.ndarray) -> dict[str, str]:
    """What a forecast says of its model's training: periods, and starts outside the seasons seen.

    Args:
        model: that forecasts.
        times: (N,) datetime64[s] of the starts.
    """
    domain: Domain | None = getattr(model, "domain", None)
    if domain is None:
        return {}
    about = {PERIOD[name]: "/".join(ends) for name, ends in (domain.periods or {}).items()}
    line = outside_training(domain.seen, times)
    return about | ({"outside_training": line} if line else {})
