"""Masked points count in no loss and no score, are 0 to every model, and NaN in its forecasts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from builders import LAT
from forecasters import Stepwise
from hydra import compose, initialize_config_dir
from refusals import refused
from runs import CONFIGS
from seas import LAND, make_sea_store, sea_dataset, sst

from climate.forecasts.writing import write_forecast
from climate.grids.regions import Region
from climate.models.domain import Domain
from climate.models.vectors import read_vectors
from climate.store.crop import crop
from climate.stream.batches import WeatherBatch, read_windows
from climate.training.run import build_model, train
from climate.training.validation import RolloutValidation
from vgbdm.objectives.rollouts import RolloutMatching
from vgbdm.registry.build import build, rebuild

SIX = np.timedelta64(6, "h")
VALUES = {
    "noise": 0.05, "gauge": 1e-2, "prior": 1e-3, "physics": 1.0, "beta_zeta": 1e-4,
    "beta_theta": 1e-4, "crps": 0.5, "horizon": 2,
}  # fmt: skip
SHORT = [
    "size=tiny", "backend=single", "batch=8", "trainer.total_steps=2", "trainer.validations=1",
    "validation.starts=2", "validation.lead=6h",
]  # fmt: skip
MODELS = {
    "gbdm": [], "bridge": ["path=bridge"], "blackbox": ["model=blackbox"],
    "vgbdm": ["model=vgbdm", "model.latents.points=24"],
    "climode": ["model=climode", "model.fit.degree=3", "model.truncation=3",
                "model.solver.substeps=2", "objective.ahead=1"],
}  # fmt: skip


@pytest.fixture(scope="module")
def sea(tmp_path_factory):
    return make_sea_store(tmp_path_factory.mktemp("sea") / "store")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same with sea everywhere."""
    dataset = sea_dataset(values=sst(land=np.zeros_like(LAND)))
    return make_sea_store(tmp_path_factory.mktemp("whole") / "store", dataset)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The same with other land."""
    dataset = sea_dataset(values=sst(land=np.roll(LAND, 3, 1)))
    return make_sea_store(tmp_path_factory.mktemp("elsewhere") / "store", dataset)


def config(kind="gbdm", run_dir="r", store="s", more=()):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        told = [f"store={store}", f"run_dir={run_dir}", *SHORT, *MODELS[kind], *more]
        return compose("train_era5", told)


def shaken(store, kind):
    """A model whose weights all matter."""
    field, described = build_model(config(kind), store)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return field.eval(), described


def windows(store, field, ahead=1):
    """A batch of 4 windows of training."""
    anchors = store.anchors("train", SIX, 3, ahead)[5:9]
    states = torch.from_numpy(read_windows(store, anchors, stride=1, history=3, ahead=ahead))
    times = torch.from_numpy(store.times[anchors].astype(np.int64))
    batch = WeatherBatch(states, times, torch.arange(4), torch.ones(4))
    if hasattr(field, "fit_wind"):
        with torch.no_grad():
            batch.aside = field.fit_wind(field.standardise(states[:, :4]))
    return batch


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
def test_losses_and_gradients_are_finite_and_ignore_masked_points(sea, kind):
    field, _ = shaken(sea, kind)
    objective, batch = build(config(kind).objective), windows(sea, field)
    assert torch.isnan(batch.states).any()
    terms = objective(field, batch, VALUES)
    terms["loss"].mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in field.parameters() if p.grad is not None)
    batch.states = torch.where(torch.isnan(batch.states), 1e4, batch.states)
    again = objective(field, batch, VALUES)
    assert terms.keys() == again.keys()
    assert all(torch.equal(terms[name], again[name]) for name in terms)


@pytest.mark.parametrize("kind", ["gbdm", "vgbdm"])
def test_tuning_by_rollout_ignores_masked_points(sea, kind):
    field, _ = shaken(sea, kind)
    batch, tuning = windows(sea, field, ahead=2), RolloutMatching(2, 0, None, 2)
    loss = tuning(field, batch, VALUES)["loss"]
    batch.states = torch.where(torch.isnan(batch.states), -1e4, batch.states)
    assert torch.isfinite(loss).all()
    assert torch.equal(tuning(field, batch, VALUES)["loss"], loss)


@pytest.mark.parametrize("kind", ["gbdm", "bridge", "vgbdm"])
def test_networks_see_no_noise_there(sea, kind):
    field, _ = shaken(sea, kind)
    land, seen = torch.from_numpy(LAND), []
    watched = [field.trunk, field.history_encoder]
    watched += [field.latents.prior.encoder] if field.latents else []
    for part in watched:
        part.register_forward_pre_hook(lambda part, inputs: seen.append((part, inputs[0])))
    build(config(kind).objective)(field, windows(sea, field), VALUES)
    assert {part for part, _ in seen} == set(watched)
    for part, fields in seen:
        states = fields.flatten(1, fields.dim() - 3)
        own = states[:, 2::3] if part is not field.trunk else states[:, 2:3]
        assert (own[..., land] == 0).all() and (own[..., ~land] != 0).all()


def test_a_channel_counts_as_much_as_a_whole_one(sea):
    """The loss is a mean over channels of means over their own area."""
    field, _ = shaken(sea, "gbdm")
    error = torch.randn((2, 3, 8, 16), generator=torch.Generator().manual_seed(0))
    area = np.cos(np.deg2rad(LAT))[:, None] * np.ones((8, 16))
    change = field.change.flatten().numpy()
    squares = (error.numpy() / change[:, None, None]) ** 2
    own = [np.average(squares[:, c], axis=(1, 2), weights=area) for c in (0, 1)]
    own.append((squares[:, 2] * area * ~LAND).sum((1, 2)) / (area * ~LAND).sum())
    assert np.allclose(field.mean_square(error).numpy(), np.mean(own, 0), rtol=1e-5)
    ones = torch.ones((1, 3, 8, 16))
    assert float(field.average(ones)) == pytest.approx(1.0, abs=1e-6)
    assert float(field.effort(ones).mean()) == pytest.approx(1.0, abs=1e-6)


def test_without_a_mask_there_is_none(whole):
    field, described = shaken(whole, "gbdm")
    assert field.mask is None and described["domain"]["mask"] == ""
    assert not {"mask", "score_area", "score_share"} & set(field.state_dict())
    assert field.score_area.shape == (8, 1)


def test_statistics_of_the_domain_leave_them_out(sea):
    domain = Domain.from_store(sea, SIX, [["u10", "v10"]], 3)
    anchors = sea.anchors("train", SIX, 0, 1)
    states = sea.read(0, 80)[:, 2].astype(np.float64)
    change = states[anchors + 1] - states[anchors]
    area = np.cos(np.deg2rad(LAT))[:, None] * ~LAND
    rms = np.sqrt((np.where(LAND, 0, change) ** 2 * area).sum((1, 2)).mean() / area.sum())
    scale = sea.statistics.std[2]
    assert domain.arrays["change"][2] == pytest.approx(rms / scale, rel=1e-5)
    assert np.array_equal(domain.arrays["climate"][2] == 0, LAND)


def test_a_region_has_its_own_part_of_the_mask(sea):
    box = crop(sea, Region("box", -40, 40, 0, 180, halo=1))
    domain = Domain.from_store(box, SIX, [["u10", "v10"]], 3)
    assert domain.arrays["mask"].shape == domain.arrays["climate"].shape == box.mask.shape
    assert domain.mask.startswith("sst 36 %") and np.isfinite(domain.arrays["climate"]).all()
    assert rebuild(domain.describe()).buffers()["mask"].shape == box.mask.shape
    open_sea = crop(sea, Region("sea", -40, 40, 225, 315, halo=0))
    assert Domain.from_store(open_sea, SIX, [["u10", "v10"]], 3).mask == ""


def test_a_wind_is_not_fitted_to_masked_points(sea):
    field, _ = shaken(sea, "climode")
    history = field.standardise(windows(sea, field).states[:, :4])
    state = field.resolve(history[:, -1])
    tendency = torch.randn(history[:, -1].shape, generator=torch.Generator().manual_seed(1))
    changed = tendency.clone()
    changed[:, 2][:, torch.from_numpy(LAND)] += 5.0
    one, two = (field.fit(state, t, field.change, field.mask) for t in (tendency, changed))
    assert torch.equal(one, two)
    assert not torch.allclose(one, field.fit(state, tendency, field.change)[:, :])


# --- forecasts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
def test_forecasts_are_nan_there_and_nowhere_else(sea, kind):
    field, _ = shaken(sea, kind)
    batch = windows(sea, field)
    out = field.forecast(batch.states[:, :4], batch.times, 3)
    want = torch.from_numpy(sea.mask).expand(out.shape)
    assert torch.equal(torch.isnan(out), want)
    if field.stochastic:
        drawn = field.forecast_ensemble(batch.states[:, :4], batch.times, 2, 3, 0)
        assert torch.equal(torch.isnan(drawn), torch.from_numpy(sea.mask).expand(drawn.shape))
    if kind != "climode":
        for x in field.simulate(batch.states[:, :4], batch.times, 3):
            assert (x[:, 2][:, torch.from_numpy(LAND)] == 0).all()


@pytest.mark.parametrize("kind", ["gbdm", "climode"])
def test_a_checkpoint_carries_the_mask(sea, kind):
    field, described = shaken(sea, kind)
    again = rebuild({**described["model"], "domain": described["domain"]}).eval()
    again.load_state_dict(field.state_dict())
    batch = windows(sea, field)
    past = batch.states[:, :4]
    one, two = (model.forecast(past, batch.times, 2) for model in (field, again))
    assert torch.equal(one.nan_to_num(0.0), two.nan_to_num(0.0))
    assert torch.equal(again.mask, torch.from_numpy(sea.mask))
    assert torch.equal(again.score_area, field.score_area)


@pytest.mark.parametrize("kind", ["gbdm", "vgbdm"])
def test_forecast_stores_hold_nan_there_and_say_so(sea, tmp_path, kind):
    field, _ = shaken(sea, kind)
    write_forecast(field, sea, tmp_path / "out", lead=2 * SIX, members=3 if kind == "vgbdm" else 1)
    dataset = xr.open_zarr(tmp_path / "out", consolidated=False)
    assert ("realization" in dataset.dims) == (kind == "vgbdm")
    values = dataset["sst"].values
    assert np.array_equal(np.isnan(values), np.broadcast_to(LAND, values.shape))
    assert np.isfinite(dataset["u10"].values).all()
    assert dataset["sst"].attrs["comment"].endswith("of the area is masked and left out: NaN there")


def test_a_model_whose_numbers_are_finite_there_is_masked_too(sea, tmp_path):
    field, _ = shaken(sea, "gbdm")
    steps = field.forecast_steps
    field.forecast_steps = lambda *args: (x.nan_to_num(5.0) for x in steps(*args))
    write_forecast(field, sea, tmp_path / "out", lead=SIX)
    assert np.isnan(xr.open_zarr(tmp_path / "out", consolidated=False)["sst"].values).any()
    field.forecast_steps = lambda *args: (
        x.masked_fill(~field.mask[2], torch.nan) for x in steps(*args)
    )
    refused(lambda: write_forecast(field, sea, tmp_path / "bad", lead=SIX), "is not finite")


# --- validation -----------------------------------------------------------------------------------


class Alone:
    """A backend of one rank."""

    device, rank, world_size = torch.device("cpu"), 0, 1

    def sum(self, values):
        return values


class Off(Stepwise):
    """Forecasts the truth plus 2, NaN where masked; far off on land otherwise."""

    stochastic = True

    def __init__(self, store, land):
        super().__init__()
        self.store, self.land = store, torch.tensor(land)
        self.change, self.scale = torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 2.0)

    def forecast(self, past, times, steps):
        places = np.searchsorted(self.store.times.astype(np.int64), times.numpy())
        frames = places[:, None] + np.arange(1, steps + 1)
        truth = torch.from_numpy(self.store.read(0, len(self.store.times))[frames])
        return torch.where(torch.isnan(truth), self.land, truth + 2.0)

    def forecast_ensemble(self, past, times, steps, members, seed):
        one = self.forecast(past, times, steps)
        return torch.stack((one - 1.0, one + 1.0), 1)


@pytest.mark.parametrize("land", [torch.nan, 1e5])
def test_validation_leaves_them_out(sea, land):
    validation = RolloutValidation(
        sea, Alone(), step=SIX, history=3, lead=2 * SIX, starts=4, batch=2, members=2, seed=0
    )
    scores = validation(Off(sea, land))
    for name in ("rmse_sst_6h", "rmse_sst_12h", "rmse_u10_6h"):
        assert scores[name] == pytest.approx(2.0, rel=1e-4)
    for name in ("crps_sst_6h", "crps_u10_12h", "score"):
        assert scores[name] == pytest.approx(2.0 - 1.0, rel=1e-4)  # E|X - y| - ½ E|X - X'|
    assert scores["spread_skill_sst_6h"] == pytest.approx(np.sqrt(1.5 * 2.0) / 2.0, rel=1e-4)


# --- what does not fit ----------------------------------------------------------------------------


def test_a_vector_must_be_whole(sea):
    channels = ("sst", "v10", "u10")
    store = replace(sea, channels=channels, mask=sea.mask[[2, 1, 0]])
    store = replace(store, channel_attrs={name: {"units": "m s-1"} for name in channels})
    refused(lambda: read_vectors([["sst", "v10"]], store), "sst is masked", "out of vectors=")
    assert read_vectors([], store) == ()


def test_a_store_with_another_mask_is_refused(sea, whole, elsewhere, tmp_path):
    run = tmp_path / "run"
    train(config(run_dir=run, store=sea.path))
    for store, words in ((whole, "no points"), (elsewhere, "sst 19 % of the points")):
        field, _ = shaken(sea, "gbdm")
        refused(
            lambda s=store, f=field: write_forecast(f, s, tmp_path / "out", lead=SIX),
            f"masked are {words}", "where the model was trained masked were sst 19 %",
        )  # fmt: skip
        refused(
            lambda s=store: train(config(run_dir=run, store=s.path, more=["resume=true"])),
            "mask is sst 19 % of the points", "this run has", "resume with the data",
        )  # fmt: skip
        new = tmp_path / f"new-{store.path.parent.name}"
        refused(
            lambda s=store, n=new: train(
                config(run_dir=n, store=s.path, more=[f"init={run}"])
            ),
            "its mask is another one", "start from a run with the same data",
        )  # fmt: skip
    field, _ = shaken(whole, "gbdm")
    refused(
        lambda: write_forecast(field, sea, tmp_path / "out", lead=SIX),
        "where the model was trained masked were none", "train on these",
    )  # fmt: skip
    train(config(run_dir=run, store=sea.path, more=["resume=true"]))
