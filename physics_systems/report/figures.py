"""Pictures of trajectories, errors and posteriors, as PNG bytes.

Shapes: ``N`` trajectories, ``n`` scored frames, ``C`` components, ``M`` members, ``P`` parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation.calibration import Histogram
from physics_systems.evaluation.protocol import Forecasts
from physics_systems.evaluation.rows import EXAMPLES, Row
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.systems.system import System
from vgbdm.report.legends import legend
from vgbdm.report.page import draw

TRUTH, MODEL, OTHER = "#333333", "#0b6e99", "#c2571a"
LEVEL = 0.9
"""Of the bands that are drawn, where there are as many members as they take."""


def central(members: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray] | None:
    """Ends of the central share of draws (M, ...); None where M do not reach so far out."""
    if (1 - level) / 2 * (len(members) + 1) < 1 - 1e-9:
        return None
    tail = (1 - level) / 2
    low, high = np.nanquantile(members, [tail, 1 - tail], axis=0, method="weibull")
    return low, high


def trajectories(system: System, test: EvaluationSet, row: Row, window: int, title: str) -> bytes:
    """The best, the median and the worst: truth, forecast, and the central 90 % of the ensemble.

    Where observations carry noise that is known, the truth is a line and they are dots.
    """

    def make() -> Figure:
        size, count = len(system.components), len(row.shown)
        figure = Figure(figsize=(3.6 * count, 1.7 * size + 0.5))
        axes = figure.subplots(size, count, squeeze=False, sharex="col")
        for k, place in enumerate(row.shown):
            axes[0, k].set_title(example(row, k))
            for c, name in enumerate(system.components):
                draw_trajectory(axes[c, k], test, row, window, (k, place, c))
                if k == 0:
                    axes[c, k].set_ylabel(name)
            axes[-1, k].set_xlabel("t")
        figure.suptitle(title)
        legend(figure, axes.flat)
        return figure

    return draw(make)


def example(row: Row, k: int) -> str:
    """Which one an example is, and its error."""
    names = EXAMPLES if len(row.shown) == len(EXAMPLES) else ("best", "worst")
    return f"{names[k]}, MSE {row.errors[row.shown[k]]:.3g}"


def draw_trajectory(
    axis: Axes, test: EvaluationSet, row: Row, window: int, place: tuple[int, int, int]
) -> None:
    """Truth, forecast and band of a component.

    Args:
        axis: to draw on.
        test: what was forecast.
        row: with its examples.
        window: frames that were given.
        place: among the row's examples, in the set, and of the component.
    """
    k, n, c = place
    times, truth = test.data.t[n].numpy(), at_cell(test.target[n, :, c])
    axis.plot(times, truth, color=TRUTH, linewidth=1, label="truth")
    mean = at_cell(row.forecasts.mean[n, :, c])
    axis.plot(times[window:], mean, "--", color=MODEL, label="forecast")
    if test.states is not None:
        look: dict[str, Any] = {"color": TRUTH, "markersize": 2, "alpha": 0.5}
        axis.plot(times, at_cell(test.data.x[n, :, c]), ".", label="observed", **look)
    if row.forecasts.members is not None:
        members = row.forecasts.members[:, k, :, c]
        band = central(np.stack([at_cell(m) for m in members]))
        if band is not None:
            wide: dict[str, Any] = {
                "color": MODEL,
                "alpha": 0.25,
                "label": f"{LEVEL:.0%} of members",
            }
            axis.fill_between(times[window:], *band, **wide)
    axis.axvline(times[window - 1], color="#9a9a9a", linewidth=0.8, label="last frame given")
    limit_axis(axis, truth)


def at_cell(values: Tensor) -> np.ndarray:
    """A time series (n,): the values themselves, or those of a field's middle cell."""
    while values.dim() > 1:
        values = values[:, values.shape[1] // 2]
    return values.numpy()


def limit_axis(axis: Axes, truth: np.ndarray) -> None:
    """Let the truth decide the range, so that a forecast gone astray hides nothing."""
    low, high = float(truth.min()), float(truth.max())
    margin = 0.4 * (high - low) + 1e-6
    axis.set_ylim(low - margin, high + margin)


def error_against_time(
    data: Trajectories, window: int, rows: Mapping[str, Tensor], scale: Tensor
) -> bytes:
    """Root mean square error of each row against the frame, in standard deviations.

    Of a row of which some forecasts failed the line is that of the others, and its name says so.
    """

    def make() -> Figure:
        figure = Figure(figsize=(7.5, 3.2))
        axis = figure.subplots()
        truth = data.x[:, window:]
        unit = scale.reshape(1, 1, -1, *[1] * (truth.dim() - 3))
        for name, forecast in rows.items():
            square = ((forecast - truth) / unit).double().square().flatten(2).mean(2)
            fine = square.isfinite().all(1)
            failed = int((~fine).sum())
            said = f"{name} (without {failed} failed of {len(square)})" if failed else name
            axis.plot(data.t[0, window:].numpy(), square[fine].mean(0).sqrt().numpy(), label=said)
        axis.set(xlabel="t", ylabel="RMSE (standard deviations)", yscale="log")
        axis.legend(frameon=False, ncols=2)
        return figure

    return draw(make)


def parameter_scatter(
    names: tuple[str, ...], truth: Mapping[str, Tensor], forecasts: Forecasts, title: str
) -> bytes:
    """Inferred against true θ, with the central 90 % of the posterior."""

    def make() -> Figure:
        figure = Figure(figsize=(3.2 * len(names), 3.1))
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for k, (axis, name) in enumerate(zip(axes, names, strict=True)):
            draw_parameter(axis, name, truth[name].numpy(), forecasts, k)
        figure.suptitle(title)
        legend(figure, axes)
        return figure

    return draw(make)


def draw_parameter(
    axis: Axes, name: str, true: np.ndarray, forecasts: Forecasts, place: int
) -> None:
    """Inferred against true values (N,) of the parameter at a place of θ, with their intervals."""
    assert forecasts.theta is not None
    found, bars = forecasts.theta[:, place].numpy(), None
    if forecasts.theta_draws is not None:
        band = central(forecasts.theta_draws[:, :, place].numpy())
        if band is not None:
            low, high = band
            bars = np.stack((np.maximum(found - low, 0), np.maximum(high - found, 0)))
    label = "posterior mean" + ("" if bars is None else f" and {LEVEL:.0%} interval")
    look: dict[str, Any] = {"color": MODEL, "ecolor": "#9cc3d5", "elinewidth": 0.6}
    axis.errorbar(true, found, bars, fmt=".", label=label, **look)
    ends = [true.min(), true.max()]
    axis.plot(ends, ends, color=TRUTH, linewidth=0.8, label="inferred = true")
    axis.set(xlabel=f"true {name}", ylabel=f"inferred {name}")


def draw_fields(axes: Sequence[Axes], name: str, truth: np.ndarray, forecast: np.ndarray) -> None:
    """Forecast, truth and error (H, W) on three axes; the first two share their colours."""
    low, high = float(truth.min()), float(truth.max())
    error = forecast - truth
    extreme = float(np.nanmax(np.abs(error))) or 1.0
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    ends = beyond.get((forecast.min() < low, forecast.max() > high), "both")
    pictures = {
        "forecast": axes[0].imshow(forecast, vmin=low, vmax=high),
        "truth": axes[1].imshow(truth, vmin=low, vmax=high),
        "error": axes[2].imshow(error, cmap="RdBu_r", vmin=-extreme, vmax=extreme),
    }
    for axis, (shown, picture) in zip(axes, pictures.items(), strict=True):
        extend = ends if shown == "forecast" else "neither"
        axis.figure.colorbar(picture, ax=axis, shrink=0.8, extend=extend)
        axis.set_title(f"{name}, {shown}, last frame")
        axis.set_axis_off()


def portrait(system: System, data: Trajectories, row: Row, window: int, title: str) -> bytes:
    """Two components against each other, a component against its change, or fields side by side.

    Of fields the median example is shown, of others the same ones as by `trajectories`.
    """
    last, forecasts = data.x.shape[1] - 1, row.forecasts
    middle = row.shown[(len(row.shown) - 1) // 2]

    def fields() -> Figure:
        figure = Figure(figsize=(10, 2.9 * len(system.components)))
        axes = figure.subplots(len(system.components), 3, squeeze=False)
        for c, name in enumerate(system.components):
            truth, forecast = data.x[middle, last, c].numpy(), forecasts.mean[middle, -1, c].numpy()
            draw_fields(axes[c], name, truth, forecast)
        figure.suptitle(title)
        figure.tight_layout()
        return figure

    def lines() -> Figure:
        figure = Figure(figsize=(3.6 * len(row.shown), 3.3))
        axes = figure.subplots(1, len(row.shown), squeeze=False)[0]
        for k, (axis, place) in enumerate(zip(axes, row.shown, strict=True)):
            times = data.t[place, window:].numpy()
            told = {
                "truth": (data.x[place, window:], TRUTH),
                "forecast": (forecasts.mean[place], MODEL),
            }
            for label, (values, colour) in told.items():
                series = values.numpy()
                first = series[:, 0]
                second = series[:, -1] if series.shape[1] > 1 else np.gradient(first, times)
                axis.plot(first, second, color=colour, linewidth=1, label=label)
                if colour == TRUTH:
                    limit_axis(axis, second)
            names = system.components
            axis.set(xlabel=names[0], ylabel=names[-1] if len(names) > 1 else f"d{names[0]}/dt")
            axis.set_title(example(row, k))
        figure.suptitle(title)
        legend(figure, axes)
        return figure

    return draw(fields if system.grid else lines)


def calibration(histograms: Mapping[str, Histogram], title: str) -> bytes:
    """Ranks of the true θ among its posterior draws, by parameter, and the band of uniform ones."""

    def make() -> Figure:
        figure = Figure(figsize=(3.2 * len(histograms), 2.4))
        axes = figure.subplots(1, len(histograms), squeeze=False)[0]
        for axis, (name, found) in zip(axes, histograms.items(), strict=True):
            draw_ranks(axis, name, found)
        figure.suptitle(title)
        legend(figure, axes)
        return figure

    return draw(make)


def draw_ranks(axis: Axes, name: str, found: Histogram) -> None:
    """Ranks of one parameter, and the band of uniform ones."""
    axis.stairs(found.counts, found.edges, fill=True, color=MODEL, label="ranks")
    band: dict[str, Any] = {"color": "#bbbbbb", "alpha": 0.5, "label": "99 % of even ranks"}
    axis.stairs(found.high, found.edges, baseline=found.low, fill=True, **band)
    even: dict[str, Any] = {"color": TRUTH, "linewidth": 0.8, "label": "even"}
    axis.stairs(found.expected, found.edges, baseline=None, **even)
    axis.set(xlabel=f"rank of {name}", ylabel="trajectories", ylim=(0, None))


Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By name, levels and the shares of truths that intervals of these hold."""


def coverage(curves: Curves, title: str) -> bytes:
    """Share of truths that intervals hold against their level; the diagonal is right."""

    def make() -> Figure:
        figure = Figure(figsize=(5.6, 4.2))
        axis = figure.subplots()
        draw_coverage(axis, curves)
        axis.set_title(title)
        axis.legend(frameon=False)
        figure.tight_layout()
        return figure

    return draw(make)


def draw_coverage(axis: Axes, curves: Curves) -> None:
    """Share against level, a line per name."""
    axis.plot([0, 1], [0, 1], color=TRUTH, linewidth=0.8, label="right")
    for name, (levels, shares) in curves.items():
        axis.plot(levels, shares, label=name)
    axis.set(xlabel="level of the interval", ylabel="share of truths it holds")
    axis.set(xlim=(0, 1), ylim=(0, 1))


BARS = {"forecast_mse": "forecast MSE", "theta_error": "θ error ÷ variance"}


def bars(summary: pd.DataFrame, names: Sequence[str], plain: Sequence[str]) -> bytes:
    """Errors of all rows beside each other, with their standard deviation over seeds.

    Args:
        summary: of all rows.
        names: of them, as they are shown.
        plain: those of them that need no training.
    """
    shown = {score: label for score, label in BARS.items() if summary[score].gt(0).any()}

    def make() -> Figure:
        figure = Figure(figsize=(5.2 * len(shown), 0.32 * len(names) + 1.1))
        axes = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        places = np.arange(len(names))
        colours = ["#9a9a9a" if name in plain else MODEL for name in names]
        for axis, (score, label) in zip(axes, shown.items(), strict=True):
            values = summary[score].where(np.isfinite(summary[score]))
            spread = summary.get(f"{score}_std", pd.Series(np.nan, summary.index)).fillna(0)
            look: dict[str, Any] = {"color": colours, "error_kw": {"elinewidth": 0.8}}
            axis.barh(places, values, xerr=spread, **look)
            axis.set(xscale="log", xlabel=label)
            # bars begin a whole power of ten below the least, not at the least itself
            axis.set_xlim(left=10 ** np.floor(np.log10(values[values > 0].min()) - 0.3))
            for place, value in zip(places, summary[score], strict=True):
                if np.isinf(value):
                    axis.text(0.02, place, "failed", transform=axis.get_yaxis_transform())
        axes[0].set_yticks(places, names)
        axes[0].invert_yaxis()
        figure.tight_layout()
        return figure

    return draw(make)
