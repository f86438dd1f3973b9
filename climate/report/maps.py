"""Maps of the report: states, errors, spreads, members, and a forecast that moves.

Shapes: ``H`` latitudes, ``W`` longitudes, ``M`` members, ``S`` leads.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from climate.conventions.wording import unit_words
from climate.grids.area import Area
from vgbdm.report.page import DPI, FIGURE_STYLE, draw

MASKED = "#b3b3b3"
"""Where a variable has no values."""
SIGNED = 0.2
"""Share of the wider side of a field's range that the other has at least, where 0 divides it."""
TEMPERATURES = ("degC", "degF")
"""Whose 0 divides nothing."""
STAMPS = 12
"""Maps on the sheet of members: the mean, the truth and members."""
MOST_BYTES = 1_500_000
"""Of an animation."""
QUALITIES = (80, 60, 40, 20)


@dataclass(frozen=True)
class Panel:
    """One map.

    Attributes:
        title: of it.
        field: (H, W).
        kind: ``state``, ``difference`` or ``spread``: which colours, and which scale it shares.
    """

    title: str
    field: np.ndarray
    kind: str = "state"


@dataclass(frozen=True)
class Ground:
    """What all maps of a variable share.

    Attributes:
        area: of the fields.
        land: (H, W) land-sea mask, for coastlines; None: none are drawn.
        units: of the fields.
    """

    area: Area
    land: np.ndarray | None
    units: str

    @property
    def lon(self) -> np.ndarray:
        """(W,) a box across the meridian the grid starts at is drawn in one piece."""
        return np.asarray(np.rad2deg(np.unwrap(np.deg2rad(self.area.lon))))

    def thinned(self, every: int) -> Ground:
        """The same at each how many-th latitude and longitude."""
        area, part = self.area, slice(None, None, every)
        few = Area(area.lat[part], area.lon[part], area.rows[part], area.columns[part], False)
        land = None if self.land is None else self.land[part, part]
        return Ground(few, land, self.units)


def scale_of(fields: np.ndarray, units: str) -> dict[str, Any]:
    """Colours and their range: about 0 for what has both signs, as winds do."""
    low, high = np.nanpercentile(fields, [1, 99])
    wider, other = max(abs(low), abs(high)), min(-low, high)
    if other >= SIGNED * wider and units not in TEMPERATURES:
        return {"cmap": "PuOr_r", "vmin": -wider, "vmax": wider}
    return {"cmap": "viridis", "vmin": low, "vmax": high}


def clipped(field: np.ndarray, low: float, high: float) -> str:
    """Which ends of a colour bar have an arrow, for the field has values beyond."""
    below, above = bool(np.nanmin(field) < low), bool(np.nanmax(field) > high)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get(
        (below, above), "neither"
    )


def maps(panels: Sequence[Panel], ground: Ground) -> bytes:
    """Maps, three beside each other, or two and two; states share one scale, NaN is grey.

    Args:
        panels: to draw.
        ground: of all.
    """

    def make() -> Figure:
        columns = 2 if len(panels) == 4 else 3
        lines = -(-len(panels) // columns)
        figure = Figure(figsize=(11.4, 7.2 / columns * lines))
        axes = figure.subplots(lines, columns, squeeze=False)
        states = np.stack([panel.field for panel in panels if panel.kind == "state"])
        scale = scale_of(states, ground.units)
        for axis, panel in zip(axes.flat, panels, strict=False):
            extreme = float(np.nanmax(np.abs(panel.field)))
            look: dict[str, Any] = {
                "state": scale,
                "difference": {"cmap": "RdBu_r", "vmin": -extreme, "vmax": extreme},
                "spread": {"cmap": "magma", "vmin": 0, "vmax": extreme},
            }[panel.kind]
            mesh = draw_map(axis, panel.field, ground, look)
            axis.set_title(panel.title)
            degrees(axis)
            bar: dict[str, Any] = {"label": unit_words(ground.units), "shrink": 0.9}
            bar["extend"] = clipped(panel.field, look["vmin"], look["vmax"])
            figure.colorbar(mesh, ax=axis, **bar)
        for axis in axes.flat[len(panels) :]:
            axis.remove()
        figure.tight_layout()
        return figure

    return draw(make)


def draw_map(axis: Axes, field: np.ndarray, ground: Ground, look: dict[str, Any]) -> QuadMesh:
    """A field and the coastlines."""
    lat, lon = ground.area.lat, ground.lon
    axis.set_facecolor(MASKED)
    mesh = axis.pcolormesh(lon, lat, field, shading="nearest", **look)
    if ground.land is not None:
        axis.contour(lon, lat, ground.land, levels=[0.5], colors="black", linewidths=0.6)
    return mesh


def degrees(axis: Axes) -> None:
    """Longitudes and latitudes along a map."""
    axis.xaxis.set_major_formatter(FuncFormatter(lambda at, _: meridian(at)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda at, _: parallel(at)))
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 3, 4.5, 6, 9, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 3, 4.5, 6, 9, 10]))


def meridian(degree: float) -> str:
    """A longitude in words: "30° W"."""
    east = (degree + 180.0) % 360.0 - 180.0
    side = "" if east in (0.0, -180.0) else " E" if east > 0 else " W"
    return f"{abs(east):g}°{side}"


def parallel(degree: float) -> str:
    """A latitude in words: "30° S"."""
    return f"{abs(degree):g}°{'' if degree == 0 else ' N' if degree > 0 else ' S'}"


def stamps(truth: np.ndarray, members: np.ndarray, ground: Ground) -> bytes:
    """The mean, the truth (H, W) and the first members (M, H, W), small, on one scale."""
    titles = ["mean", "truth", *(f"member {m}" for m in range(len(members)))][:STAMPS]
    fields = [members.mean(0), truth, *members][:STAMPS]

    def make() -> Figure:
        lines = -(-len(fields) // 4)
        figure = Figure(figsize=(11.4, 1.7 * lines))
        axes = figure.subplots(lines, 4, squeeze=False)
        # no words at the edges: nothing to find a place for, which takes most of the time
        figure.subplots_adjust(left=0.01, right=0.9, wspace=0.04, hspace=0.25)
        look = scale_of(np.stack(fields), ground.units)
        for axis, title, field in zip(axes.flat, titles, fields, strict=False):
            mesh = draw_map(axis, field, ground, look)
            axis.set_title(title)
            axis.set(xticks=[], yticks=[])
        for axis in axes.flat[len(fields) :]:
            axis.remove()
        extend = clipped(np.stack(fields), look["vmin"], look["vmax"])
        side = figure.add_axes((0.92, 0.2, 0.014, 0.6))
        figure.colorbar(mesh, cax=side, label=unit_words(ground.units), extend=extend)
        return figure

    return draw(make)


def animation(
    forecast: np.ndarray, truth: np.ndarray, titles: Sequence[str], ground: Ground
) -> bytes:
    """A forecast beside its truth, lead after lead, as a WebP that moves.

    Args:
        forecast: (S, H, W).
        truth: (S, H, W).
        titles: (S,) of the leads.
        ground: of all.
    """
    look = scale_of(np.stack((forecast, truth)), ground.units)
    with matplotlib.rc_context(FIGURE_STYLE):
        figure = Figure(figsize=(8.2, 2.4), dpi=DPI)
        axes = figure.subplots(1, 2)
        fields = (forecast, truth)
        meshes = [
            draw_map(axis, own[0], ground, look) for axis, own in zip(axes, fields, strict=True)
        ]
        extend = clipped(np.stack(fields), look["vmin"], look["vmax"])
        for axis, name in zip(axes, ("forecast", "truth"), strict=True):
            axis.set_title(name)
            degrees(axis)
        unit = unit_words(ground.units)
        figure.colorbar(meshes[1], ax=list(axes), label=unit, extend=extend)
        frames = []
        for place, title in enumerate(titles):
            for mesh, own in zip(meshes, fields, strict=True):
                mesh.set_array(own[place])
            figure.suptitle(title)
            frames.append(_frame(figure))
    return _smallest(frames)


def _frame(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def _smallest(frames: list[Image.Image]) -> bytes:
    """The frames in the best quality that is small enough; every other one where none is."""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        told: dict[str, Any] = {"quality": quality, "duration": 600, "loop": 0}
        frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], **told)
        if buffer.tell() <= MOST_BYTES or len(frames) == 1:
            return buffer.getvalue()
    return _smallest(frames[::2])
