"""Models are told the seasons that training covers; the list is theirs, not the store's."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from runs import CONFIGS
from runs_era5 import edit_state

import climate.models.domain as domains
from climate.conventions.cycles import WHOLE
from climate.forecasts.writing import write_forecast
from climate.stream.views import open_view
from climate.training.run import build_model, train
from vgbdm.errors import InputError
from vgbdm.loading import load
from vgbdm.registry.build import rebuild

SIX = np.timedelta64(21600, "s")
HALF_YEAR = np.timedelta64(183, "D")
MODELS = ["gbdm", "vgbdm", "blackbox", "climode"]
QUICK = [
    "size=tiny", "batch=8", "trainer.total_steps=2", "trainer.validations=1", "backend=single",
    "validation.starts=2", "validation.lead=6h",
]  # fmt: skip


def configure(store, *options: str):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose("train_era5", [f"store={store.path}", "run_dir=r", *QUICK, *options])


@pytest.mark.parametrize("model", MODELS)
def test_a_whole_year_of_training_has_season_channels_and_twenty_days_have_none(
    store, years, model
):
    long, _ = build_model(configure(years, f"model={model}"), years)
    short, facts = build_model(configure(store, f"model={model}"), store)
    assert long.calendar.used == ("season", "day") and long.calendar.count == 5
    assert short.calendar.used == ("day",) and short.calendar.count == 3
    widths = [m.trunk.embed.conv.weight.shape[1] for m in (long, short)]
    assert widths[0] - widths[1] == 2
    if model == "climode":
        assert short.emission.trunk.embed.conv.weight.shape[1] == 3 + short.features
    again = rebuild({**facts["model"], "domain": json.loads(json.dumps(facts["domain"]))})
    assert again.calendar.used == ("day",)
    again.load_state_dict(short.state_dict())
    assert again.calendar.declination == short.calendar.declination


@pytest.mark.parametrize("model", MODELS)
def test_forecasts_do_not_know_a_season_that_training_did_not_cover(store, model):
    field, _ = build_model(configure(store, f"model={model}"), store)
    with torch.no_grad():
        for parameter in field.parameters():  # no last layer at zero
            parameter.add_(0.05 * torch.randn(parameter.shape))
    states = torch.from_numpy(store.read(0, 19)[None, ::6])
    january = torch.tensor([int(store.times[18].astype(np.int64))])
    july = january + int(HALF_YEAR / np.timedelta64(1, "s"))
    field.eval()
    one, two = (field.forecast(states, when, 4) for when in (january, july))
    assert torch.equal(one, two)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_that_is_told_no_cycle_forecasts(store, model, monkeypatch):
    seen = {"season": ((0.0, 0.1),), "day": ((0.0, 0.25),)}
    monkeypatch.setattr(domains, "cycles_seen", lambda *_: seen)
    field, _ = build_model(configure(store, f"model={model}"), store)
    assert field.features == len(field.position) + len(field.static)
    states = torch.from_numpy(store.read(0, 19)[None, ::6])
    assert field.forecast(states, torch.tensor([0]), 1).isfinite().all()


def test_months_are_told_where_training_covers_the_year(years):
    monthly = open_view(years.path, np.timedelta64(1, "M"))
    field, _ = build_model(configure(years, "task=monthly"), monthly)
    assert field.calendar.used == ("month",)
    summer = (np.datetime64("2014-03-01", "s"), np.datetime64("2014-12-31", "s"))
    short = replace(monthly, splits=monthly.splits | {"train": summer})
    field, facts = build_model(configure(years, "task=monthly"), short)
    assert field.calendar.used == () and facts["domain"]["seen"]["month"] != [[0.0, 1.0]]


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    """A trained run, and what was said at its start."""
    folder = tmp_path_factory.mktemp("seasons") / "run"
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("climate.training.run")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)  # the attribute alone leaves what isEnabledFor() has kept
    train(configure(store, f"run_dir={folder}"))
    logger.removeHandler(handler)
    logger.setLevel(before)
    return folder, lines


def test_what_is_left_out_is_said_once(run):
    said = [line for line in run[1] if "left out" in line]
    assert len(said) == 1
    assert "the season is left out of the model; training sees 1 January to" in said[0]


def test_what_training_saw_is_the_checkpoints_and_never_the_stores(
    run, store, tmp_path, monkeypatch
):
    """Resuming and fine-tuning keep the features; so does a run from before the list was kept."""
    everything = {"season": WHOLE, "day": WHOLE}
    monkeypatch.setattr(domains, "cycles_seen", lambda *_: everything)
    more = [f"run_dir={run[0]}", "resume=true", "trainer.total_steps=3"]
    train(configure(store, *more))
    assert load(run[0], "last").calendar.used == ("day",)
    tuned = tmp_path / "tuned"
    train(configure(store, f"run_dir={tuned}", "finetune=rollout", f"init={run[0]}"))
    assert load(tuned).calendar.used == ("day",)
    monkeypatch.undo()
    monkeypatch.setattr(domains, "cycles_seen", lambda *_: None)
    old = tmp_path / "old"
    train(configure(store, f"run_dir={old}"))
    for folder in (old / "checkpoints").glob("step-*"):
        state = json.loads((folder / "state.json").read_text())
        for name in ("seen", "units", "periods"):
            state["rebuild"]["domain"].pop(name)
        edit_state(folder, **state)
    monkeypatch.undo()
    train(configure(store, f"run_dir={old}", "resume=true", "trainer.total_steps=3"))
    assert load(old, "last").calendar.used == ("season", "day")


def test_forecasts_from_outside_the_trained_seasons_warn_in_one_line(run, store, tmp_path, caplog):
    model = load(run[0])
    write_forecast(model, store, tmp_path / "train", lead=SIX, split="train")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    shifted = replace(
        store,
        times=store.times + HALF_YEAR,
        splits={k: (a + HALF_YEAR, b + HALF_YEAR) for k, (a, b) in store.splits.items()},
    )
    write_forecast(model, shifted, tmp_path / "out", lead=SIX)
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "\n" not in line
    assert "lie outside the season of training (1 January to" in line
    assert "(2016-07-" in line and "days from it; the model is not told the season" in line


def test_a_model_is_not_judged_by_what_it_was_trained_or_chosen_on(run, store, tmp_path):
    model = load(run[0])
    for name, word in (("train", "training"), ("val", "validation")):
        other = replace(store, splits=store.splits | {"test": store.splits[name]})
        with pytest.raises(InputError, match=f"test .* overlaps the model's {word} period"):
            write_forecast(model, other, tmp_path / "out", lead=SIX)
    assert not (tmp_path / "out").exists()
