"""Scores of trained runs beside the sanity rows, under one protocol."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from runs import config
from system_fields import (
    dataset,
    make_field,
    smooth,
    trajectories,
    write_stores,
)

from physics_systems import evaluating, training
from physics_systems.data.trajectories import Trajectories, write
from physics_systems.evaluation import protocol, scoring
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.sets import EvaluationSet
from vgbdm.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stores, and three short runs."""
    place = tmp_path_factory.mktemp("evaluation")
    write_stores(place)
    for seed in (1, 2):
        training.train(config(place, place / "runs" / f"v{seed}", f"seed={seed}"))
    return place


def evaluate(folder, out, **changes):
    from omegaconf import OmegaConf

    cfg = {
        "runs": str(folder / "runs"), "out": str(out), "members": 19, "limit": None, "seed": 0,
        "data": {"test": str(folder / "val"), "val": None, "train": None}, "threads": 1,
    }  # fmt: skip
    evaluating.evaluate(OmegaConf.create(cfg | changes))
    return pd.read_csv(out / "scores.csv")


def test_there_is_a_row_per_run_and_per_sanity_check(folder, tmp_path, monkeypatch):
    seconds = itertools.count(0.0, 8.0)  # between two looks at the clock
    monkeypatch.setattr(scoring, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    table = evaluate(folder, tmp_path)
    assert set(scoring.RUN_COLUMNS) <= set(table)
    assert {"theta_error_sigma", "theta_error_beta"} <= set(table)
    runs = table[table["objective"] == "vgbdm"]
    assert sorted(runs["seed"]) == [1, 1, 2, 2]
    assert runs["variant"].nunique() == 1
    assert (runs["steps"] == 6).all() and runs["best_step"].isin([0, 3, 6]).all()
    assert (runs["train_seconds"] > 0).all()
    # 20 intervals of 2 steps of 4 stages, and those of inference
    asked = runs.set_index(["seed", "refined"])["points"]
    plain, refined = asked.xs(False, level=1), asked.xs(True, level=1)
    assert ((plain >= 20 * 2 * 4) & (plain < 180) & (plain < refined)).all()
    assert np.allclose(runs["forecast_seconds"], 8.0 / 12, rtol=1e-4)  # of 12 trajectories
    assert len(runs) == 4 and (runs.groupby("refined")["chosen"].nunique() == 1).all()
    better = runs.groupby("refined")["validation_mse"].mean().idxmin()
    assert set(runs.loc[runs["chosen"], "refined"]) == {better}
    assert runs[["crps", "theta_coverage_90", "forecast_coverage_90"]].notna().all(None)
    sanity = table.set_index("row")
    assert sanity.loc["oracle", "forecast_mse"] < 1e-9
    assert sanity.loc["physics_only", "forecast_mse"] > 1
    assert sanity.loc[["oracle", "physics_only", "persistence"], "theta_error"].isna().all()
    assert sanity.loc["prior_mean", "theta_error"] > 0.5
    assert sanity.loc["prior_mean", "forecast_mse"] > 1
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("objective")
    assert summary.loc["vgbdm", "seeds"] == 2 and summary.loc["oracle", "seeds"] == 0
    assert bool(summary.loc["vgbdm", "refined"]) == better
    other = runs[~runs["chosen"]]["forecast_mse"].mean()
    assert summary.loc["vgbdm", "unchosen_mse"] == pytest.approx(other, rel=1e-6)
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") >= 4
    assert "https:" not in page and "http:" not in page.replace("http://www.w3.org", "")
    assert len(pd.read_csv(tmp_path / "paired.csv")) == 5
    assert pd.read_csv(tmp_path / "calibration.csv").empty  # θ is drawn from ranges
    assert runs["theta_rank_p"].isna().all() and "no calibration" in page
    limits = pd.read_csv(tmp_path / "limits.csv").set_index("parameter")["minimum_norm_error"]
    assert (limits.loc[["sigma", "beta"]] < 1e-6).all()


def test_frame_t_is_the_first_one_scored():
    """A model that knows the next frames scores 0; one that is a step late does not."""
    test = EvaluationSet(trajectories("lorenz"))
    right = protocol.Forecasts(test.data.x[:, 10:], None, None, None)
    late = protocol.Forecasts(test.data.x[:, 9:-1], None, None, None)
    assert scoring.score(right, test, 10, ())[0]["forecast_mse"] == 0.0
    assert scoring.score(late, test, 10, ())[0]["forecast_mse"] > 1e-3


def test_scores_are_against_the_truth_and_the_observations_stand_beside():
    """A forecast that is exact scored σ² where the observations carry noise."""
    made = trajectories("lorenz")
    noise = 0.5 * torch.randn(made.x.shape, generator=torch.Generator().manual_seed(0))
    test = EvaluationSet(Trajectories(made.x + noise, made.t), made.x)
    exact = made.x[:, 10:]
    spread = exact + 1e-3 * torch.arange(-9.0, 10.0).reshape(19, 1, 1, 1)
    numbers, errors = scoring.score(protocol.Forecasts(exact, None, spread, None), test, 10, ())
    assert numbers["forecast_mse"] == numbers["relative_mse"] == numbers["mae"] == 0.0
    assert numbers["forecast_coverage_90"] == 1.0 and not errors.any()
    assert numbers["observed_mse"] == pytest.approx(float(noise[:, 10:].square().mean()), rel=1e-5)
    unknown, _ = scoring.score(
        protocol.Forecasts(exact, None, None, None), EvaluationSet(test.data), 10, ()
    )
    assert unknown["forecast_mse"] == pytest.approx(numbers["observed_mse"])
    assert "observed_mse" not in unknown


def test_every_number_of_a_row_is_that_of_its_definition():
    """On a forecast whose errors differ by trajectory, frame and component, against numpy."""
    data, window = smooth("rlc", 6), 10
    noise = torch.Generator().manual_seed(0)
    truth = data.x[:, window:]
    mean = truth + torch.randn(truth.shape, generator=noise) * torch.tensor([0.5, 3.0])
    members = mean + torch.randn((19, *truth.shape), generator=noise)
    theta = torch.rand((6, 2), generator=noise)
    draws = theta + 0.5 * torch.randn((19, 6, 2), generator=noise)
    true = {name: torch.rand(6, generator=noise).double() * 3 for name in ("R", "C", "L")}
    test = EvaluationSet(data, parameters=true, from_prior=True)
    made = protocol.Forecasts(mean, theta, members, draws)
    numbers, errors = scoring.score(made, test, window, ("L", "C"))
    f, y, m = (x.double().numpy() for x in (mean, truth, members))
    each = ((f - y) ** 2).mean((1, 2))
    assert np.allclose(errors, each)
    variances = y.var((0, 1))
    pairs = np.abs(m[:, None] - m[None]).sum((0, 1)) / (19 * 18)
    parameters_ = np.stack([true["L"], true["C"]], 1)
    off = ((theta.numpy() - parameters_) ** 2).mean(0) / parameters_.var(0)
    exact = {
        "n": 6,
        "forecast_mse": each.mean(),
        "forecast_mse_median": np.sort(each)[2],
        "n_failed": 0,
        "relative_mse": (((f - y) ** 2).mean((0, 1)) / variances).mean(),
        "mae": np.abs(f - y).mean(),
        "crps": (np.abs(m - y).mean(0) - pairs / 2).mean(),
        "spread_skill": (20 / 19 * m.var(0, ddof=1).mean() / ((m.mean(0) - y) ** 2).mean()) ** 0.5,
        "forecast_coverage_90": ((y >= m.min(0)) & (y <= m.max(0))).mean(),
        "theta_error": off.mean(),
        "theta_error_L": off[0],
        "theta_error_C": off[1],
        "theta_coverage_50": numbers["theta_coverage_50"],  # see test_scores
        "theta_rank_p": np.nan,  # of so few
        "theta_coverage_90": (
            (parameters_ >= draws.numpy().min(0)) & (parameters_ <= draws.numpy().max(0))
        ).mean(),
    }
    assert numbers == pytest.approx(exact, rel=1e-5, nan_ok=True)
    drawn = draws.double().numpy()
    inside = [np.quantile(drawn, q, 0, method="weibull") for q in (0.25, 0.75)]
    half = ((parameters_ >= inside[0]) & (parameters_ <= inside[1])).mean()
    assert numbers["theta_coverage_50"] == pytest.approx(half)
    bare, _ = scoring.score(protocol.Forecasts(mean, None, None, None), test, 10, ())
    assert set(bare) == set(list(exact)[:6])


@pytest.mark.parametrize("members", [2, 4, 18])
def test_few_members_tell_no_level_that_they_do_not_reach(members):
    """Of any caller: NaN, whether some forecasts failed, all, or none."""
    test = EvaluationSet(
        trajectories("lorenz"), parameters=dict.fromkeys("ab", torch.arange(12.0)), from_prior=True
    )
    target = test.data.x[:, 10:]
    for lost in (0, 3, 12):
        drawn = target + torch.arange(float(members)).reshape(-1, 1, 1, 1)
        drawn[1, :lost] = torch.nan
        thetas = torch.rand((members, 12, 2), generator=torch.Generator().manual_seed(0))
        made = protocol.Forecasts(target, thetas[0], drawn, thetas)
        numbers, _ = scoring.score(made, test, 10, ("a", "b"))
        assert np.isnan(numbers["forecast_coverage_90"]) and np.isnan(numbers["theta_coverage_90"])
        assert np.isnan(numbers["theta_coverage_50"]) == (members < 3)
        assert numbers["n_failed"] == lost


def test_a_variant_is_what_differs_besides_seed_place_and_length():
    own = {name: {"a": 1} for name in ("model", "objective", "path", "rate", "batch", "system")}
    base = {**own, "seed": 3, "run_dir": "x", "trainer": {"total_steps": 5}}
    same = [base, {**base, "run_dir": "y"}, {**base, "trainer": {}}, {**base, "seed": 4}]
    sown = {**base, "seed": 4, "objective": {"places": {"seed": 4}}}
    again = {**base, "seed": 5, "objective": {"places": {"seed": 5}}}
    assert len({scoring.variant(config) for config in same}) == 1
    assert scoring.variant(sown) == scoring.variant(again)
    others = [{**base, name: {"a": 2}} for name in own]
    assert len({scoring.variant(config) for config in [base, *others]}) == 7
    assert len(scoring.variant(base)) == 8


def test_the_summary_is_over_the_runs_of_a_variant():
    def row(objective, variant, seed, mse, chosen=True):
        numbers = {
            "row": f"{objective}{seed}", "system": "rlc", "objective": objective,
            "variant": variant, "seed": seed, "forecast_mse": mse, "theta_error_L": 2 * mse,
            "refined": None if seed is None else chosen, "chosen": chosen,
        }  # fmt: skip
        return Row(numbers, np.zeros(1), None, None)

    rows = [row("vgbdm", "a", 1, 1.0), row("vgbdm", "a", 2, 4.0), row("vgbdm", "b", 1, 9.0)]
    rows += [row("vgbdm", "a", 1, 30.0, False), row("vgbdm", "a", 2, 50.0, False)]
    table, summary = scoring.tabulate([*rows, row("oracle", None, None, 0.5)])
    assert list(table) == [*scoring.RUN_COLUMNS, "theta_error_L"] and len(table) == 6
    assert summary["seeds"].tolist() == [2, 1, 0]
    assert summary["refined"].tolist() == [True, True, None]
    assert summary["unchosen_mse"][0] == 40.0 and summary["unchosen_mse"][1:].isna().all()
    assert summary["forecast_mse"].tolist() == [2.5, 9.0, 0.5]
    assert summary["theta_error_L"].tolist() == [5.0, 18.0, 1.0]
    assert summary["forecast_mse_std"][0] == pytest.approx(np.sqrt(4.5))
    assert summary["forecast_mse_std"][1:].isna().all()


def failing(lost_forecast, lost_member):
    """A forecast and 19 members of which some trajectories are not finite."""
    data = trajectories("lorenz")
    forecast = data.x[:, 10:].clone()
    members = forecast + torch.arange(-9.0, 10.0).reshape(19, 1, 1, 1)
    forecast[lost_forecast, -1] = torch.nan
    members[4, lost_member, -1] = torch.inf
    made = protocol.Forecasts(forecast, None, members, None)
    return scoring.score(made, EvaluationSet(data), 10, ())


def test_failures_are_counted_and_make_every_mean_infinite():
    """Relative MSE, MAE and CRPS were NaN, which the mean over seeds passed over."""
    numbers, errors = failing([3], [3, 5])
    assert numbers["n_failed"] == 2
    for name in ("forecast_mse", "relative_mse", "mae", "crps"):
        assert numbers[name] == np.inf
    assert numbers["forecast_mse_median"] == 0.0
    assert numbers["forecast_coverage_90"] == pytest.approx(1 - 2 / numbers["n"])
    assert np.isinf(errors[3]) and not errors[4]
    rows = [
        Row({"system": "lorenz", "objective": "node", "chosen": True} | found, errors, None, None)
        for found in (numbers, failing([], [])[0])
    ]
    _, summary = scoring.tabulate(rows)
    assert (summary[["forecast_mse", "relative_mse", "mae", "crps"]] == np.inf).all(None)
    assert summary["forecast_mse_median"].item() == 0.0
    assert summary["n_failed"].item() == 1.0 and summary["n"].item() == numbers["n"]


def test_a_run_without_a_number_leaves_its_mean_without_one():
    base = {"system": "rlc", "objective": "node", "chosen": True}
    numbers = [base | {"crps": value} for value in (1.0, np.nan)]
    _, summary = scoring.tabulate([Row(n, np.zeros(1), None, None) for n in numbers])
    assert np.isnan(summary["crps"].item())


def test_runs_of_other_windows_have_no_table_in_common(folder, monkeypatch):
    windows = {folder / "v1": 10, folder / "v2": 30}
    held = {run: SimpleNamespace(window=window) for run, window in windows.items()}
    monkeypatch.setattr(evaluating, "load", lambda run, kind: held[run])
    with pytest.raises(InputError, match=r"v1 is given 10 frames; .*v2 is given 30 frames"):
        evaluating.common_window(list(windows))
    assert evaluating.common_window([folder / "v1"]) == 10


def test_runs_that_begin_at_other_states_have_no_oracle_in_common(monkeypatch):
    """The oracle would be that of one of them."""
    data, fields = trajectories("pendulum"), [make_field("pendulum") for _ in range(2)]
    monkeypatch.setattr(evaluating, "load", lambda run, kind: fields[run])
    start = evaluating.common_start([0, 1], data)
    assert torch.equal(start, protocol.begin_states(fields[0], data))
    begin = fields[1].begin
    fields[1].begin = lambda *told: begin(*told) + 0.01 * fields[1].std
    with pytest.raises(InputError, match=r"begin forecasts at other states \(up to 0.01 standard"):
        evaluating.common_start([0, 1], data)


def test_two_runs_of_one_variant_and_seed_are_refused():
    def row(name, refined, seed=1):
        told = ("row", "objective", "variant", "seed", "refined")
        values = (name, "node", "a", seed, refined)
        return Row(dict(zip(told, values, strict=True)), np.zeros(1), None, None)

    both = [row("x", True), row("x", False), row("z", True, 2)]
    evaluating.check_seeds(both)
    with pytest.raises(InputError, match="x and y are of one variant and seed"):
        evaluating.check_seeds([*both, row("y", False)])


def test_ensembles_are_keyed_by_member_and_row():
    field, data = make_field("rlc"), trajectories("rlc")
    four, two = (protocol.forecast_ensemble(field, data, m, 0) for m in (4, 2))
    assert torch.allclose(four.members[:2], two.members)
    split = protocol.forecast_ensemble(field, data, 2, 0, batch=5)
    assert torch.allclose(split.members, two.members, atol=1e-5)
    assert not torch.allclose(four.members[0], four.members[1])


def test_nothing_to_score_is_one_line(folder, tmp_path):
    with pytest.raises(InputError, match="no best checkpoint"):
        evaluate(folder, tmp_path, runs=str(tmp_path))
    write(dataset("rlc"), tmp_path / "rlc")
    with pytest.raises(InputError, match="models of lorenz"):
        evaluate(folder, tmp_path, data={"test": str(tmp_path / "rlc"), "val": None, "train": None})


@pytest.mark.parametrize("which", ["test", "val", "train"])
def test_trajectories_without_a_frame_beyond_the_window_are_refused(folder, tmp_path, which):
    for frames in (10, 11):
        write(dataset("lorenz").isel(time=slice(frames)), tmp_path / f"{frames}")
    data = {name: str(tmp_path / "11") for name in ("test", "val", "train")}
    with pytest.raises(InputError, match="10 frames per trajectory; the window needs 11"):
        evaluate(folder, tmp_path, data=data | {which: str(tmp_path / "10")})
