"""One forecast of many, as it is shown: maps, members, plumes at a place, and what moves.

Shapes: ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure

from climate.conventions.wording import date, with_unit
from climate.forecasts.pieces import Piece
from climate.forecasts.reading import Forecast
from climate.grids.area import Area
from climate.report import maps
from climate.report.maps import Ground, Panel
from climate.report.panels import COLOURS, grid, lead_axis
from climate.store.layout import TrainingStore
from vgbdm.report.legends import legend
from vgbdm.report.page import draw
from vgbdm.report.parts import Part, Picture, Text
from vgbdm.scores import variance

FRAMES, FRAME_ROWS = 24, 128
"""Of an animation at most: leads, and latitudes of each."""
PLACE = 50.0, 10.0
"""Degrees north and east: plumes are drawn at the point of the area that is nearest to it."""


@dataclass
class Chosen:
    """What the pictures of one forecast need of it; maps of a lead, series at a point.

    Attributes:
        hours: of its leads, (S,).
        lead: place of the lead whose maps are shown.
        point: row and column of the place of the plumes.
        members: by variable, (M, H, W) at the lead.
        truth: by variable, (H, W) at the lead.
        plumes: by variable, (M, S) at the point.
        line: by variable, the truth (S,) at the point.
        frames: places of the leads of the animation.
        every: each how many-th point it has, for it to be drawn in seconds.
        moving: of the first variable at these leads, forecast and truth, each (H, W), thinned.
        mirrored: members 2k and 2k + 1 are drawn by opposite numbers.
    """

    hours: list[int]
    lead: int
    point: tuple[int, int]
    frames: list[int]
    every: int
    members: dict[str, np.ndarray] = field(default_factory=dict)
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    plumes: dict[str, np.ndarray] = field(default_factory=dict)
    line: dict[str, np.ndarray] = field(default_factory=dict)
    moving: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    mirrored: bool = False


def one_forecast(forecast: Forecast, store: TrainingStore, units: Mapping[str, str]) -> list[Part]:
    """The middle start: maps at the lead nearest to a day, members, plumes, and all leads moving.

    Args:
        forecast: that was scored.
        store: its truth.
        units: by variable.
    """
    place = len(forecast.starts) // 2
    land = forecast.area.cut(store.static["lsm"]) if "lsm" in store.static else None
    begun = date(store.times[int(forecast.starts[place])])
    chosen = choose(forecast, store, place)
    when = f"from {begun}, {chosen.hours[chosen.lead]} h ahead"
    parts: list[Part] = [Text(f"Maps are of the forecast {when}. {COLOURS_SAID}", "quiet")]
    for name in chosen.members:
        ground = Ground(forecast.area, land, units[name])
        parts += _maps(name, chosen, ground, when)
    if forecast.members > 1:
        parts.append(_plumes(chosen, forecast.area, units, begun))
    if len(chosen.frames) > 1:
        name = next(iter(chosen.members))
        ground = Ground(forecast.area, land, units[name])
        parts.append(_moving(name, chosen, ground, begun))
    return parts


COLOURS_SAID = (
    "Forecast and truth share their colours, about 0 for what has both signs; an arrow at the end "
    "of a colour bar says that a few values lie beyond it."
)


def choose(forecast: Forecast, store: TrainingStore, place: int) -> Chosen:
    """Read one start, a few leads at a time; see `Chosen` for what is kept.

    Args:
        forecast: that was scored.
        store: its truth.
        place: of the start.
    """
    hours = list(forecast.hours)
    lead = int(np.abs(np.array(hours) - 24).argmin())
    frames = np.linspace(0, len(hours) - 1, min(FRAMES, len(hours))).round().astype(int)
    every = -(-len(forecast.area.lat) // FRAME_ROWS)
    chosen = Chosen(hours, lead, nearest(forecast.area), frames.tolist(), every)
    chosen.mirrored = forecast.mirrored
    scored = forecast.scored(store)
    truths = _truths(forecast, store, place, chosen)
    for c, name in scored.items():
        kept = forecast.area_of(store, c).kept
        for leads, members in _read(forecast, place, c, name):
            if kept is not None:  # a foreign forecast may have numbers there
                members = np.where(kept, members, np.float32(np.nan))
            _keep(chosen, name, leads, members, truths, c == next(iter(scored)))
        chosen.truth[name] = truths.at_lead[c]
        chosen.line[name] = truths.line[:, c]
    return chosen


@dataclass(frozen=True)
class _Truth:
    """Of all channels: at a lead (C, H, W), at the point (S, C), of the first one at the frames."""

    at_lead: np.ndarray
    line: np.ndarray
    moving: dict[int, np.ndarray]


def _truths(forecast: Forecast, store: TrainingStore, place: int, chosen: Chosen) -> _Truth:
    stride, area = store.stride(forecast.step), forecast.area
    ahead = stride * np.arange(1, len(chosen.hours) + 1)
    indices = store.frames(forecast.starts[place : place + 1], ahead)[0]
    first, every = next(iter(forecast.scored(store))), chosen.every
    line, moving, at_lead = [], {}, np.zeros(0)
    for lead, index in enumerate(map(int, indices)):
        state = area.cut(store.read(index, index + 1)[0])
        line.append(state[:, chosen.point[0], chosen.point[1]].copy())
        if lead == chosen.lead:
            at_lead = state
        if lead in chosen.frames:
            moving[lead] = state[first, ::every, ::every].copy()
    return _Truth(at_lead, np.stack(line), moving)


def _read(forecast: Forecast, place: int, c: int, name: str) -> Iterator[tuple[slice, np.ndarray]]:
    """A channel of one start: leads, and the members (M, s, H, W) at them."""
    piece = Piece(slice(place, place + 1), slice(0, forecast.leads), slice(c, c + 1))
    for starts, leads in forecast.parts(piece):
        yield leads, forecast.read(starts, leads, name)[0]


def _keep(
    chosen: Chosen,
    name: str,
    leads: slice,
    members: np.ndarray,
    truths: _Truth,
    moves: bool,
) -> None:
    """Keep of members (M, s, H, W) at some leads what is shown."""
    row, column = chosen.point
    plume = chosen.plumes.setdefault(name, np.empty((len(members), len(chosen.hours)), np.float32))
    plume[:, leads] = members[:, :, row, column]
    if leads.start <= chosen.lead < leads.stop:
        chosen.members[name] = members[:, chosen.lead - leads.start].copy()
    if moves:
        every = chosen.every
        for lead in chosen.frames:
            if leads.start <= lead < leads.stop:
                mean = members[:, lead - leads.start, ::every, ::every].mean(0)
                chosen.moving[lead] = mean, truths.moving[lead]


def nearest(area: Area) -> tuple[int, int]:
    """Row and column of the point nearest to `PLACE`; of a box elsewhere, of its middle."""
    lat, lon = PLACE
    east = np.abs((area.lon - lon + 180.0) % 360.0 - 180.0)
    inside = area.lat.min() <= lat <= area.lat.max() and east.min() <= 360.0 / len(area.lon)
    if not inside:
        return len(area.lat) // 2, len(area.lon) // 2
    return int(np.abs(area.lat - lat).argmin()), int(east.argmin())


def _maps(name: str, chosen: Chosen, ground: Ground, when: str) -> list[Part]:
    """Forecast, truth and error of a variable; of an ensemble its spread and members too."""
    members, truth = chosen.members[name], chosen.truth[name]
    mean, count = members.mean(0), len(members)
    kind = "forecast" if count == 1 else f"mean of {count} members"
    error = mean - truth
    panels = [Panel(f"{name}, {kind}", mean), Panel("truth", truth)]
    panels.append(Panel(f"error ({kind} - truth)", error, "difference"))
    if count > 1:
        spread = variance(torch.from_numpy(members), pairs=chosen.mirrored).sqrt().numpy()
        panels.append(Panel("spread (standard deviation)", spread, "spread"))
    unit = ground.units
    alt = (
        f"Maps of {with_unit(name, unit)}, {when}: the {kind}, from {np.nanmin(mean):.4g} to "
        f"{np.nanmax(mean):.4g}; the truth, from {np.nanmin(truth):.4g} to "
        f"{np.nanmax(truth):.4g}; and the error, from {np.nanmin(error):.4g} to "
        f"{np.nanmax(error):.4g}."
    )
    caption = f"{name}: {kind}, truth and error{' , and spread' if count > 1 else ''}, {when}."
    parts: list[Part] = [Picture(maps.maps(panels, ground), alt, caption.replace(" ,", ","))]
    if count > 1:
        shown = min(count, maps.STAMPS - 2)
        words = f"{name}: the mean, the truth and {shown} members, {when}, on one scale."
        parts.append(Picture(maps.stamps(truth, members, ground), f"Small maps of {words}", words))
    return parts


def _plumes(chosen: Chosen, area: Area, units: Mapping[str, str], begun: str) -> Part:
    """All members at one place against lead, their mean and the truth."""
    row, column = chosen.point
    where = f"{maps.parallel(float(area.lat[row]))}, {maps.meridian(float(area.lon[column]))}"
    shown = {name: plume for name, plume in chosen.plumes.items() if np.isfinite(plume).all()}

    def make() -> Figure:
        figure, axes = grid(len(shown), 2.4)
        for axis, (name, plume) in zip(axes, shown.items(), strict=True):
            label = "members"
            for member in plume:
                axis.plot(chosen.hours, member, color=COLOURS["model_mean"], lw=0.7, label=label)
            axis.plot(chosen.hours, plume.mean(0), color=COLOURS["model"], lw=1.8, label="mean")
            truth = chosen.line[name]
            axis.plot(chosen.hours, truth, "--", color=COLOURS["truth"], lw=1.4, label="truth")
            axis.set_title(with_unit(name, units[name]))
            lead_axis(axis, chosen.hours)
        legend(figure, axes)
        return figure

    if not shown:
        return Text(f"No plumes: {where} is masked.", "quiet")
    last = [
        f"{name} {plume[:, -1].min():.4g} to {plume[:, -1].max():.4g}, truth "
        f"{chosen.line[name][-1]:.4g}"
        for name, plume in shown.items()
    ]
    alt = (
        f"Plumes at {where}: every member, their mean and the truth against lead time, one panel "
        f"per variable. At {chosen.hours[-1]} h: {'; '.join(last)}."
    )
    return Picture(draw(make), alt, f"Plumes: all members at {where}, from {begun}.")


def _moving(name: str, chosen: Chosen, ground: Ground, begun: str) -> Part:
    """The first variable, lead after lead, beside its truth."""
    frames = [lead for lead in chosen.frames if lead in chosen.moving]
    own, truth = (np.stack([chosen.moving[lead][k] for lead in frames]) for k in (0, 1))
    titles = [f"{with_unit(name, ground.units)}, from {begun}, {chosen.hours[k]} h" for k in frames]
    words = f"{name} from {begun}, {chosen.hours[0]} to {chosen.hours[-1]} h, beside its truth"
    moving = maps.animation(own, truth, titles, ground.thinned(chosen.every))
    return Picture(moving, f"Two maps that move: {words}.", f"{words}.", f"Play: {words}")
