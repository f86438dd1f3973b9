"""Pictures: what stands where, against which axis, in which unit."""

import numpy as np
import pandas as pd
import pytest
import torch
from system_fields import SYSTEMS

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation.calibration import rank_histogram
from physics_systems.evaluation.protocol import Forecasts
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.report import figures

WINDOW = 4


@pytest.fixture(autouse=True)
def unrendered(monkeypatch):
    """Figures as they are made; to find a place for their words takes a second each."""
    monkeypatch.setattr(figures, "draw", lambda make: make())
    monkeypatch.setattr(figures.Figure, "tight_layout", lambda self: None)


def numbers(*shape):
    """Of another mean and size in each component."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return drawn * torch.arange(1.0, shape[2] + 1).reshape(-1, *[1] * (len(shape) - 3)) + 2


def observed(name, count=5, frames=9):
    data = numbers(count, frames, *SYSTEMS[name].shape)
    times = 0.3 * torch.arange(frames).double() ** 1.5 + torch.arange(count).double()[:, None]
    return Trajectories(data, times)


def forecasts(name, count=5, frames=9, members=39):
    thetas = len(SYSTEMS[name].parameters)
    drawn = numbers(members, count, frames - WINDOW, *SYSTEMS[name].shape)
    return Forecasts(
        numbers(count, frames - WINDOW, *SYSTEMS[name].shape),
        numbers(count, 1, thetas)[:, 0],
        drawn,
        numbers(members, count, thetas),
    )


def row_of(said, count, known=None):
    """A row of forecasts; its examples are the last, the second and the first trajectory."""
    shown = tuple(dict.fromkeys((count - 1, 1, 0)))
    if said.members is not None:
        said = said._replace(members=said.members[:, list(shown)])
    return Row({}, 0.5 * np.arange(count)[::-1] + 0.25, said, None, shown)


def band_of(axis):
    """Lower and upper edge of the shaded band, from left to right."""
    (band,) = axis.collections
    corners = band.get_paths()[0].vertices
    ends = [corners[corners[:, 0] == x, 1] for x in np.unique(corners[:, 0])]
    return np.array([(y.min(), y.max()) for y in ends]).T


@pytest.mark.parametrize("count", [2, 5])
def test_trajectories_show_truth_forecast_and_the_central_ninety_percent(count):
    name = "rlc"
    data, said = observed(name, count), forecasts(name, count)
    row = row_of(said, count)
    figure = figures.trajectories(SYSTEMS[name], EvaluationSet(data), row, WINDOW, "title")
    shown, size = len(row.shown), len(SYSTEMS[name].components)
    axes = np.array(figure.axes).reshape(size, shown)
    assert np.allclose(figure.get_size_inches(), (3.6 * shown, 1.7 * size + 0.5))
    assert figure.get_suptitle() == "title" and shown == min(count, 3)
    names = ("best", "median", "worst") if shown == 3 else ("best", "worst")
    for k, place in enumerate(row.shown):
        assert axes[0, k].get_title() == f"{names[k]}, MSE {row.errors[place]:.3g}"
        for c, component in enumerate(SYSTEMS[name].components):
            truth, forecast, start = axes[c, k].lines
            want = np.stack((data.t[place], data.x[place, :, c]), 1)
            assert np.array_equal(truth.get_xydata(), want)
            want = np.stack((data.t[place, WINDOW:], said.mean[place, :, c]), 1)
            assert np.array_equal(forecast.get_xydata(), want)
            assert set(start.get_xdata()) == {float(data.t[place, WINDOW - 1])}
            ordered = np.sort(said.members[:, place, :, c].numpy(), axis=0)
            quantiles = ordered[[1, -2]]  # the 2nd and 38th of 39: (M + 1) p
            assert np.allclose(band_of(axes[c, k]), quantiles)
            assert axes[c, k].get_ylabel() == (component if k == 0 else "")
            assert axes[c, k].get_xlabel() == ("t" if c == size - 1 else "")
    (legend,) = figure.legends
    words = ["truth", "forecast", "last frame given", "90% of members"]
    assert sorted(text.get_text() for text in legend.get_texts()) == sorted(words)


def test_without_an_ensemble_there_is_no_band():
    few = forecasts("rlc", members=18)  # the central 90 % take 19
    for said in (few._replace(members=None), few):
        row = row_of(said, 5)
        figure = figures.trajectories(
            SYSTEMS["rlc"], EvaluationSet(observed("rlc")), row, WINDOW, ""
        )
        assert all(len(axis.lines) == 3 and not axis.collections for axis in figure.axes)
    truth = {name: numbers(5, 1, 3)[:, 0, 0] for name in SYSTEMS["rlc"].parameters}
    figure = figures.parameter_scatter(SYSTEMS["rlc"].parameters, truth, few, "")
    assert all(not axis.collections for axis in figure.axes)


def test_observations_are_dots_where_the_truth_is_known():
    data, states = observed("rlc"), numbers(5, 9, 2) + 1
    test = EvaluationSet(data, states)
    row = row_of(forecasts("rlc"), 5)
    figure = figures.trajectories(SYSTEMS["rlc"], test, row, WINDOW, "")
    truth, _, dots, _ = figure.axes[0].lines
    assert np.array_equal(truth.get_ydata(), states[4, :, 0])
    assert np.array_equal(dots.get_ydata(), data.x[4, :, 0]) and dots.get_linestyle() == "None"


def test_a_field_is_shown_at_its_middle_cell():
    values = torch.arange(2 * 6 * 5).reshape(2, 6, 5)
    assert figures.at_cell(values).tolist() == [3 * 5 + 2, 30 + 3 * 5 + 2]
    assert figures.at_cell(values[:, 0, 0]).tolist() == [0, 30]


def test_the_truth_decides_the_range_of_an_axis():
    row = row_of(forecasts("lorenz"), 5)
    figure = figures.trajectories(
        SYSTEMS["lorenz"], EvaluationSet(observed("lorenz")), row, WINDOW, ""
    )
    truth = observed("lorenz").x[4, :, 0].numpy()
    low, high = truth.min(), truth.max()
    ends = figure.axes[0].get_ylim()
    assert np.allclose(ends, (low - 0.4 * (high - low) - 1e-6, high + 0.4 * (high - low) + 1e-6))
    figures.limit_axis(figure.axes[0], np.ones(4))
    assert np.allclose(figure.axes[0].get_ylim(), (1 - 1e-6, 1 + 1e-6), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["rlc", "reaction_diffusion"])
def test_errors_are_in_standard_deviations_of_their_components(name):
    data = observed(name)
    rows = {"model": data.x[:, WINDOW:] + numbers(*data.x[:, WINDOW:].shape), "none": 0 * data.x}
    rows["none"] = rows["none"][:, WINDOW:]
    scale = torch.tensor([0.5, 4.0])
    figure = figures.error_against_time(data, WINDOW, rows, scale)
    (axis,) = figure.axes
    assert axis.get_yscale() == "log" and axis.get_xlabel() == "t"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["model", "none"]
    for line, forecast in zip(axis.lines, rows.values(), strict=True):
        error = (forecast - data.x[:, WINDOW:]).double().numpy()
        error = error / np.array([0.5, 4.0]).reshape(2, *[1] * (error.ndim - 3))
        want = np.sqrt((error**2).mean((0, *range(2, error.ndim))))
        assert np.array_equal(line.get_xdata(), data.t[0, WINDOW:])
        assert np.allclose(line.get_ydata(), want, rtol=1e-6)


def test_failed_forecasts_are_named_and_the_line_is_of_the_others():
    """One that failed left the row without a line."""
    data = observed("rlc")
    truth, broken = data.x[:, WINDOW:], data.x[:, WINDOW:] + 1
    broken[2, -1] = torch.nan
    figure = figures.error_against_time(data, WINDOW, {"node": broken}, torch.ones(2))
    (line,) = figure.axes[0].lines
    assert line.get_label() == "node (without 1 failed of 5)"
    assert np.allclose(line.get_ydata(), 1) and len(truth[0]) == len(line.get_ydata())


@pytest.mark.parametrize("draws", [True, False])
def test_inferred_parameters_stand_over_the_true_ones_with_their_spread(draws):
    names, said = SYSTEMS["rlc"].parameters, forecasts("rlc")
    said = said if draws else said._replace(theta_draws=None)
    truth = {name: numbers(5, 1, 3)[:, 0, k] for k, name in enumerate(names)}
    figure = figures.parameter_scatter(names, truth, said, "title")
    assert np.allclose(figure.get_size_inches(), (3.2 * len(names), 3.1))
    for k, (name, axis) in enumerate(zip(names, figure.axes, strict=True)):
        points, diagonal = axis.lines
        assert np.array_equal(points.get_xydata(), np.stack((truth[name], said.theta[:, k]), 1))
        ends = [float(truth[name].min()), float(truth[name].max())]
        assert np.allclose(diagonal.get_xydata(), np.stack((ends, ends), 1))
        assert (axis.get_xlabel(), axis.get_ylabel()) == (f"true {name}", f"inferred {name}")
        if draws:
            found = said.theta[:, k].numpy()
            low, high = np.sort(said.theta_draws[:, :, k].numpy(), axis=0)[[1, -2]]
            ends = np.array([segment[:, 1] for segment in axis.collections[0].get_segments()])
            assert np.allclose(ends[:, 0], np.minimum(low, found))
            assert np.allclose(ends[:, 1], np.maximum(high, found))


def test_a_field_is_portrayed_by_forecast_truth_and_error_of_the_last_frame():
    name = "reaction_diffusion"
    data, said = observed(name, frames=11), forecasts(name, frames=11)
    figure = figures.portrait(SYSTEMS[name], data, row_of(said, 5), WINDOW, "title")
    size = len(SYSTEMS[name].components)
    assert np.allclose(figure.get_size_inches(), (10, 2.9 * size))
    shown = np.array(figure.axes[: 3 * size]).reshape(size, 3)
    for c, component in enumerate(SYSTEMS[name].components):
        truth, forecast = data.x[1, -1, c].numpy(), said.mean[1, -1, c].numpy()
        for axis, words, want in zip(
            shown[c], ("forecast", "truth", "error"), (forecast, truth, forecast - truth),
            strict=True,
        ):  # fmt: skip
            assert np.array_equal(axis.images[0].get_array(), want)
            assert axis.get_title() == f"{component}, {words}, last frame"
            assert not axis.axison
        for axis in shown[c, :2]:
            assert np.allclose(axis.images[0].get_clim(), (truth.min(), truth.max()))
        low, high = shown[c, 2].images[0].get_clim()
        assert low == -high and np.isclose(high, np.abs(forecast - truth).max())


@pytest.mark.parametrize(("name", "count"), [("lorenz", 5), ("lorenz", 2), ("pendulum", 5)])
def test_lines_portray_two_components_or_one_against_its_change(name, count):
    system, data, said = SYSTEMS[name], observed(name, count), forecasts(name, count)
    row = row_of(said, count)
    figure = figures.portrait(system, data, row, WINDOW, "title")
    assert np.allclose(figure.get_size_inches(), (3.6 * len(row.shown), 3.3))
    assert len(figure.axes) == len(row.shown) == min(count, 3)
    several, names = len(system.components) > 1, system.components
    labels = (names[0], names[-1]) if several else (names[0], f"d{names[0]}/dt")
    for k, axis in zip(row.shown, figure.axes, strict=True):
        assert (axis.get_xlabel(), axis.get_ylabel()) == labels
        times = data.t[k, WINDOW:].numpy()
        for line, values in zip(axis.lines, (data.x[k, WINDOW:], said.mean[k]), strict=True):
            first = values[:, 0].numpy()
            second = values[:, -1].numpy() if several else np.gradient(first, times)
            assert np.allclose(line.get_xydata(), np.stack((first, second), 1))
        second = axis.lines[0].get_ydata()
        margin = 0.4 * (second.max() - second.min()) + 1e-6
        assert np.allclose(axis.get_ylim(), (second.min() - margin, second.max() + margin))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["truth", "forecast"]


def test_ranks_stand_in_their_bins_before_the_band_of_even_ones():
    ranks = np.arange(250)[None] % 33
    found = {"L": rank_histogram(ranks, 32), "C": rank_histogram(0 * ranks, 32)}
    figure = figures.calibration(found, "title")
    assert np.allclose(figure.get_size_inches(), (6.4, 2.4)) and figure.get_suptitle() == "title"
    for axis, (name, histogram) in zip(figure.axes, found.items(), strict=True):
        bars, band, line = (patch.get_data() for patch in axis.patches)
        assert np.array_equal(bars.values, histogram.counts) and len(bars.values) == 11
        assert bars.edges[0] == -0.5 and bars.edges[-1] == 32.5
        assert np.array_equal(band.values, histogram.high)
        assert np.array_equal(band.baseline, histogram.low)
        assert np.allclose(line.values, 250 / 11)
        assert axis.get_xlabel() == f"rank of {name}"


def test_coverage_stands_over_its_level_beside_the_diagonal():
    levels, shares = np.array([0.5, 0.9]), np.array([0.3, 0.7])
    (axis,) = figures.coverage({"vgbdm": (levels, shares)}, "title").axes
    diagonal, line = axis.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert line.get_xydata().tolist() == [[0.5, 0.3], [0.9, 0.7]]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["right", "vgbdm"]


def test_bars_are_of_all_rows_and_say_which_failed():
    summary = pd.DataFrame({
        "forecast_mse": [0.5, np.inf, 2.0], "forecast_mse_std": [0.1, np.nan, np.nan],
        "theta_error": [0.3, 0.2, np.nan],
    })  # fmt: skip
    figure = figures.bars(summary, ["vgbdm", "node", "oracle"], ["oracle"])
    errors, theta = figure.axes
    assert errors.get_xlabel() == "forecast MSE" and errors.get_xscale() == "log"
    assert errors.get_xlim()[0] == pytest.approx(0.1)
    assert [bar.get_width() for bar in errors.patches][::2] == [0.5, 2.0]
    assert errors.texts[0].get_text() == "failed" and not theta.texts
    assert [label.get_text() for label in errors.get_yticklabels()] == ["vgbdm", "node", "oracle"]
    colours = [bar.get_facecolor() for bar in errors.patches]
    assert colours[0] == colours[1] != colours[2]
    alone = figures.bars(summary.assign(theta_error=np.nan), ["a", "b", "c"], [])
    assert len(alone.axes) == 1
