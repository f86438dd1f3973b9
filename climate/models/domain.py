"""What a weather model knows of its data: grid, channels, static fields, statistics.

Shapes: ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from climate.conventions.calendar import as_step, is_monthly, step_seconds
from climate.conventions.cycles import Arcs, arcs_seen
from climate.conventions.variables import CHANNELS, known_channel, pressure_of
from climate.grids.features import CalendarFeatures, MonthFeatures
from climate.grids.grid import Grid
from climate.grids.regions import Region
from climate.models.roles import ROLES, read_roles
from climate.models.step_change import step_change
from climate.models.vectors import read_vectors
from climate.store.mask import describe_mask
from vgbdm.errors import InputError
from vgbdm.registry.marks import model_part

if TYPE_CHECKING:
    from pathlib import Path

    from climate.store.layout import TrainingStore

WIND_MARGIN = 1.5
"""Bound of a wind ÷ its largest component in training; no wind of training exceeds √2 of that."""
USUAL_WIND = 40.0
"""Largest component of a wind, m/s, where training has none."""
CARRIED = ("seen", "units", "periods", "mask", "largest_winds")
"""What a model carries of its training for its forecasts; the data are the same without it, but for
the mask, which is compared by itself, so that a message can say it."""


def _frozen(value: Any) -> Any:
    """Lists as tuples, at any depth."""
    if isinstance(value, Mapping):
        return {key: _frozen(held) for key, held in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


@model_part
@dataclass(frozen=True)
class Domain:
    """Grid, channels and clock of a model, with the numbers taken from the training period.

    Attributes:
        lat: (H,) degrees north, ascending.
        lon: (W,) degrees east from 0.
        channels: short names, in the order of the state.
        vectors: pairs of channels that are the eastward and northward parts of a vector.
        step_seconds: the model's step; of calendar months the mean one.
        history: past states a sample carries besides the current one.
        static_names: of the static fields.
        arrays: ``mean``, ``scale``, ``change`` (C,), ``climate`` (C, H, W), ``static`` (n, H, W);
            ``mask`` (C, H, W) where channels are masked; empty where the buffers are about to be
            loaded from a checkpoint.
        region: the box and halo that the grid covers; None: the globe.
        statistics_hash: of the store's training statistics.
        seen: what training saw of each cycle of its clock, see `climate.conventions.cycles`; None,
            as in models from before it was kept: unknown, and every time feature is in use.
        units: of the channels, in their order; None: unknown.
        periods: first and last times of training and validation, by split; None: unknown.
        mask: which points of which channels hold no values, see `climate.store.mask`; empty: none.
        largest_winds: of each vector the largest component in training, in its unit; None: unknown.
        forcing: channels that are known ahead, see `climate.models.roles`.
        diagnostic: channels that are predicted and not fed back.
    """

    lat: tuple[float, ...]
    lon: tuple[float, ...]
    channels: tuple[str, ...]
    vectors: tuple[tuple[str, str], ...]
    step_seconds: int
    history: int
    static_names: tuple[str, ...]
    arrays: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)
    region: Region | None = None
    statistics_hash: str = ""
    seen: Mapping[str, Arcs] | None = field(default=None, hash=False)
    units: tuple[str, ...] | None = None
    periods: Mapping[str, Sequence[str]] | None = field(default=None, hash=False)
    mask: str = ""
    largest_winds: tuple[float, ...] | None = None
    forcing: tuple[str, ...] = ()
    diagnostic: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for f in fields(self):  # JSON knows only lists
            if f.name not in ("arrays", "region"):
                object.__setattr__(self, f.name, _frozen(getattr(self, f.name)))

    @classmethod
    def from_store(
        cls,
        store: TrainingStore,
        step: np.timedelta64,
        vectors: Sequence[Sequence[str]],
        history: int,
        kept: Path | None = None,
        roles: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Domain:
        """Read it off a training store; only the training period is looked at.

        The two parts of a vector share one scale and have no mean taken off, so that they still
        are a vector when standardised. Known winds that the store does not hold are left out.

        Args:
            store: as the model is to see it.
            step: of the model.
            vectors: pairs of channels, (eastward, northward).
            history: past states of a sample.
            kept: folder for what takes long to gather, see `step_change`.
            roles: of channels that are not prognostic.

        Raises:
            InputError: for vectors that are none of the store's, see `read_vectors`; for roles, as
                `read_roles`.
        """
        held = read_vectors(vectors, store)
        told = read_roles(roles, store.channels, held, str(store.path))
        mean, scale = store.statistics.mean.copy(), store.statistics.std.copy()
        change = step_change(store, step, kept)
        for i, name in enumerate(store.channels):
            if name in told["diagnostic"] or (name in told["forcing"] and not change[i] > 0):
                change[i] = scale[i]  # begins each step at its mean; is no unit of anything
        for u, v in held:
            pair = [store.channels.index(u), store.channels.index(v)]
            scale[pair] = np.sqrt(np.mean(scale[pair] ** 2 + mean[pair] ** 2))
            mean[pair] = 0.0
        climate = (store.statistics.mean_map - mean[:, None, None]) / scale[:, None, None]
        arrays = {"mean": mean, "scale": scale, "change": change / scale, "climate": climate}
        if store.mask is not None:
            climate[store.mask] = 0.0
            arrays["mask"] = store.mask
        names = tuple(sorted(store.static))
        shape = (len(store.lat), len(store.lon))
        static = [_standardised(store.static[name]) for name in names]
        arrays["static"] = np.stack(static) if static else np.zeros((0, *shape))
        lat, lon = tuple(map(float, store.lat)), tuple(map(float, store.lon))
        return cls(
            lat,
            lon,
            store.channels,
            held,
            step_seconds(step),
            history,
            names,
            arrays,
            store.region,
            store.statistics.hash,
            cycles_seen(store, step, history),
            tuple(store.channel_attrs[name].get("units", "") for name in store.channels),
            {name: tuple(map(str, store.splits[name])) for name in ("train", "val")},
            describe_mask(store.channels, store.mask),
            tuple(largest_component(store, pair) for pair in held),
            **told,
        )

    def describe(self) -> dict[str, Any]:
        """A config, as JSON gives it back, that builds all but the arrays.

        The numbers come with the checkpoint's buffers.
        """
        facts: dict[str, Any] = {"_target_": "climate.models.domain.Domain"}
        facts |= {f.name: getattr(self, f.name) for f in fields(self) if f.name != "arrays"}
        if self.region:
            facts["region"] = {"_target_": "climate.grids.regions.Region", **asdict(self.region)}
        return dict(json.loads(json.dumps(facts)))

    @cached_property
    def grid(self) -> Grid:
        """The grid."""
        halo = self.region.halo if self.region else 0
        return Grid(np.array(self.lat), np.array(self.lon), halo)

    def halo(self) -> Tensor | None:
        """1 at the points (H, W) around a region's box, 0 inside; None: there are none."""
        if self.region is None:
            return None
        around = torch.ones(len(self.lat), len(self.lon))
        around[self.region.inside(self.grid.lat, self.grid.lon)] = 0.0
        return around

    def clock_features(self) -> CalendarFeatures | MonthFeatures:
        """What a network is given of the time: the day and the season, or the month."""
        return calendar_features_of(as_step(self.step_seconds))(self.grid, self.seen)

    @cached_property
    def whole(self) -> tuple[tuple[int, ...], ...]:
        """Channel indices of each variable: (i,) a scalar, (i, j) a vector."""
        index = {name: i for i, name in enumerate(self.channels)}
        partner = {index[u]: index[v] for u, v in self.vectors}
        return tuple(
            (i, partner[i]) if i in partner else (i,)
            for i in range(len(self.channels))
            if i not in partner.values()
        )

    @cached_property
    def variables(self) -> tuple[tuple[int, ...], ...]:
        """Those of the transported variables, which are the prognostic ones."""
        aside = {*self.forcing, *self.diagnostic}
        return tuple(v for v in self.whole if self.channels[v[0]] not in aside)

    @cached_property
    def shown(self) -> tuple[int, ...]:
        """Channels that networks see: all but the diagnostic ones."""
        return tuple(i for i, name in enumerate(self.channels) if name not in self.diagnostic)

    @property
    def shown_vectors(self) -> list[int]:
        """Places among `shown` of channels that are vector components."""
        return [self.shown.index(i) for i in self.vector_channels]

    @property
    def forecast(self) -> tuple[str, ...]:
        """Channels that are forecast: all but the forcing ones."""
        return tuple(name for name in self.channels if name not in self.forcing)

    def holds_wind(self, wind: Sequence[str]) -> bool:
        """Whether a pair of channels is one of the vectors.

        Raises:
            InputError: if one of them is no channel and no wind that is known.
        """
        for name in wind:
            if name not in self.channels and name not in CHANNELS:
                raise InputError(
                    f"model.wind: [{', '.join(wind)}]: {name} is no channel; the state holds "
                    f"{', '.join(self.channels)}; name a pair of vectors="
                )
        return tuple(wind) in self.vectors

    def carriers(self, wind: Sequence[str] | None) -> tuple[int | None, ...]:
        """The variable whose wind carries each variable; None where the state holds no wind.

        Args:
            wind: a pair of channels that carries them all; None: to each the nearest, in height.

        Raises:
            InputError: as `holds_wind`.
        """
        names = [self.channels[v[0]] for v in self.variables]
        if wind is not None:
            return (names.index(wind[0]) if self.holds_wind(wind) else None,) * len(names)
        winds = [names.index(u) for u, _ in self.vectors if is_wind(u)]
        heights = [-math.log(pressure_of(name)) for name in names]

        def nearest(g: int) -> int | None:
            return min(winds, key=lambda w: abs(heights[w] - heights[g]), default=None)

        return tuple(nearest(g) for g in range(len(names)))

    def wind_limits(self, carriers: Sequence[int | None]) -> list[float]:
        """Bounds of the winds that carry each variable, m/s: 1.5 × their largest in training.

        Their largest component, that is; 60 m/s where it is unknown.
        """
        known = dict(zip(self.vectors, self.largest_winds or (), strict=False))
        by_variable = {
            self.variables.index((self.channels.index(u), self.channels.index(v))): largest
            for (u, v), largest in known.items()
        }
        return [
            WIND_MARGIN * ((g is not None and by_variable.get(g)) or USUAL_WIND) for g in carriers
        ]

    @property
    def vector_channels(self) -> list[int]:
        """Channels that are vector components."""
        return sorted(i for variable in self.variables if len(variable) == 2 for i in variable)

    def buffers(self) -> dict[str, Tensor]:
        """The arrays as float32 tensors, or zeros of their shapes; the mask is of truth values."""
        count, grid = len(self.channels), (len(self.lat), len(self.lon))
        shapes: dict[str, tuple[int, ...]] = {
            "mean": (count, 1, 1),
            "scale": (count, 1, 1),
            "change": (count, 1, 1),
            "climate": (count, *grid),
            "static": (len(self.static_names), *grid),
        }
        held = {
            name: torch.as_tensor(self.arrays[name]).float().reshape(shape)
            if self.arrays
            else torch.zeros(shape)
            for name, shape in shapes.items()
        }
        if self.mask:
            empty = np.zeros((count, *grid), bool)
            held["mask"] = torch.from_numpy(self.arrays.get("mask", empty)).clone()
        return held


def identical(described: Mapping[str, Any]) -> dict[str, Any]:
    """What of `Domain.describe` must be alike in two runs on the same data."""
    none = {name for name in ROLES if not described.get(name)}  # as formerly, when there were none
    return {name: value for name, value in described.items() if name not in {*CARRIED, *none}}


def calendar_features_of(step: np.timedelta64) -> type[CalendarFeatures] | type[MonthFeatures]:
    """The clock of models of a step."""
    return MonthFeatures if is_monthly(step) else CalendarFeatures


def cycles_seen(store: TrainingStore, step: np.timedelta64, history: int) -> dict[str, Arcs]:
    """What training sees of each cycle of the clock: from each of its current states a step on.

    Raises:
        InputError: if the training period holds no window.
    """
    anchors = store.anchors("train", step, history, ahead=1)
    if not len(anchors):
        raise InputError(
            f"{store.path}: the training period holds no {history + 2} states {step} apart; choose "
            "a longer split.train or a shorter history"
        )
    times, seconds = store.times[anchors], step_seconds(step)
    return {cycle: arcs_seen(times, seconds, cycle) for cycle in calendar_features_of(step).cycles}


def is_wind(name: str) -> bool:
    """Whether a channel is known as an eastward wind."""
    return (known_channel(name) or {}).get("standard_name") == "eastward_wind"


def largest_component(store: TrainingStore, pair: Sequence[str]) -> float:
    """Of a vector in training: the larger of the largest of its two parts."""
    at = [store.channels.index(name) for name in pair]
    statistics = store.statistics
    return float(np.abs([statistics.min[at], statistics.max[at]]).max())


def _standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / max(float(values.std()), 1e-12)
