"""Regions driven from outside: the halo is what is known, and the box feels it by the model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from weather import make_latents, make_model, shake

from climate.api import forecast as forecast_in_memory
from climate.forecasts.access import GIVEN_TRUTH
from climate.forecasts.forecasting import SELF, Forecasting, Settings
from climate.forecasts.reading import open_forecast
from climate.forecasts.starts import from_store
from climate.forecasts.truth import open_for_forecast
from climate.forecasts.writing import make_forecast, write_forecast
from climate.grids.regions import parse_region
from climate.models.domain import Domain
from climate.report.pages import write_report
from climate.store.crop import crop
from climate.stream.views import open_for_model
from climate.verification.comparison import compare
from climate.verification.scorecard import score
from vgbdm.errors import InputError

SIX = np.timedelta64(6 * 3600, "s")
BOX = parse_region([-35, 50, 340, 60], 2)
"""11 × 11 points of the grid of 11.25° with its halo."""
START = "2016-01-17T06"


def model_of(store, region, **options):
    """A model whose last layers are not those of its start."""
    if region:
        store = crop(store, region)
    domain = Domain.from_store(store, SIX, [("u10", "v10")], history=3)
    model = make_model(alter=lambda _: domain, **options)
    shake(model)
    return model.eval()


@pytest.fixture(scope="module")
def model(fine_store):
    return model_of(fine_store, BOX)


@pytest.fixture(scope="module")
def view(fine_store, model):
    return open_for_model(fine_store.path, model)


@pytest.fixture(scope="module")
def around(fine_store, tmp_path_factory):
    """A forecast of the globe by another model."""
    out = tmp_path_factory.mktemp("globe") / "forecast"
    globe = model_of(fine_store, None, physics=False)
    write_forecast(globe, open_for_model(fine_store.path, globe), out, lead=4 * SIX)
    return out


def steps(model, view, boundary=None, count=3):
    """(1, count, C, H, W) of a forecast, with its halo."""
    at = int(np.searchsorted(view.times, np.datetime64(START)))
    window = torch.from_numpy(view.read(at - 3, at + 1)[None])
    times = torch.from_numpy(view.times[at : at + 1].astype(np.int64))
    made = model.forecast_steps(window, times, count, boundary=boundary)
    return torch.stack([x[:, 0] for x in made], 1)


def later(view, count=3):
    at = int(np.searchsorted(view.times, np.datetime64(START)))
    return torch.from_numpy(view.read(at + 1, at + 1 + count))


def given(states):
    """A lead at a time, (1, 1, C, H, W)."""
    return (x[None, None] for x in states)


def test_the_halo_is_that_of_the_truth_at_each_lead(model, view):
    made, truth = steps(model, view, given(later(view)))[0], later(view)
    halo = model.halo.bool()
    assert halo.sum() == 121 - 49 and not view.without_halo(halo).any()
    torch.testing.assert_close(made[..., halo], truth[..., halo], rtol=1e-5, atol=1e-4)
    assert (view.without_halo(made - truth).abs().amax((-1, -2)) > 0.1).all()
    own = steps(model, view)[0]
    assert (made - own)[..., halo].abs().amax(-1).min() > 0.1


def test_the_box_knows_of_the_outside_by_the_halo_alone(model, view):
    truth = later(view)
    inside, outside = truth.clone(), truth.clone()
    inside[..., ~model.halo.bool()] *= 2.0
    outside[1:, 0, 0, 0] += 100.0
    made, same, other = (steps(model, view, given(x))[0] for x in (truth, inside, outside))
    assert torch.equal(made, same)
    box = view.without_halo(made != other)
    assert not box[0].any() and box[1:].any((-1, -2)).all()


def test_without_a_boundary_nothing_is_asked_and_nothing_said(model, view):
    initial = from_store(view, model, 0, starts=START)
    made = make_forecast(model, initial, Settings(3 * SIX))
    own = view.without_halo(steps(model, view))
    assert np.array_equal(made["u10"].values, own[:, :, 1].numpy())
    assert not {"boundary", "boundary_digest", GIVEN_TRUTH} & set(made.attrs)
    assert Settings(SIX).boundary == SELF
    assert Forecasting(model, initial, Settings(SIX)).sealed == {"store": view.digest}


def test_a_store_and_a_forecast_drive_the_written_forecast(model, view, fine_store, around):
    initial = from_store(view, model, 0, starts=START)
    own, by_truth, by_globe = (
        make_forecast(model, initial, Settings(3 * SIX, boundary=source))
        for source in (SELF, fine_store.path, around)
    )
    want = view.without_halo(steps(model, view, given(later(view))))
    assert np.array_equal(by_truth["z"].values, want[:, :, 0].numpy())
    globe = xr.open_zarr(around, consolidated=False).sel(time=START)
    area = globe.isel(lat=slice(3, 14), lon=[29, 30, 31, *range(8)])
    states = np.stack([area[name].values for name in view.channels], 1)[:3]
    want = view.without_halo(steps(model, view, given(torch.from_numpy(states))))
    assert np.array_equal(by_globe["z"].values, want[:, :, 0].numpy())
    assert not np.array_equal(own["z"], by_truth["z"])
    assert by_truth.attrs[GIVEN_TRUTH].startswith("boundary: states of a store")
    assert by_globe.attrs["boundary"] == "forecast (BlackBox of vgbdm) from the same starts"
    assert GIVEN_TRUTH not in by_globe.attrs


def test_python_takes_a_boundary_from_memory_too(model, view, fine_store, around):
    initial = from_store(view, model, 0, starts=START)
    want = make_forecast(model, initial, Settings(3 * SIX, boundary=around))
    with xr.open_zarr(around, consolidated=False) as globe:
        made = forecast_in_memory(
            model, fine_store.path, start=START, leads="18h", boundary=globe.load()
        )
    assert np.array_equal(made["z"], want["z"]) and not np.array_equal(made["z"], want["u10"])


def test_members_are_driven_alike_or_by_the_member_of_their_number(view, fine_store, around):
    model = model_of(fine_store, BOX, latents=make_latents())
    initial = from_store(view, model, 0, starts=START)

    def made(source, batch=3):
        settings = Settings(2 * SIX, members=3, batch=batch, boundary=source)
        return make_forecast(model, initial, settings)["z"].values

    with xr.open_zarr(around, consolidated=False) as globe:
        globe = globe.sel(time=[START]).load()
    one = made(globe)
    np.testing.assert_allclose(one, made(globe, 2), rtol=1e-3, atol=1e-4)
    shift = xr.DataArray([0.0, 50.0, 0.0], dims="realization")
    ensemble = (globe + shift).transpose("time", "realization", ...).astype(np.float32)
    ensemble = ensemble.assign(
        {n: ensemble[n].assign_attrs(globe[n].attrs) for n in ("z", "u10", "v10")}
    )
    many = made(ensemble)
    np.testing.assert_allclose(many, made(ensemble, 2), rtol=1e-3, atol=1e-4)
    assert np.array_equal(one[:, [0, 2]], many[:, [0, 2]])
    assert not np.array_equal(one[:, 1], many[:, 1])


def test_the_file_says_what_drove_it_and_goes_on_with_that_alone(
    model, view, fine_store, around, tmp_path, monkeypatch
):
    options = {"lead": 2 * SIX, "batch": 4}
    write_forecast(model, view, tmp_path / "whole", boundary=around, **options)
    manifest = json.loads((tmp_path / "whole/manifest.json").read_text())
    digest = json.loads((around / "manifest.json").read_text())
    assert manifest["store"] == fine_store.digest and manifest["boundary"] != digest["digest"]
    assert len(manifest["boundary"]) == 64
    stopped, count = model.forecast_steps, []

    def dies(*given, **named):
        count.append(1)
        if len(count) == 3:
            raise OSError("killed")
        return stopped(*given, **named)

    monkeypatch.setattr(model, "forecast_steps", dies)
    with pytest.raises(OSError, match="killed"):
        write_forecast(model, view, tmp_path / "part", boundary=around, **options)
    monkeypatch.undo()
    for other in (SELF, fine_store.path):
        with pytest.raises(InputError, match="other model or settings, states was begun"):
            write_forecast(model, view, tmp_path / "part", boundary=other, resume=True, **options)
    write_forecast(model, view, tmp_path / "part", boundary=around, resume=True, **options)
    whole, part = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "whole", tmp_path / "part")
    )
    assert whole == part


def test_scores_and_report_say_what_was_given_and_both_compare(
    model, view, fine_store, around, tmp_path
):
    made = {"self": SELF, "truth": fine_store.path, "globe": around}
    for name, source in made.items():
        write_forecast(model, view, tmp_path / name, lead=2 * SIX, boundary=source)
    truth = open_for_forecast(fine_store.path, tmp_path / "self")
    own, hindcast, driven = (open_forecast(tmp_path / name, truth) for name in made)
    result = score(hindcast, truth)
    assert result.rules["given_truth"].endswith("published ones")
    page = write_report(result, hindcast, truth, tmp_path, None).read_text()
    assert "Given of the truth: boundary: states of a store" in page
    rules = score(driven, truth).rules
    assert "given_truth" not in rules and rules["boundary"].startswith("forecast (BlackBox")
    assert not {"boundary", "given_truth"} & set(score(own, truth).rules)
    table = compare(own, hindcast, truth).table
    first = table[(table["score"] == "rmse_root_of_mean") & (table["lead_hours"] == 12)]
    assert (first["difference"] != 0).all()


@pytest.mark.parametrize(
    ("region", "leads", "words"),
    [
        (None, 2, "region.boundary: the model sees the globe, which has no boundary"),
        (BOX, 5, r"region.boundary=.*forecast: holds no forecast from .* with leads of 6 h to 24"),
        (replace(BOX, north=62.0, halo=2), 2, "does not hold the points of the model's"),
    ],
)
def test_what_cannot_drive_is_refused_before_anything_is_made(
    fine_store, around, tmp_path, region, leads, words
):
    model = model_of(fine_store, region)
    view = open_for_model(fine_store.path, model)
    source = around
    if region and region != BOX:
        with xr.open_zarr(around, consolidated=False) as globe:
            source = globe.isel(lat=slice(3, 14)).load()
    with pytest.raises(InputError, match=words) as refused:
        write_forecast(model, view, tmp_path / "out", lead=leads * SIX, boundary=source)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())
