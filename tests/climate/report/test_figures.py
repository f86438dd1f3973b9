"""Pictures of the report: what stands where, in which unit, at which leads."""

import numpy as np
import pandas as pd
import pytest

from climate.report import figures, panels
from climate.report.panels import COLOURS

UNITS = {"z": "m2 s-2", "t2m": "K"}
SHOWN = {"z": "z (m² s⁻²)", "t2m": "t2m (K)"}
LEADS = [6, 12, 18, 24, 48]
SCORES = [*figures.SCORE_LABELS, "spread_skill"]


@pytest.fixture(autouse=True)
def unrendered(monkeypatch):
    """Figures as they are made; to find a place for their words takes a second each."""
    monkeypatch.setattr(figures, "draw", lambda make: make())
    monkeypatch.setattr(figures.Figure, "tight_layout", lambda self: None)


def size_of(figure):
    return figure.get_size_inches().tolist()


def grid_of(figure, rows, columns):
    assert len(figure.axes) == rows * columns
    return np.array(figure.axes).reshape(rows, columns)


def band_of(axis, which=-1):
    """Lower and upper edge of a shaded band, from left to right."""
    corners = axis.collections[which].get_paths()[0].vertices
    ends = [corners[corners[:, 0] == x, 1] for x in np.unique(corners[:, 0])]
    return np.array([(y.min(), y.max()) for y in ends]).T


def scorecard(spread=True):
    """Two variables, two rows; climatology has no CRPS."""
    rows = []
    for v, variable in enumerate(UNITS):
        for r, row in enumerate(("model", "climatology")):
            for k, lead in enumerate(LEADS):
                values = {name: 1.0 + v + 10 * r + k + s for s, name in enumerate(SCORES)}
                if not spread or row != "model":
                    values["spread_skill"] = np.nan
                if row != "model":
                    values["crps"] = np.nan
                low = {f"{name}_low": value - 0.25 for name, value in values.items()}
                high = {f"{name}_high": value + 0.5 for name, value in values.items()}
                told = {"variable": variable, "row": row, "lead_hours": lead}
                rows.append(told | values | low | high)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("score", figures.SCORE_LABELS)
def test_a_score_stands_over_its_leads_with_its_intervals(score):
    card = scorecard()
    figure = figures.score_curves(card, score, UNITS)
    axes = grid_of(figure, 1, 2)[0]
    assert size_of(figure) == pytest.approx([6.6, 2.5])
    rows = ["model"] if score == "crps" else ["model", "climatology"]
    for v, variable in enumerate(UNITS):
        axis = axes[v]
        assert axis.get_title() == (variable if score == "acc" else SHOWN[variable])
        assert axis.get_xlabel() == "lead time (h)" and axis.get_xticks().tolist() == LEADS
        assert axis.get_ylabel() == (figures.SCORE_LABELS[score] if v == 0 else "")
        assert len(axis.collections) == len(rows)
        for k, row in enumerate(rows):
            block = card[(card["variable"] == variable) & (card["row"] == row)]
            line = axis.lines[k]
            assert line.get_xydata().tolist() == block[["lead_hours", score]].values.tolist()
            assert (line.get_color(), line.get_linestyle()) == (
                COLOURS[row],
                "-" if k == 0 else "--",
            )
            assert np.allclose(band_of(axis, k)[0], block[score] - 0.25)
            assert np.allclose(band_of(axis, k)[1], block[score] + 0.5)
        assert (axis.get_ylim()[0] == 0) == (score != "acc")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == rows


def test_spread_stands_beside_the_error_of_the_mean_of_each_ensemble():
    card = scorecard()
    dressed = card[card["row"] == "model"].assign(row="model_dressed", spread_skill=0.5)
    card, rows = pd.concat([card, dressed]), ["model", "model_dressed"]
    figure = figures.spread_and_skill(card, UNITS)
    for axis, variable in zip(grid_of(figure, 1, 2)[0], UNITS, strict=True):
        assert len(axis.lines) == 4 and axis.get_ylim()[0] == 0
        for row, error, spread in zip(rows, axis.lines[::2], axis.lines[1::2], strict=True):
            own = card[(card["variable"] == variable) & (card["row"] == row)]
            assert error.get_ydata().tolist() == own["rmse_root_of_mean"].tolist()
            want = own["rmse_root_of_mean"] * own["spread_skill"]
            assert np.allclose(spread.get_ydata(), want) and axis.get_ylim()[1] > want.max()
            looks = [(line.get_color(), line.get_linestyle()) for line in (error, spread)]
            assert looks == [(COLOURS[row], "-"), (COLOURS[row], "--")]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "model, RMSE", "model, spread", "model dressed, RMSE", "model dressed, spread",
    ]  # fmt: skip


def test_rows_that_have_no_colour_get_different_ones():
    rows = ["model", "gbdm", "node", "climatology"]
    found = [panels.colour(row, rows) for row in rows]
    assert len(set(found)) == 4 and found[0] == COLOURS["model"]


def test_no_more_than_three_panels_stand_beside_each_other():
    figure, axes = panels.grid(5, 2.0)
    assert size_of(figure) == pytest.approx([9.9, 4.0]) and len(figure.axes) == len(axes) == 5


def test_many_leads_have_a_mark_each_few():
    card = scorecard().iloc[[0] * 40].assign(lead_hours=6 * np.arange(1, 41))
    figure = figures.score_curves(card, "acc", UNITS)
    assert figure.axes[-1].get_xticks().tolist() == [6, 36, 66, 96, 126, 156, 186, 216]


def test_differences_stand_over_their_leads_with_their_intervals():
    shown = ("rmse_root_of_mean", "crps", "acc")
    rows = [
        (variable, score, lead, 1.0 * v - s + k, 0.5 * v - s + k, 2.0 * v - s + k + 1)
        for v, variable in enumerate(UNITS)
        for s, score in enumerate(shown)
        for k, lead in enumerate(LEADS)
    ]
    columns = ["variable", "score", "lead_hours", "difference", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    for score in shown:
        figure = figures.difference_curves(table, score, UNITS)
        assert size_of(figure) == pytest.approx([6.6, 2.4])
        for v, (variable, axis) in enumerate(zip(UNITS, figure.axes, strict=True)):
            assert axis.get_title() == (variable if score == "acc" else SHOWN[variable])
            none, line = axis.lines
            chosen = table[(table["variable"] == variable) & (table["score"] == score)]
            assert set(none.get_ydata()) == {0}
            assert line.get_xdata().tolist() == LEADS
            assert line.get_ydata().tolist() == chosen["difference"].tolist()
            assert band_of(axis).tolist() == [chosen["low"].tolist(), chosen["high"].tolist()]
            label = f"a - b, {figures.SCORE_LABELS[score]}"
            assert axis.get_ylabel() == (label if v == 0 else "")


@pytest.mark.parametrize(
    ("leads", "shown"), [([6], [6]), ([12, 6], [6, 12]), (LEADS, [6, 18, 48]), ([1, 2, 3, 4], None)]
)
def test_the_first_the_middle_and_the_last_lead_are_drawn(leads, shown):
    found = panels.some_leads(leads * 3)
    assert found == shown if shown else (found[0], found[-1], len(found)) == (1, 4, 3)


def test_spectra_stand_over_the_wavenumber_without_the_mean():
    rows = [
        (variable, lead, row, wave, (1.0 + v) * 10.0 ** (3 - wave + r) + lead)
        for v, variable in enumerate(UNITS)
        for lead in LEADS[:2]
        for r, row in enumerate(("truth", "model", "climatology"))
        for wave in range(5)
    ]
    table = pd.DataFrame(rows, columns=["variable", "lead_hours", "row", "wavenumber", "power"])
    figure = figures.spectra(table, UNITS)
    axes = grid_of(figure, 2, 2)
    assert size_of(figure) == pytest.approx([6.6, 5.2])
    for v, (variable, unit) in enumerate({"z": "(m² s⁻²)²", "t2m": "(K)²"}.items()):
        for k, lead in enumerate(LEADS[:2]):
            axis = axes[v, k]
            assert axis.get_title() == f"{variable}, {lead} h"
            assert axis.get_xlabel() == "zonal wavenumber"
            assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "2", "3"]
            assert axis.get_ylabel() == (f"power, {unit}" if k == 0 else "")
            assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
            for r, (row, dash) in enumerate((("truth", "--"), ("model", "-"))):
                line = axis.lines[r]
                power = [(1.0 + v) * 10.0 ** (3 - wave + r) + lead for wave in range(1, 5)]
                assert line.get_xdata().tolist() == [1, 2, 3, 4]
                assert line.get_ydata().tolist() == power
                assert (line.get_color(), line.get_linestyle()) == (COLOURS[row], dash)
            assert len(axis.lines) == 2
            top, least = (1.0 + v) * 100.0 + lead, (1.0 + v) * 0.1 + lead
            assert axis.get_ylim() == pytest.approx((least / 2, top * 3))


def test_shares_of_ranks_are_told_by_the_even_share():
    shares = {
        "z": {"model": [0.3, 0.1, 0.1, 0.5], "model_dressed": [0.25] * 4},
        "t2m": {"model": [0.25] * 4, "model_dressed": [0.1, 0.4, 0.4, 0.1]},
    }
    rows = [
        (row, name, lead, rank, share * (1 if lead == 6 else 2))
        for name, told in shares.items()
        for row, of_row in told.items()
        for lead in (6, 12)
        for rank, share in enumerate(of_row)
    ]
    table = pd.DataFrame(rows, columns=["row", "variable", "lead_hours", "rank", "share"])
    figure = figures.rank_histograms(table)
    axes = grid_of(figure, 2, 2)
    assert size_of(figure) == pytest.approx([6.6, 4.2])
    words = {"z": "model: too narrow, too low", "t2m": "model dressed: too wide"}
    for v, (name, told) in enumerate(shares.items()):
        for k, lead in enumerate((6, 12)):
            bars = axes[v, k].patches
            assert [bar.get_height() for bar in bars] == pytest.approx(
                [4 * (k + 1) * share for of_row in told.values() for share in of_row]
            )
            first, second = bars[:4], bars[4:]
            for rank, (left, right) in enumerate(zip(first, second, strict=True)):
                assert left.get_x() + left.get_width() == pytest.approx(rank)
                assert right.get_x() == pytest.approx(rank)
            assert set(axes[v, k].lines[0].get_ydata()) == {1}
            assert axes[v, k].get_title() == f"{name}, {lead} h\n{words[name]}"
            assert axes[v, k].get_xlabel() == "rank of the truth"
            assert axes[v, k].get_ylabel() == ("share ÷ even share" if k == 0 else "")


def write_logs(folder, loss, courant=None):
    steps = pd.DataFrame({"step": np.arange(1, len(loss) + 1), "loss": loss})
    if courant is not None:
        steps["courant"] = courant
    steps.to_csv(folder / "log.csv", index=False)
    scores = pd.DataFrame({"step": [0, 50, 100], "score": [3.0, 2.0, 1.5]})
    scores.to_csv(folder / "validation.csv", index=False)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, "log"), (-300.0, "linear")])
def test_losses_are_smoothed_over_a_fiftieth_of_the_run(tmp_path, shift, scale):
    loss = 200.0 - np.arange(150) + 10 * np.sin(np.arange(150)) + shift
    write_logs(tmp_path, loss)
    left, right = figures.training_curves(tmp_path).axes
    raw, smooth = left.lines
    assert np.allclose(raw.get_ydata(), loss) and raw.get_xdata().tolist() == list(range(1, 151))
    want = [loss[max(0, k - 2) : k + 1].mean() for k in range(150)]
    assert np.allclose(smooth.get_ydata(), want)
    assert left.get_yscale() == scale
    assert right.lines[0].get_xydata().tolist() == [[0, 3], [50, 2], [100, 1.5]]
    assert right.get_ylim()[0] == 0


def test_a_run_without_logs_has_no_curves(tmp_path):
    assert figures.training_curves(tmp_path) is None
    write_logs(tmp_path, [1.0, 2.0])
    assert len(figures.training_curves(tmp_path).axes) == 2
    assert figures.courant(tmp_path / "log.csv") is None
    (tmp_path / "validation.csv").unlink()
    assert figures.training_curves(tmp_path) is None
    write_logs(tmp_path, [1.0, 2.0], [0.5, 0.25])
    (axis,) = figures.courant(tmp_path / "log.csv").axes
    assert axis.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.25]]
    assert axis.get_ylim()[0] == 0
