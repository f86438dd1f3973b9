"""Figures of the gallery: those of the reports, composed for pages of 800 pixels.

Shapes: ``N`` trajectories, ``L`` frames, ``M`` members, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climate.conventions.wording import unit_words
from climate.report.maps import Ground, clipped, degrees, draw_map, scale_of
from physics_systems.evaluation.calibration import Histogram
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.report.figures import (
    MODEL,
    OTHER,
    TRUTH,
    Curves,
    draw_coverage,
    draw_fields,
    draw_parameter,
    draw_ranks,
    draw_trajectory,
    example,
    limit_axis,
)
from physics_systems.systems.system import System
from vgbdm.report.legends import legend

WIDTH = 8.2
"""Inches of every figure, whose words of 9 points are then 12 pixels on a page of 800."""
GIVEN = "#9a9a9a"


@dataclass(frozen=True)
class Weather:
    """One variable of one forecast at one lead.

    Attributes:
        name: of the variable, as it is printed.
        hours: lead.
        forecast: (H, W).
        truth: (H, W).
        ground: of the maps.
    """

    name: str
    hours: int
    forecast: np.ndarray
    truth: np.ndarray
    ground: Ground


@dataclass(frozen=True)
class Ensemble:
    """One trajectory of a system, and what was forecast of it.

    Attributes:
        names: of the components.
        times: (L,).
        truth: (L, C).
        members: (M, n, C) of the last n frames.
    """

    names: Sequence[str]
    times: np.ndarray
    truth: np.ndarray
    members: np.ndarray


@dataclass(frozen=True)
class Curve:
    """A path between frames, at many times (K,).

    Attributes:
        state: (K,).
        rate: (K,) its velocity.
        scattered: whether each point is a draw of its own.
    """

    state: np.ndarray
    rate: np.ndarray
    scattered: bool = False


@dataclass(frozen=True)
class Paths:
    """Paths through the same frames.

    Attributes:
        component: which is shown.
        times: (K,).
        truth: what the paths estimate.
        frame_times: (L,).
        frames: (L,).
        curves: by name.
    """

    component: str
    times: np.ndarray
    truth: Curve
    frame_times: np.ndarray
    frames: np.ndarray
    curves: Mapping[str, Curve] = field(default_factory=dict)


def readme(weather: Weather, ensemble: Ensemble) -> Figure:
    """Maps of forecast, truth and error beside an ensemble's members, component by component."""
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1))
    _maps(left, weather)
    axes = right.subplots(len(ensemble.names), 1, sharex=True)
    for c, (axis, name) in enumerate(zip(axes, ensemble.names, strict=True)):
        _members(axis, ensemble, c)
        axis.set_ylabel(name)
    axes[0].set_title("Lorenz, forecast as an ensemble")
    axes[-1].set_xlabel("t")
    right.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                 columnspacing=1.0, frameon=False)  # fmt: skip
    return figure


def _maps(figure: Any, weather: Weather) -> None:
    error, units = weather.forecast - weather.truth, weather.ground.units
    look = scale_of(np.stack((weather.forecast, weather.truth)), units)
    extreme = float(np.nanmax(np.abs(error)))
    signed = {"cmap": "RdBu_r", "vmin": -extreme, "vmax": extreme}
    shown = {
        f"{weather.name}, forecast {weather.hours} h ahead": (weather.forecast, look),
        "truth": (weather.truth, look),
        "error (forecast - truth)": (error, signed),
    }
    for axis, (title, (values, own)) in zip(figure.subplots(3, 1), shown.items(), strict=True):
        mesh = draw_map(axis, values, weather.ground, own)
        degrees(axis)
        axis.set_title(title)
        extend = clipped(values, own["vmin"], own["vmax"])
        figure.colorbar(mesh, ax=axis, label=unit_words(units), extend=extend)


def _narrow(axis: Axes, truth: np.ndarray) -> None:
    """Let the truth decide the range, with little beyond."""
    low, high = float(truth.min()), float(truth.max())
    axis.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))


def _members(axis: Axes, ensemble: Ensemble, c: int) -> None:
    """Members of a component, the truth, and the frames that were given."""
    count = ensemble.members.shape[1]
    given, ahead = ensemble.times[:-count], ensemble.times[-count:]
    members = f"{len(ensemble.members)} members"
    for member in ensemble.members[:, :, c]:
        axis.plot(ahead, member, color=MODEL, linewidth=0.5, alpha=0.5, label=members)
        members = ""
    axis.plot(ensemble.times, ensemble.truth[:, c], "--", color=TRUTH, linewidth=1, label="truth")
    look: dict[str, Any] = {"color": OTHER, "markersize": 3}
    axis.plot(given, ensemble.truth[:-count, c], ".", label="frames given", **look)
    axis.axvline(given[-1], color=GIVEN, linewidth=0.8)
    _narrow(axis, ensemble.truth[:, c])


def system(physics: System, test: EvaluationSet, row: Row, window: int) -> Figure:
    """Forecasts beside the truth, and inferred θ against the true one."""
    return (_fields if physics.grid else _lines)(physics, test, row, window)


def _lines(physics: System, test: EvaluationSet, row: Row, window: int) -> Figure:
    """The median and the worst trajectory, a column each; θ to the right."""
    names = physics.components
    height = max(1.35 * len(names), 2.0 * len(physics.prior), 2.2) + 0.7
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2.3, 1))
    columns = [*range(len(row.shown))][-2:]
    axes = left.subplots(len(names), len(columns), squeeze=False, sharex=True, sharey="row")
    for own, k in zip(axes.T, columns, strict=True):
        own[0].set_title(example(row, k))
        for c, axis in enumerate(own):
            draw_trajectory(axis, test, row, window, (k, row.shown[k], c))
        own[-1].set_xlabel("t")
    shown = test.target[[row.shown[k] for k in columns]]
    for c, (axis, name) in enumerate(zip(axes[:, 0], names, strict=True)):
        axis.set_ylabel(name)
        limit_axis(axis, shown[:, :, c].numpy())  # of both: they share it
    left.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                frameon=False)  # fmt: skip
    _thetas(right, right.subplots(len(physics.prior), 1, squeeze=False)[:, 0], physics, test, row)
    return figure


def _fields(physics: System, test: EvaluationSet, row: Row, window: int) -> Figure:
    """The last frame of the median trajectory: forecast, truth, error, spread; θ below."""
    names = physics.components
    figure = Figure(figsize=(WIDTH, 1.75 * len(names) + 2.7), layout="constrained")
    top, below = figure.subfigures(2, 1, height_ratios=(1.75 * len(names), 2.7))
    middle = (len(row.shown) - 1) // 2
    place, members = row.shown[middle], row.forecasts.members
    axes = top.subplots(len(names), 4, squeeze=False)
    for c, name in enumerate(names):
        truth, mean = test.target[place, -1, c], row.forecasts.mean[place, -1, c]
        draw_fields(axes[c, :3], name, truth.numpy(), mean.numpy())
        assert members is not None
        spread = members[:, middle, -1, c].std(0).numpy()
        picture = axes[c, 3].imshow(spread, cmap="magma", vmin=0)
        top.colorbar(picture, ax=axes[c, 3], shrink=0.8)
        axes[c, 3].set_title(f"{name}, spread")
        axes[c, 3].set_axis_off()
    for axis in axes.flat:
        axis.set_title(axis.get_title().removesuffix(", last frame"))
    _thetas(below, below.subplots(1, len(physics.prior)), physics, test, row)
    return figure


def _thetas(
    figure: Any, axes: Sequence[Axes], physics: System, test: EvaluationSet, row: Row
) -> None:
    assert test.parameters is not None
    for place, (axis, name) in enumerate(zip(axes, physics.prior, strict=True)):
        draw_parameter(axis, name, test.parameters[name].numpy(), row.forecasts, place)
    columns = len(axes) if axes[0].get_subplotspec().get_gridspec().nrows == 1 else 1
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center",
                  ncols=columns, frameon=False)  # fmt: skip


def paths(found: Paths) -> Figure:
    """States and velocities of all paths through the same frames."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = dict(zip(found.curves, (OTHER, "#3f8f3f", MODEL, "#8a4fa3"), strict=False))
    for axis, what in ((left, "state"), (right, "rate")):
        for name, curve in found.curves.items():
            look: dict[str, Any] = {"color": colours[name], "label": name, "linewidth": 1.2}
            if curve.scattered:
                look |= {"linestyle": "none", "marker": ".", "markersize": 2, "zorder": 1}
            axis.plot(found.times, getattr(curve, what), **look)
        truth = getattr(found.truth, what)
        axis.plot(found.times, truth, "--", color=TRUTH, linewidth=1, label="truth")
        _narrow(axis, truth)
        axis.set_xlabel("t")
    left.plot(found.frame_times, found.frames, "o", color=TRUTH, markersize=4, label="frames")
    left.set(ylabel=found.component, title="points at which the field is asked")
    right.set(ylabel=f"d{found.component}/dt", title="what it should answer")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=6,
                  frameon=False)  # fmt: skip
    return figure


def gauge(table: pd.DataFrame, chosen: float, tolerance: float) -> Figure:
    """Validation error and error of θ against λ.

    Args:
        table: a line per λ (``gauge``) with ``ratio``, the validation error by that of λ = 0, and
            a column ``theta_error_…`` of each parameter.
        chosen: λ that the rule takes.
        tolerance: share by which the validation error may exceed that of λ = 0.
    """
    figure = Figure(figsize=(WIDTH, 3.3))
    left, right = figure.subplots(1, 2)
    places = np.arange(len(table))
    left.plot(places, table["ratio"], "o-", color=MODEL, label="validation error")
    bottom = left.get_ylim()[0]
    band: dict[str, Any] = {"color": "#bbbbbb", "alpha": 0.4, "label": "allowed by the rule"}
    left.axhspan(bottom, 1 + tolerance, **band)
    left.set_ylim(bottom=bottom)
    left.set(ylabel="validation error ÷ that of λ = 0")
    shades = (MODEL, OTHER, "#3f8f3f")
    errors = [name for name in table if str(name).startswith("theta_error_")]
    for name, shade in zip(errors, shades, strict=False):
        parameter = str(name).removeprefix("theta_error_")
        right.plot(places, table[name], "o-", color=shade, label=f"error of {parameter}")
    right.set(ylabel="squared error of θ ÷ variance", yscale="log")
    for axis in (left, right):
        at = int(np.flatnonzero(table["gauge"] == chosen)[0])
        axis.axvline(at, color=TRUTH, linestyle=":", label="chosen λ")
        axis.set_xticks(places, [f"{value:g}" for value in table["gauge"]])
        axis.set_xlabel("λ")
    legend(figure, (left, right))
    return figure


def calibration(histograms: Mapping[str, Histogram], curves: Curves) -> Figure:
    """Ranks of each parameter, and coverage against level beside them."""
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.subplots(1, len(histograms) + 1)
    for axis, (name, found) in zip(axes, histograms.items(), strict=False):
        draw_ranks(axis, name, found)
    draw_coverage(axes[-1], curves)
    legend(figure, axes)
    return figure
