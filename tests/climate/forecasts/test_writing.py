"""Forecast stores: CF, whole or absent, and the refusals."""

import weakref

import numpy as np
import pytest
import torch
import xarray as xr
from forecasters import Calibrated, Stepwise

from climate.forecasts import jobs
from climate.forecasts.forecasting import count_leads, count_members
from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from vgbdm.errors import InputError
from vgbdm.origin import software

SIX = np.timedelta64(6 * 3600, "s")


class Persistence(Stepwise):
    """Forecasts the initial state, and counts its calls."""

    step_seconds, history = 21600, 3

    def __init__(self, store, value=0.0):
        super().__init__()
        self.channels, self.statistics_hash = store.channels, store.statistics.hash
        self.value, self.calls = value, 0

    def forecast(self, states, times, steps):
        self.calls += 1
        assert states.shape[1:] == (4, 3, 8, 16)
        assert times.dtype == torch.int64
        return states[:, -1:].repeat(1, steps, 1, 1, 1) + self.value


@pytest.fixture
def forecast(store, tmp_path):
    write_forecast(Persistence(store), store, tmp_path / "out", lead=7 * SIX, batch=16)
    return tmp_path / "out"


def test_every_start_of_the_period_is_forecast(store, forecast):
    dataset = xr.open_zarr(forecast, consolidated=False)
    starts = store.anchors("test", SIX, 3, 7)
    assert np.array_equal(dataset["time"].values, store.times[starts].astype("M8[ns]"))
    assert dataset["u10"].dims == ("time", "lead_time", "lat", "lon")
    assert dataset["u10"].dtype == np.float32
    for lead in (0, 6):
        assert np.array_equal(dataset["z"].values[:, lead], store.read(0, 480)[starts, 0])


class Meeting(Persistence):
    """One whose first forecast waits until another process has tried the same place."""

    def __init__(self, store, meet):
        super().__init__(store)
        self.meet = meet

    def forecast(self, states, times, steps):
        if not self.calls:
            self.meet()
        return super().forecast(states, times, steps)


def test_of_two_forecasts_to_one_place_one_is_whole_and_the_other_refused(
    store, forecast, tmp_path
):
    out = tmp_path / "same"

    def another():
        made = {path.name for path in tmp_path.rglob("*")}
        with pytest.raises(InputError, match=r"same: locked by process .* at work on it"):
            write_forecast(Persistence(store), store, out, lead=SIX)
        assert {path.name for path in tmp_path.rglob("*")} == made

    write_forecast(Meeting(store, another), store, out, lead=7 * SIX)
    one, two = (xr.open_zarr(path, consolidated=False) for path in (forecast, out))
    xr.testing.assert_equal(one, two)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "same"]


def test_a_forecast_that_no_disk_takes_leaves_nothing_and_the_next_works(store, tmp_path):
    def full():
        raise OSError(27, "File too large")

    with pytest.raises(OSError, match="too large"):
        write_forecast(Meeting(store, full), store, tmp_path / "out", lead=SIX)
    assert not list(tmp_path.iterdir())
    write_forecast(Persistence(store), store, tmp_path / "out", lead=SIX)


def test_the_file_follows_cf(forecast):
    dataset = xr.open_zarr(forecast, consolidated=False)
    assert dataset.attrs["Conventions"] == "CF-1.11"
    assert dataset["time"].attrs["standard_name"] == "forecast_reference_time"
    assert dataset["lead_time"].attrs["standard_name"] == "forecast_period"
    assert dataset["u10"].attrs["standard_name"] == "eastward_wind"
    assert dataset["u10"].attrs["units"] == "m s-1"
    hours = dataset["lead_time"].values / np.timedelta64(1, "h")
    assert hours.tolist() == [6, 12, 18, 24, 30, 36, 42]
    valid = dataset["time"].values[:, None] + dataset["lead_time"].values
    assert np.array_equal(dataset["valid_time"].values, valid)
    raw = xr.open_zarr(forecast, consolidated=False, decode_times=False)
    assert raw["lead_time"].attrs["units"] == "hours"
    assert raw["u10"].encoding["coordinates"] == "valid_time"
    for name in ("time", "valid_time", "lead_time", "lat", "lon"):
        assert "_FillValue" not in raw[name].attrs
    assert raw["time"].attrs["units"].startswith("seconds since")


def test_the_file_says_what_made_it_and_is_the_same_when_made_again(store, forecast, tmp_path):
    about = {"history": "launch/forecast_era5.py leads=42h", "institution": "here"}
    again = tmp_path / "again"
    write_forecast(Persistence(store), store, again, lead=7 * SIX, batch=5, about=about)
    one, two = (xr.open_zarr(path, consolidated=False) for path in (forecast, again))
    xr.testing.assert_equal(one, two)
    assert two.attrs == one.attrs | about
    assert one.attrs["source"] == "Persistence of vgbdm"
    assert one.attrs["software"] == software()
    assert len(one.attrs["model_hash"]) == 64
    other = Persistence(store)
    other.extra = torch.nn.Linear(1, 1)
    write_forecast(other, store, tmp_path / "other", lead=SIX)
    dataset = xr.open_zarr(tmp_path / "other", consolidated=False)
    assert dataset.attrs["model_hash"] != one.attrs["model_hash"]


def test_an_ensemble_has_its_members_as_realizations(store, tmp_path):
    model = Calibrated(store)
    for name, batch in (("out", 64), ("again", 20)):
        how = {"members": 4, "batch": batch, "seed": 5, "pairs": False}
        write_forecast(model, store, tmp_path / name, lead=2 * SIX, **how)
    dataset = xr.open_zarr(tmp_path / "out", consolidated=False)
    starts = store.anchors("test", SIX, 3, 2)
    assert dataset["v10"].dims == ("time", "realization", "lead_time", "lat", "lon")
    assert dataset["v10"].shape == (len(starts), 4, 2, 8, 16)
    assert dataset["realization"].attrs["standard_name"] == "realization"
    assert dataset["realization"].values.tolist() == [0, 1, 2, 3]
    times = torch.from_numpy(store.times[starts].astype(np.int64))
    expected = model.forecast_ensemble(None, times, 2, range(4), 5).numpy()
    assert np.array_equal(dataset["v10"].values, expected[:, :, :, 2])
    xr.testing.assert_equal(dataset, xr.open_zarr(tmp_path / "again", consolidated=False))
    forecast = open_forecast(tmp_path / "out", store)
    assert forecast.members == 4
    assert np.array_equal(
        forecast.read(slice(2, 4), slice(0, forecast.leads), "v10"), expected[2:4, :, :, 2]
    )


def test_members_are_counted(store, tmp_path):
    assert count_members(Persistence(store), None) == 1
    assert count_members(Calibrated(store), None) == 16
    assert count_members(Calibrated(store), 3) == 3
    with pytest.raises(InputError, match="Persistence is deterministic"):
        write_forecast(Persistence(store), store, tmp_path / "out", lead=SIX, members=2)
    with pytest.raises(InputError, match="members=0"):
        count_members(Calibrated(store), 0)
    write_forecast(Calibrated(store), store, tmp_path / "one", lead=SIX, members=1)
    one = xr.open_zarr(tmp_path / "one", consolidated=False)
    assert one["z"].dims == ("time", "lead_time", "lat", "lon")


def test_an_existing_folder_is_not_overwritten(store, forecast):
    with pytest.raises(InputError, match="exists"):
        write_forecast(Persistence(store), store, forecast, lead=SIX)


def test_a_forecast_that_is_not_finite_leaves_nothing(store, tmp_path):
    with pytest.raises(InputError, match="from 2016-01-16 is not finite"):
        write_forecast(Persistence(store, np.nan), store, tmp_path / "out", lead=SIX)
    assert not (tmp_path / "out").exists()


def test_models_of_other_data_are_refused(store, tmp_path):
    other = Persistence(store)
    other.channels = ("z", "t2m")
    with pytest.raises(InputError, match="trained on z,t2m"):
        write_forecast(other, store, tmp_path / "out", lead=SIX)
    other = Persistence(store)
    other.statistics_hash = "0"
    with pytest.raises(InputError, match="training statistics"):
        write_forecast(other, store, tmp_path / "out", lead=SIX)


def test_leads_must_be_whole_steps_and_fit_the_period(store, tmp_path):
    with pytest.raises(InputError, match="not a multiple"):
        count_leads(np.timedelta64(7 * 3600, "s"), SIX)
    with pytest.raises(InputError, match="choose shorter leads"):
        write_forecast(Persistence(store), store, tmp_path / "out", lead=40 * SIX)


def test_a_forecast_of_another_store_is_refused(store, forecast, tmp_path):
    with pytest.raises(InputError, match="no such store"):
        open_forecast(tmp_path / "none", store)
    dataset = xr.open_zarr(forecast, consolidated=False).load()
    for name, changed, words in (
        ("channel", dataset.drop_vars("z"), "holds no z"),
        ("grid", dataset.assign_coords(lat=dataset["lat"] + 1), "not lines of the grid"),
        ("time", dataset.assign_coords(time=dataset["time"] + np.timedelta64(9999, "D")), "times"),
        ("order", dataset.isel(time=slice(None, None, -1)), "do not increase"),
        ("lead", dataset.isel(lead_time=[0, 1, 3]), "not multiples of the first"),
        ("hash", dataset.assign_attrs(statistics_hash="0"), "other training statistics"),
    ):
        path = tmp_path / name
        changed.to_zarr(path, zarr_format=3, consolidated=False)
        with pytest.raises(InputError, match=words):
            open_forecast(path, store)


# --- jobs, and going on ---------------------------------------------------------------------------


class Killed(BaseException):
    """As a signal would end the process."""


def stop_at(monkeypatch, call):
    """End at a call of the model."""
    usual = Persistence.forecast_steps

    def forecast_steps(model, *given):
        if model.calls == call:
            raise Killed
        return usual(model, *given)

    monkeypatch.setattr(Persistence, "forecast_steps", forecast_steps)


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def stopped(store, tmp_path, monkeypatch):
    """A forecast of which three batches are done; where it was to be."""
    with monkeypatch.context() as patched, pytest.raises(Killed):
        stop_at(patched, 3)
        write_forecast(Persistence(store), store, tmp_path / "out", lead=2 * SIX, batch=4)
    assert not (tmp_path / "out").exists()
    return tmp_path / "out"


BATCHES = 27
"""Of four of the 108 starts."""


@pytest.mark.parametrize("damage", [None, "other bytes", "missing"])
def test_a_stopped_forecast_goes_on_to_the_same_bytes(store, stopped, damage):
    (aside,) = stopped.parent.glob(".out.*.tmp")
    shard = aside / "out/u10/c/1/0/0/0"
    if damage == "missing":
        shard.unlink()
    elif damage:
        shard.write_bytes(bytes(shard.stat().st_size))
    model = Persistence(store)
    write_forecast(model, store, stopped, lead=2 * SIX, batch=4, resume=True)
    assert model.calls == BATCHES - (2 if damage else 3)
    whole = stopped.with_name("whole")
    write_forecast(Persistence(store), store, whole, lead=2 * SIX, batch=4)
    assert files_of(stopped) == files_of(whole)
    assert sorted(path.name for path in stopped.parent.iterdir()) == ["out", "whole"]


def test_without_a_word_it_begins_anew(store, stopped, caplog):
    model = Persistence(store)
    write_forecast(model, store, stopped, lead=2 * SIX, batch=4)
    assert model.calls == BATCHES
    assert "resume=true goes on with it" in caplog.text
    assert [path.name for path in stopped.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"lead": 3 * SIX}, "batch, leads, starts"),
        ({"batch": 8}, "batch"),
        ({"about": {"institution": "elsewhere"}}, "model or settings"),
        ({"seed": 1}, "seed"),
    ],
)
def test_another_forecast_does_not_go_on_with_it(store, stopped, other, words):
    same = {"lead": 2 * SIX, "batch": 4}
    with pytest.raises(InputError, match=rf"out: a forecast with other {words} was .*resume=false"):
        write_forecast(Persistence(store), store, stopped, resume=True, **same | other)
    write_forecast(Persistence(store), store, stopped, resume=True, **same)


def test_there_may_be_nothing_to_go_on_with(store, tmp_path):
    write_forecast(Persistence(store), store, tmp_path / "out", lead=SIX, resume=True)
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize("batch", [1, 3, 4, 5, 64])
def test_leads_are_written_as_they_come_and_members_split(store, tmp_path, monkeypatch, batch):
    """The bytes differ with the layout, the numbers do not."""
    model, leads = Calibrated(store), 3
    some = store.times[store.anchors("test", SIX, 3, leads)[::25]]
    options = {"lead": leads * SIX, "members": 5, "seed": 5, "starts": some}
    write_forecast(model, store, tmp_path / "whole", batch=16, **options)
    monkeypatch.setattr(jobs, "WRITE_BYTES", 2 * 3 * 8 * 16 * 4 * min(batch, 5))
    monkeypatch.setattr(jobs, "CHUNK_BYTES", 8 * 16 * 4)
    write_forecast(model, store, tmp_path / "parts", batch=batch, **options)
    one, two = (xr.open_zarr(tmp_path / n, consolidated=False) for n in ("whole", "parts"))
    xr.testing.assert_equal(one, two)
    assert two["z"].encoding["chunks"] == (1, 1, 1, 8, 16)
    if batch == 3:
        assert two["z"].encoding["shards"] == (1, 3, 2, 8, 16)


def test_one_lead_is_held_at_a_time(store, tmp_path, monkeypatch):
    """Of a model that keeps nothing: as many maps are alive at many leads as at few."""
    monkeypatch.setattr(jobs, "WRITE_BYTES", 1)
    alive, most = weakref.WeakSet(), []

    class Light(Persistence):
        def forecast_steps(self, states, times, n_steps, members=None, seed=0):
            for _ in range(n_steps):
                x = states[:, -1:] + 0.0
                alive.add(x)
                most.append(len(alive))
                yield x

    write_forecast(Light(store), store, tmp_path / "out", lead=9 * SIX, batch=64)
    assert max(most) <= 2


def test_the_layout_has_one_map_in_a_chunk_where_maps_are_large():
    large = jobs.Jobs(10, 16, 40, 40, (721, 1440), 4)
    assert large.chunks == (1, 1, 1, 721, 1440)
    assert large.shards == (1, 4, 1, 721, 1440)
    assert len(large) == len([*large]) == 40
    small = jobs.Jobs(108, None, 7, 5, (32, 64), 16)
    assert small.encoding == {"chunks": (16, 7, 32, 64)}
    names = small.files([*small][2], ["z", "u10"])
    assert names == ["z/c/2/0/0/0", "u10/c/2/0/0/0"]
    covered = np.zeros((10, 16), int)
    for job in large:
        covered[job.starts, job.members.start : job.members.stop] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(("grid", "channels"), [((121, 240), 40), ((721, 1440), 40)])
def test_states_that_are_forecast_from_together_are_bounded_in_bytes(grid, channels):
    one = 4 * 4 * channels * grid[0] * grid[1]  # four frames
    for members in (None, 3, 64):
        starts, drawn, _ = jobs.Jobs(99, members, 28, channels, grid, 10**6, 4).together
        count = starts * drawn
        assert count == 1 or count * one <= jobs.STATE_BYTES
        assert (count + (members or 1)) * one > jobs.STATE_BYTES or drawn < (members or 1)
