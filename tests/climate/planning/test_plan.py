"""A plan without data says what a run takes, and counts what real tensors show."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from runs_era5 import REPO
from torch._subclasses.fake_tensor import FakeTensorMode

from climate.grids.named import parse_grid
from climate.planning import costs
from climate.planning import plan as planning
from climate.planning.costs import (
    forecast_costs,
    kinds_of_steps,
    learning_of,
    some_batch,
    training_costs,
)
from climate.planning.pace import Pace
from climate.planning.work import Work
from climate.store.planned import channels_of, planned_store, wind_pairs
from vgbdm.errors import InputError
from vgbdm.training.memory import saved_bytes
from vgbdm.training.schedules import Constant, Every, Growing, Linear, Phases

RATES = Work(1e-11, 1e-11, 1e-10, 1e-5)
TINY = ("size=tiny", "batch=2", "stream.lanes=2", "stream.pool_blocks=2")


def config(*options):
    with initialize_config_dir(str(REPO / "configs"), version_base="1.3"):
        return compose("check", [*TINY, *options])


def needs(*options):
    return planning.needs_of(*planning.planned(config(*options)))


@pytest.mark.parametrize("model", ["gbdm", "vgbdm", "blackbox"])
def test_what_is_counted_without_numbers_is_what_real_tensors_keep(model):
    cfg, store = planning.planned(config("check.grid=16x32", f"model={model}"))
    real = learning_of(cfg, store)
    batch = some_batch(real, 2)
    truth = max(saved_bytes(real.field, lambda v=v: real.learner(batch, v)) for v, _ in real.kinds)
    with FakeTensorMode():
        counted = training_costs(learning_of(cfg, store), 2)
    assert truth <= counted.peak and counted.kept == pytest.approx(truth, rel=0.05)


def test_steps_of_every_kind_are_counted_by_their_share():
    """Of VGB-DM each fourth step has a CRPS, the last one has none."""
    cfg, store = planning.planned(config("check.grid=16x32", "model=vgbdm"))
    with FakeTensorMode():
        learning = learning_of(cfg, store)
        every = training_costs(learning, 1)
        each = {share: training_costs(learning._replace(kinds=((values, 1.0),)), 1)
                for values, share in learning.kinds}  # fmt: skip
    assert sorted(each) == pytest.approx([0.25, 0.75], abs=0.02) and sum(each) == 1.0
    dear, usual = each[min(each)], each[max(each)]
    assert every.peak == dear.peak > usual.peak
    assert every.work == pytest.approx(
        dear.work.scaled(min(each)) + usual.work.scaled(max(each)), rel=1e-9
    )


def test_kinds_of_steps_are_those_that_cost_unlike():
    schedules = {"phase": Phases([0.5, 0.7, 1.0]), "horizon": Growing(1, 3), "noise": Constant(1.0),
                 "crps": Every(2.0, 2), "prior": Linear(0.0, 1.0)}  # fmt: skip
    found = kinds_of_steps(schedules, 1000)
    assert sum(share for _, share in found) == pytest.approx(1.0)
    phases = [sum(share for values, share in found if values["phase"] == k) for k in range(3)]
    assert phases == pytest.approx([0.5, 0.2, 0.3], abs=0.04)
    assert found[-1][0] == {name: schedule(999, 1000) for name, schedule in schedules.items()}
    assert {values["horizon"] for values, _ in found} == {1.0, 2.0, 3.0}
    assert len(kinds_of_steps(schedules, 1)) == 1
    for total, period in ((260, 8), (10000, 8), (32004, 5), (32004, 100)):
        shares = [share for values, share in kinds_of_steps({"crps": Every(1.0, period)}, total)
                  if values["crps"]]  # fmt: skip
        assert sum(shares) == pytest.approx(1 / period, rel=0.15)
    assert len(kinds_of_steps({"noise": Linear(0.0, 1.0)}, 1000)) == 1


@pytest.mark.parametrize("model", ["gbdm", "vgbdm"])
def test_roles_are_planned_with(model):
    names, kind = "check.channels=[u10,v10,t2m,sst,tp]", f"model={model}"
    plain = needs("check.grid=16x32", names, kind)
    told = needs("check.grid=16x32", names, kind, "roles.forcing=[sst]", "roles.diagnostic=[tp]")
    assert 0 < told.forecast.work.operations < plain.forecast.work.operations
    assert 0 < told.weights < plain.weights


def test_memory_and_work_grow_with_samples():
    cfg, store = planning.planned(config("check.grid=16x32"))
    with FakeTensorMode():
        learning = learning_of(cfg, store)
        one, three = (training_costs(learning, n) for n in (1, 3))
    assert three.work.operations == pytest.approx(3 * one.work.operations, rel=0.01)
    assert three.peak == pytest.approx(3 * one.peak, rel=0.1)


def test_two_substeps_tell_the_work_of_all(monkeypatch):
    cfg, store = planning.planned(config("check.grid=16x32"))
    with FakeTensorMode():
        learning = learning_of(cfg, store)
        learning.field.solver = replace(learning.field.solver, substeps=4)
        told = forecast_costs(learning, 1)
        monkeypatch.setattr(costs, "MANY_SUBSTEPS", 5)
        assert learning.field.solver.substeps == 4
        counted = forecast_costs(learning, 1)
    assert told.work == pytest.approx(counted.work) and told.peak == counted.peak


def test_ranks_share_samples_and_state():
    one, many = needs("check.grid=16x32"), needs("check.grid=16x32", "check.ranks=2")
    assert (one.samples, many.samples) == (2, 1)
    assert many.costs.peak < 0.7 * one.costs.peak and many.reads.bytes < 0.7 * one.reads.bytes
    sharded = needs("check.grid=16x32", "check.ranks=2", "backend.stage=3", "size=small")
    assert sharded.state < needs("check.grid=16x32", "check.ranks=2", "size=small").state


def test_it_says_what_a_run_takes(monkeypatch, caplog):
    monkeypatch.setattr(planning, "measure_pace", lambda *_: Pace(RATES, RATES))
    caplog.set_level(logging.INFO)
    planning.plan(config("check.grid=16x32", "check.ranks=2"))
    for words in (
        "16 × 32, 5 channels, 2 rank(s)", "memory of a rank: ", "ddp state", "of 1 sample(s)",
        "memory of a forecast: ", "memory of an evaluation: ", "CPU seconds a step", "disk: store ",
        "a rank opens ",
    ):  # fmt: skip
        assert words in caplog.text


def test_what_must_see_data_is_refused():
    with pytest.raises(InputError, match="check it on a store, or choose gbdm"):
        needs("check.grid=16x32", "model=climode")


def test_a_grid_that_is_none_is_refused_under_its_option():
    with pytest.raises(InputError, match=r"check.grid=7.0: want degrees that divide 90"):
        needs("check.grid=7.0")


@pytest.mark.parametrize(("grid", "together"), [(1.5, 16), ("361x720", 6), (0.25, 1)])
def test_a_forecast_is_planned_with_the_starts_that_are_computed_together(grid, together):
    store = planned_store(parse_grid(grid), channels_of(40), np.timedelta64(6, "h"), 1)
    frames = 4
    assert planning.forecast_together(store, frames) == together
    assert together * frames * planning.state_of(store) <= 2**30


def test_a_planned_store_has_times_places_and_no_numbers():
    names = channels_of(40)
    assert len(set(names)) == 40 and names[:5] == ("z", "t", "t2m", "u10", "v10")
    assert len(wind_pairs(names)) == 8
    store = planned_store(parse_grid(0.25), names, np.timedelta64(6, "h"), 40)
    assert store.statistics.mean_map.strides == (0, 0, 0) and store.is_big
    assert store.state.size == len(store.times) * 4 * 40 * 721 * 1440
    assert store.state.files == 2 * len(store.times)
    with pytest.raises(InputError, match="want at most 70"):
        channels_of(71)


@pytest.mark.slow
def test_memory_at_a_degree_and_a_half_is_what_a_step_takes():
    told = ("check.grid=1.5", "check.channels=40", "size=small", "batch=2")
    cfg, store = planning.planned(config(*told))
    with FakeTensorMode():
        counted = training_costs(learning_of(cfg, store), 2)
    real = learning_of(cfg, store)
    batch = some_batch(real, 2)
    truth = max(saved_bytes(real.field, lambda v=v: real.learner(batch, v)) for v, _ in real.kinds)
    assert counted.kept == pytest.approx(truth, rel=0.2)
    assert torch.isfinite(real.learner(batch, real.values)["loss"]).all()
