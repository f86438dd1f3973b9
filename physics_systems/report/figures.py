"""Pictures of trajectories, errors and posteriors, as PNG bytes.

Shapes: ``N`` trajectories, ``n`` scored frames, ``C`` components, ``M`` members, ``P`` parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation.calibration import Histogram
from physics_systems.evaluation.protocol import Forecasts
from physics_systems.evaluation.rows import SHOWN
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.systems.system import System
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


def trajectories(
    system: System, test: EvaluationSet, forecasts: Forecasts, window: int, title: str
) -> bytes:
    """The first trajectories: truth, forecast, and the central 90 % of the ensemble.

    Where observations carry noise that is known, the truth is a line and they are dots.
    """

    def make() -> Figure:
        size = len(system.components)
        data, count = test.data, min(SHOWN, len(test))
        figure = Figure(figsize=(3.6 * count, 1.7 * size))
        axes = figure.subplots(size, count, squeeze=False, sharex="col")
        for k in range(count):
            times = data.t[k].numpy()
            for c, name in enumerate(system.components):
                axis = axes[c, k]
                axis.plot(times, at_cell(test.target[k, :, c]), color=TRUTH, linewidth=1)
                axis.plot(times[window:], at_cell(forecasts.mean[k, :, c]), "--", color=MODEL)
                if test.states is not None:
                    seen = at_cell(data.x[k, :, c])
                    axis.plot(times, seen, ".", color=TRUTH, markersize=2, alpha=0.5)
                if forecasts.members is not None:
                    members = forecasts.members[:, k, :, c]
                    band = central(np.stack([at_cell(m) for m in members]))
                    if band is not None:
                        axis.fill_between(times[window:], *band, color=MODEL, alpha=0.25)
                axis.axvline(times[window - 1], color="#bbbbbb", linewidth=0.8)
                limit_axis(axis, at_cell(test.target[k, :, c]))
                if k == 0:
                    axis.set_ylabel(name)
            axes[-1, k].set_xlabel("t")
        figure.suptitle(title)
        figure.tight_layout()
        return figure

    return draw(make)


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
        axis.legend(frameon=False, fontsize=8, ncols=2)
        return figure

    return draw(make)


def parameter_scatter(
    names: tuple[str, ...], truth: Mapping[str, Tensor], forecasts: Forecasts, title: str
) -> bytes:
    """Inferred against true θ, with the central 90 % of the posterior."""
    assert forecasts.theta is not None

    def make() -> Figure:
        figure = Figure(figsize=(3.2 * len(names), 3.1))
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        assert forecasts.theta is not None
        for k, (axis, name) in enumerate(zip(axes, names, strict=True)):
            true, found = truth[name].numpy(), forecasts.theta[:, k].numpy()
            bars = None
            if forecasts.theta_draws is not None:
                band = central(forecasts.theta_draws[:, :, k].numpy())
                if band is not None:
                    low, high = band
                    bars = np.stack((np.maximum(found - low, 0), np.maximum(high - found, 0)))
            axis.errorbar(true, found, bars, fmt=".", color=MODEL, ecolor="#9cc3d5", elinewidth=0.6)
            ends = [true.min(), true.max()]
            axis.plot(ends, ends, color=TRUTH, linewidth=0.8)
            axis.set(xlabel=f"true {name}", ylabel=f"inferred {name}")
        figure.suptitle(title)
        figure.tight_layout()
        return figure

    return draw(make)


def portrait(
    system: System, data: Trajectories, forecasts: Forecasts, window: int, title: str
) -> bytes:
    """Two components against each other, a component against its change, or fields side by side."""
    last = data.x.shape[1] - 1

    def fields() -> Figure:
        figure = Figure(figsize=(8, 2.5 * len(system.components)))
        axes = figure.subplots(len(system.components), 3, squeeze=False)
        for c, name in enumerate(system.components):
            truth, forecast = data.x[0, last, c].numpy(), forecasts.mean[0, -1, c].numpy()
            low, high = float(truth.min()), float(truth.max())
            pictures = {
                "forecast": axes[c, 0].imshow(forecast, vmin=low, vmax=high),
                "truth": axes[c, 1].imshow(truth, vmin=low, vmax=high),
                "error": axes[c, 2].imshow(forecast - truth, cmap="RdBu_r"),
            }
            for axis, (title, picture) in zip(axes[c], pictures.items(), strict=True):
                figure.colorbar(picture, ax=axis, shrink=0.8)
                axis.set_title(f"{name}, {title}, last frame", fontsize=8)
                axis.set_axis_off()
        figure.suptitle(title)
        return figure

    def lines() -> Figure:
        figure = Figure(figsize=(3.6 * SHOWN, 3))
        axes = figure.subplots(1, SHOWN, squeeze=False)[0]
        for k, axis in enumerate(axes[: len(data)]):
            times = data.t[k, window:].numpy()
            for values, colour in ((data.x[k, window:], TRUTH), (forecasts.mean[k], MODEL)):
                series = values.numpy()
                first = series[:, 0]
                second = series[:, -1] if series.shape[1] > 1 else np.gradient(first, times)
                axis.plot(first, second, color=colour, linewidth=1)
                if colour == TRUTH:
                    limit_axis(axis, second)
            names = system.components
            axis.set(xlabel=names[0], ylabel=names[-1] if len(names) > 1 else f"d{names[0]}/dt")
        figure.suptitle(title)
        figure.tight_layout()
        return figure

    return draw(fields if system.grid else lines)


def calibration(histograms: Mapping[str, Histogram], title: str) -> bytes:
    """Ranks of the true θ among its posterior draws, by parameter, and the band of uniform ones."""

    def make() -> Figure:
        figure = Figure(figsize=(3.2 * len(histograms), 2.4))
        axes = figure.subplots(1, len(histograms), squeeze=False)[0]
        for axis, (name, found) in zip(axes, histograms.items(), strict=True):
            axis.stairs(found.counts, found.edges, fill=True, color=MODEL)
            axis.stairs(found.high, found.edges, baseline=found.low, fill=True, color="#bbbbbb",
                        alpha=0.5)  # fmt: skip
            axis.stairs(found.expected, found.edges, baseline=None, color=TRUTH, linewidth=0.8)
            axis.set(xlabel=f"rank of {name}", ylabel="trajectories", ylim=(0, None))
        figure.suptitle(title)
        figure.tight_layout()
        return figure

    return draw(make)
