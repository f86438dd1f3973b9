"""The gallery: what its figures show, and that pages and pictures are those of one making."""

import io
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from system_fields import SYSTEMS, dataset

from climate.grids.area import Area
from climate.report.maps import Ground
from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation.calibration import rank_histogram
from physics_systems.evaluation.protocol import Forecasts
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.sets import EvaluationSet
from vgbdm.storage.files import read_json
from vgbdm.training.records import Training

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "benchmarks"))

import gallery  # noqa: E402
import gallery_figures as figures  # noqa: E402
import gallery_pages as pages  # noqa: E402
import gallery_runs as runs  # noqa: E402

IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]*_static/gallery/[^)]*)\)")
ALL_BYTES = 600_000
WINDOW = 10

# --- pages and pictures -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told():
    return read_json(pages.FOLDER / pages.TOLD)


def shown():
    """Page, alt text and file of every figure of the gallery that a page shows."""
    return [
        (page, alt, (page.parent / place).resolve())
        for page in pages.pages()
        for alt, place in IMAGE.findall(page.read_text())
    ]


def test_every_figure_is_there_is_told_of_and_is_shown(told):
    files = {(pages.FOLDER / own["file"]).resolve() for own in told["figures"].values()}
    assert {file for _, _, file in shown()} == files
    assert {path.resolve() for path in pages.FOLDER.glob("*.webp")} == files
    assert told["figures"].keys() == pages.WORDS.keys()
    assert all(len(alt) > 40 for _, alt, _ in shown())


def test_figures_are_small(told):
    sizes = [(pages.FOLDER / own["file"]).stat().st_size for own in told["figures"].values()]
    assert max(sizes) <= gallery.MOST_BYTES and sum(sizes) <= ALL_BYTES


def test_pages_say_of_figures_what_was_measured(told):
    marked = 0
    for page in pages.pages():
        text = page.read_text()
        for name in pages.MARK.findall(text):
            said = pages.image(name, told, page)
            assert f"<!-- gallery {name} -->\n{said}\n<!-- end of gallery {name} -->" in text
            marked += 1
    assert marked >= len(told["figures"])


def test_the_readme_says_what_made_its_figure_and_on_what():
    numbers = {"weather": {"variable": "wind", "hours": 6, "standin": True, "title": "t"},
               "lorenz": {"members": 3, "n": 5, "train_seconds": 1.4}, "readme": {}}  # fmt: skip
    made = {"command": "python x", "commit": "abc", "date": "2026-01-02", "machine": "a core"}
    made["figures"] = {
        name: {"file": f"{name}.webp", "numbers": own} for name, own in numbers.items()
    }
    text = pages.image("readme", made, pages.REPO / "README.md")
    assert "(docs/_static/gallery/readme.webp)" in text and "made-up atmosphere" in text
    assert "`python x`, the script of `make gallery`, at abc on 2026-01-02, a core" in text
    numbers["weather"]["standin"] = False
    elsewhere = pages.image("readme", made, pages.REPO / "docs" / "howto" / "a.md")
    assert "(../_static/gallery/readme.webp)" in elsewhere and "made-up" not in elsewhere
    assert "make gallery" not in elsewhere


def test_what_is_written_replaces_what_was_there(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGBA", (40, 20), (255, 0, 0, 255)).save(buffer, "PNG")
    (tmp_path / "old.webp").write_bytes(b"old")
    one = gallery.Made("paths", buffer.getvalue(), {"gap": 0.5})
    said = gallery.write(iter([one]), tmp_path, "python y")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery.json", "paths.webp"]
    assert read_json(tmp_path / "gallery.json") == said
    assert said["figures"] == {"paths": {"file": "paths.webp", "numbers": {"gap": 0.5}}}
    assert Image.open(tmp_path / "paths.webp").getpixel((5, 5)) == (255, 0, 0)


def test_a_picture_that_is_too_large_loses_quality_or_is_refused(monkeypatch):
    noise = np.random.default_rng(1).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    without_loss = len(gallery.small(buffer.getvalue()))
    monkeypatch.setattr(gallery, "MOST_BYTES", 150_000 if without_loss > 150_000 else 100_000)
    assert len(gallery.small(buffer.getvalue())) <= gallery.MOST_BYTES
    monkeypatch.setattr(gallery, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="1000 are allowed"):
        gallery.small(buffer.getvalue())


def test_an_option_that_is_none_is_refused():
    assert gallery.main(["minuets=1"]).startswith("minuets: no such option")


# --- figures ------------------------------------------------------------------------------------


def scored(name, count=5, members=19):
    """A system's test trajectories, and forecasts of them that are off by a little."""
    physics, made = SYSTEMS[name], dataset(name, count)
    x, t = torch.from_numpy(made["x"].values), torch.from_numpy(made["t"].values)
    truth = {
        str(p): torch.from_numpy(made["params"].sel(param=p).values) for p in made["param"].values
    }
    draws = torch.Generator().manual_seed(1)
    ahead, theta = x[:, WINDOW:], torch.stack([truth[p] for p in physics.prior], 1)
    noise = torch.randn((members, *ahead.shape), generator=draws)
    around = theta + 0.1 * torch.randn((members, *theta.shape), generator=draws)
    shown = (4, 2, 0)
    said = Forecasts(ahead + 0.1, theta + 0.01, (ahead + noise)[:, list(shown)], around)
    row = Row({}, np.arange(count)[::-1] + 0.5, said, None, shown)
    return physics, EvaluationSet(Trajectories(x, t), None, truth), row


def axes_of(figure):
    return [axis for part in (figure, *figure.subfigs) for axis in part.axes]


def test_the_figure_of_the_readme_has_maps_beside_every_member():
    area = Area(
        np.array([-45.0, 45.0]), np.array([0.0, 90.0, 180.0]), slice(None), slice(None), True
    )
    ground = Ground(area, None, "K")
    fields = np.array([[280.0, 281, 282], [283, 284, 285]])
    weather = figures.Weather("warmth", 24, fields + 2, fields, ground)
    times, truth = np.arange(6.0), np.arange(18.0).reshape(6, 3)
    ensemble = figures.Ensemble("XYZ", times, truth, truth[None, 2:] + np.zeros((7, 1, 1)))
    figure = figures.readme(weather, ensemble)
    left, right = figure.subfigs
    maps = {a.get_title(): a.collections[0] for a in left.axes if a.get_title()}
    assert list(maps) == ["warmth, forecast 24 h ahead", "truth", "error (forecast - truth)"]
    ahead, true, error = maps.values()
    assert ahead.get_clim() == true.get_clim() and error.get_clim() == (-2, 2)
    np.testing.assert_array_equal(np.ravel(error.get_array()), 2)
    for axis, name in zip(right.axes, "XYZ", strict=True):
        assert axis.get_ylabel() == name
        labels = [line.get_label() for line in axis.lines]
        assert labels.count("7 members") == 1 and len(axis.lines) == 7 + 3
        given = axis.lines[labels.index("frames given")]
        np.testing.assert_array_equal(given.get_xdata(), [0, 1])


@pytest.mark.parametrize("name", ["rlc", "pendulum", "lorenz"])
def test_lines_show_the_median_and_the_worst_and_every_parameter(name):
    physics, test, row = scored(name)
    left, right = figures.system(physics, test, row, WINDOW).subfigs
    assert len(left.axes) == 2 * len(physics.components)
    assert [a.get_title() for a in left.axes[:2]] == ["median, MSE 2.5", "worst, MSE 4.5"]
    for column, place in ((0, 2), (1, 0)):
        truth = left.axes[column].lines[0].get_ydata()
        np.testing.assert_array_equal(truth, test.data.x[place, :, 0].numpy())
    for axis in left.axes:
        low, high = axis.get_ylim()
        truth = axis.lines[0].get_ydata()
        assert low < truth.min() and truth.max() < high
    assert [a.get_xlabel() for a in right.axes] == [f"true {p}" for p in physics.prior]


def test_fields_show_the_median_with_its_spread():
    physics, test, row = scored("reaction_diffusion")
    top, below = figures.system(physics, test, row, WINDOW).subfigs
    pictures = {a.get_title(): a.images[0].get_array() for a in top.axes if a.get_title()}
    assert list(pictures) == [
        f"{c}, {what}" for c in "UV" for what in ("forecast", "truth", "error", "spread")
    ]
    np.testing.assert_array_equal(pictures["V, truth"], test.data.x[2, -1, 1].numpy())
    spread = row.forecasts.members[:, 1, -1, 0].std(0).numpy()
    np.testing.assert_array_equal(pictures["U, spread"], spread)
    assert [a.get_xlabel() for a in below.axes] == ["true a", "true b"]


def test_paths_go_through_their_frames_and_better_ones_know_rates_better():
    found = runs.paths_of()
    at = np.isin(found.times, found.frame_times)
    assert at.sum() == len(found.frames) > 5
    for name in ("linear", "lagrange3", "hermite"):
        np.testing.assert_allclose(found.curves[name].state[at], found.frames, atol=1e-9)
    errors = runs.rate_errors(found)
    assert errors["hermite"] < errors["lagrange3"] < errors["linear"] < errors["bridge"]
    assert found.curves["bridge"].scattered and not found.curves["linear"].scattered
    left, right = figures.paths(found).axes
    names = [line.get_label() for line in left.lines]
    assert names == ["linear", "lagrange3", "hermite", "bridge", "truth", "frames"]
    np.testing.assert_array_equal(right.lines[2].get_ydata(), found.curves["hermite"].rate)


def test_the_figure_of_lambda_marks_the_chosen_one_and_what_the_rule_allows():
    table = pd.DataFrame({
        "gauge": [0.0, 0.01, 0.1], "ratio": [1.0, 1.02, 3.0],
        "theta_error_L": [0.9, 0.2, 0.5], "theta_error_C": [0.5, 0.1, 0.3],
    })  # fmt: skip
    left, right = figures.gauge(table, 0.01, 0.05).axes
    chosen = [line for line in left.lines if line.get_label() == "chosen λ"]
    np.testing.assert_array_equal(chosen[0].get_xdata(), [1, 1])
    assert [text.get_text() for text in left.get_xticklabels()] == ["0", "0.01", "0.1"]
    (allowed,) = left.patches
    assert allowed.get_y() + allowed.get_height() == pytest.approx(1.05)
    assert [line.get_label() for line in right.lines[:2]] == ["error of L", "error of C"]


def test_calibration_shows_ranks_of_each_parameter_beside_coverage():
    ranks = np.arange(40)[None] % 20
    histograms = {name: rank_histogram(ranks, 19) for name in ("sigma", "beta")}
    curves = {"θ": (np.array([0.5, 0.9]), np.array([0.4, 0.8]))}
    axes = figures.calibration(histograms, curves).axes
    assert [a.get_xlabel() for a in axes[:2]] == ["rank of sigma", "rank of beta"]
    assert axes[2].lines[1].get_label() == "θ"


# --- what is shown ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A weather demo, but for its run: forecasts that are one unit too high."""
    from builders import make_store
    from forecasters import Oracle

    from climate.forecasts.reading import open_forecast
    from climate.forecasts.writing import write_forecast
    from climate.verification.scorecard import score

    base = tmp_path_factory.mktemp("demo")
    store = make_store(base, ("z", "t2m", "u10", "v10"))
    lead = np.timedelta64(24 * 3600, "s")
    write_forecast(Oracle(store, 1.0), store, base / "forecast", lead=lead)
    score(open_forecast(base / "forecast", store), store).write(base / "scores")
    return base


@pytest.fixture
def as_trained(monkeypatch):
    """Nothing was trained for the weather demo."""
    monkeypatch.setattr(runs, "training_of", lambda run: Training(12, 3.5, 12, 3.5))


def test_weather_is_shown_a_day_ahead_with_its_scores(demo, as_trained):
    weather, numbers = runs.weather_of(demo)
    assert (weather.name, weather.hours) == ("temperature at 2 m", 24)
    np.testing.assert_allclose(weather.forecast - weather.truth, 1, atol=1e-3)
    assert numbers["rmse"]["model"] == pytest.approx(1, abs=1e-3)
    assert numbers["rmse"]["persistence"] > 1
    assert numbers["steps"] == 12
    assert not numbers["standin"] and numbers["units"] == "K"


@pytest.mark.slow
def test_the_gallery_is_made_whole(demo, as_trained, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "LAMBDAS", (0.0, 0.01))
    out, folder = tmp_path / "out", tmp_path / "runs"
    told = [f"weather={demo}", f"runs={folder}", f"out={out}", "pages=false"]
    assert gallery.main([*told, "minutes=0.005", "trajectories=40", "steps=4"]) is None
    made = read_json(out / pages.TOLD)
    assert made["figures"].keys() == pages.WORDS.keys()
    for name, own in made["figures"].items():
        assert Image.open(out / own["file"]).width > 800
        assert "{" not in pages.image(name, made, REPO / "docs" / "gallery.md", out)
    assert made["figures"]["gauge"]["numbers"]["steps"] == 4
    assert len([*folder.rglob("best.json")]) == len(runs.SYSTEMS) + 2
