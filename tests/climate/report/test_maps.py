"""Maps: their colours and scales, degrees along them, arrows, and what moves."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from climate.grids.area import Area
from climate.report import maps
from climate.report.maps import Ground, Panel

LAT, LON = np.linspace(-20, 40, 7), np.array([350.0, 355.0, 0.0, 5.0])
AREA = Area(LAT, LON, np.arange(7), np.arange(4), False)


@pytest.fixture
def unrendered(monkeypatch):
    """Figures as they are made; to find a place for their words takes a second each."""
    monkeypatch.setattr(maps, "draw", lambda make: make())
    monkeypatch.setattr(maps.Figure, "tight_layout", lambda self: None)


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("land", [True, False])
def test_maps_of_states_share_a_scale_and_others_have_their_own(unrendered, land):
    drawn = numbers(4, 7, 4) + np.array([9, 9, 0, 0])[:, None, None]
    drawn[0, 2, 1] = np.nan
    kinds = ("state", "state", "difference", "spread")
    panels = [
        Panel(f"map {k}", (k + 1) * field, kind)
        for k, (field, kind) in enumerate(zip(drawn, kinds, strict=True))
    ]
    coast = (drawn[1] > 9).astype(float) if land else None
    figure = maps.maps(panels, Ground(AREA, coast, "m s**-1"))
    axes, bars = figure.axes[:4], figure.axes[4:]
    assert figure.get_size_inches().tolist() == pytest.approx([11.4, 7.2]) and len(bars) == 4
    low, high = np.nanpercentile(np.stack((drawn[0], 2 * drawn[1])), [1, 99])
    third, fourth = np.abs(3 * drawn[2]).max(), np.abs(4 * drawn[3]).max()
    scales = [(low, high), (low, high), (-third, third), (0, fourth)]
    for axis, panel, scale in zip(axes, panels, scales, strict=True):
        mesh = axis.collections[0]
        shown = np.ma.filled(mesh.get_array(), np.nan).reshape(7, 4)
        assert np.array_equal(shown, panel.field, equal_nan=True)
        assert mesh.get_clim() == pytest.approx(scale)
        edges = mesh.get_coordinates()[0, :, 0]
        assert np.allclose((edges[1:] + edges[:-1]) / 2, [350, 355, 360, 365])
        assert axis.get_title() == panel.title and (len(axis.collections) > 1) == land
    assert {bar.get_ylabel() for bar in bars} == {"m s⁻¹"}


def test_what_has_both_signs_is_coloured_about_zero():
    winds = np.linspace(-10, 30, 4001)
    scale = maps.scale_of(winds, "m s-1")
    assert (scale["vmin"], scale["vmax"]) == pytest.approx((-29.6, 29.6))
    heights = maps.scale_of(winds + 9, "m2 s-2")  # hardly below 0
    assert heights["vmin"] == pytest.approx(-0.6) and heights["cmap"] != scale["cmap"]
    assert maps.scale_of(winds, "degC")["vmin"] == pytest.approx(-9.6)


def test_a_colour_bar_has_an_arrow_where_values_go_on():
    field = np.array([[np.nan, -1.0, 3.0]])
    ends = itertools.product((-1.0, 0.0), (3.0, 2.0))
    assert [maps.clipped(field, *pair) for pair in ends] == ["neither", "max", "min", "both"]


def test_degrees_have_a_side():
    assert [maps.meridian(d) for d in (0, 30, 180, 270, 365, -60)] == [
        "0°", "30° E", "180°", "90° W", "5° E", "60° W",
    ]  # fmt: skip
    assert [maps.parallel(d) for d in (-45.5, 0, 90)] == ["45.5° S", "0°", "90° N"]


def test_stamps_are_the_mean_the_truth_and_members_on_one_scale(unrendered):
    truth, members = numbers(7, 4), numbers(16, 7, 4)
    figure = maps.stamps(truth, members, Ground(AREA, None, "K"))
    *axes, bar = figure.axes
    assert [a.get_title() for a in axes] == ["mean", "truth", *(f"member {m}" for m in range(10))]
    for axis, want in zip(axes, [members.mean(0), truth, *members], strict=False):
        assert np.allclose(axis.collections[0].get_array().reshape(7, 4), want)
    assert len({axis.collections[0].get_clim() for axis in axes}) == 1 and bar.get_ylabel() == "K"
    few = maps.stamps(truth, members[:3], Ground(AREA, None, "K"))
    assert len(few.axes) == 5 + 1


def test_an_animation_has_a_frame_for_each_lead():
    fields = numbers(3, 7, 4)
    moving = maps.animation(fields, fields, ["6 h", "12 h", "18 h"], Ground(AREA, None, "K"))
    opened = Image.open(io.BytesIO(moving))
    assert (opened.format, opened.n_frames, opened.size) == ("WEBP", 3, (1066, 312))


def test_an_animation_is_made_small_enough(monkeypatch):
    noise = [
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (64, 64, 3), dtype=np.uint8))
        for k in range(8)
    ]
    whole = maps._smallest(noise)
    for share in (0.5, 0.05):
        monkeypatch.setattr(maps, "MOST_BYTES", int(share * len(whole)))
        made = maps._smallest(noise)
        assert len(made) <= maps.MOST_BYTES or Image.open(io.BytesIO(made)).n_frames == 1


def test_a_thinned_ground_keeps_each_how_many_th_point():
    few = Ground(AREA, numbers(7, 4), "K").thinned(2)
    assert few.area.lat.tolist() == [-20, 0, 20, 40] and few.lon.tolist() == [350, 360]
    assert few.land.shape == (4, 2)
