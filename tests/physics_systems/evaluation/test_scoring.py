"""Scores of trained runs beside the sanity rows, under one protocol."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from runs import config
from systems import (
    SYSTEMS,
    dataset,
    make_field,
    parameters,
    smooth,
    trajectories,
    write_stores,
)

from physics_systems import evaluating, training
from physics_systems.data.trajectories import write
from physics_systems.evaluation import protocol, scoring
from vgbdm.errors import InputError
from vgbdm.paths.hermite import HermitePath


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
        "runs": str(folder / "runs"), "data": {"test": str(folder / "val"), "train": None},
        "out": str(out), "members": 19, "limit": None, "seed": 0, "threads": 1,
    }  # fmt: skip
    evaluating.evaluate(OmegaConf.create(cfg | changes))
    return pd.read_csv(out / "scores.csv")


def test_there_is_a_row_per_run_and_per_sanity_check(folder, tmp_path):
    table = evaluate(folder, tmp_path)
    assert set(scoring.RUN_COLUMNS) <= set(table)
    assert {"theta_error_sigma", "theta_error_beta"} <= set(table)
    runs = table[table["objective"] == "vgbdm"]
    assert sorted(runs["seed"]) == [1, 2]
    assert runs["variant"].nunique() == 1
    # 20 intervals of 2 steps of 4 stages, and those of inference
    assert (runs["nfe"] > 20 * 2 * 4).all() and (runs["nfe"] < 2 * 20 * 2 * 4).all()
    assert runs[["crps", "theta_coverage_90", "forecast_coverage_90"]].notna().all(None)
    sanity = table.set_index("row")
    assert sanity.loc["oracle", "forecast_mse"] < 1e-9
    assert sanity.loc["physics_only", "forecast_mse"] > 1
    assert sanity.loc[list(scoring.SANITY), "theta_error"].isna().all()
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("objective")
    assert summary.loc["vgbdm", "runs"] == 2
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") >= 5
    assert "https:" not in page and "http:" not in page.replace("http://www.w3.org", "")
    assert len(pd.read_csv(tmp_path / "paired.csv")) == 4
    limits = pd.read_csv(tmp_path / "limits.csv").set_index("parameter")["minimum_norm_error"]
    assert (limits.loc[["sigma", "beta"]] < 1e-6).all()


def test_frame_t_is_the_first_one_scored():
    """A model that knows the next frames scores 0; one that is a step late does not."""
    data = trajectories("lorenz")
    right = protocol.Forecasts(data.x[:, 10:], None, None, None)
    late = protocol.Forecasts(data.x[:, 9:-1], None, None, None)
    assert scoring.score(right, data, 10, (), None)[0]["forecast_mse"] == 0.0
    assert scoring.score(late, data, 10, (), None)[0]["forecast_mse"] > 1e-3
    assert torch.equal(protocol.persistence(data, 10)[:, 0], data.x[:, 9])


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
    numbers, errors = scoring.score(
        protocol.Forecasts(mean, theta, members, draws), data, window, ("L", "C"), true
    )
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
        "theta_coverage_90": (
            (parameters_ >= draws.numpy().min(0)) & (parameters_ <= draws.numpy().max(0))
        ).mean(),
    }
    assert numbers == pytest.approx(exact, rel=1e-5)
    bare, _ = scoring.score(protocol.Forecasts(mean, None, None, None), data, 10, (), true)
    assert set(bare) == set(list(exact)[:6])


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
    def row(objective, variant, seed, mse):
        numbers = {
            "row": f"{objective}{seed}", "system": "rlc", "objective": objective,
            "variant": variant, "seed": seed, "forecast_mse": mse, "theta_error_L": 2 * mse,
        }  # fmt: skip
        return scoring.Row(numbers, np.zeros(1), None, None)

    rows = [row("vgbdm", "a", 1, 1.0), row("vgbdm", "a", 2, 4.0), row("vgbdm", "b", 1, 9.0)]
    table, summary = scoring.tabulate([*rows, row("oracle", None, None, 0.5)])
    assert list(table) == [*scoring.RUN_COLUMNS, "theta_error_L"] and len(table) == 4
    assert summary["runs"].tolist() == [2, 1, 1]
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
    return scoring.score(protocol.Forecasts(forecast, None, members, None), data, 10, (), None)


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
        scoring.Row({"system": "lorenz", "objective": "node"} | found, errors, None, None)
        for found in (numbers, failing([], [])[0])
    ]
    _, summary = scoring.tabulate(rows)
    assert (summary[["forecast_mse", "relative_mse", "mae", "crps"]] == np.inf).all(None)
    assert summary["n_failed"].item() == 1.0 and summary["n"].item() == numbers["n"]


def test_a_run_without_a_number_leaves_its_mean_without_one():
    numbers = [{"system": "rlc", "objective": "node", "crps": value} for value in (1.0, np.nan)]
    _, summary = scoring.tabulate([scoring.Row(n, np.zeros(1), None, None) for n in numbers])
    assert np.isnan(summary["crps"].item())


def test_runs_of_other_windows_have_no_table_in_common(folder, monkeypatch):
    windows = {folder / "v1": 10, folder / "v2": 30}
    held = {run: SimpleNamespace(window=window) for run, window in windows.items()}
    monkeypatch.setattr(evaluating, "load", lambda run, kind: held[run])
    with pytest.raises(InputError, match=r"v1 is given 10 frames; .*v2 is given 30 frames"):
        evaluating.common_window(list(windows))
    assert evaluating.common_window([folder / "v1"]) == 10


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_oracle_is_right_on_every_system(name):
    data, truth = trajectories(name), parameters(name)
    forecast = protocol.oracle(SYSTEMS[name], data, 10, HermitePath(), truth)
    assert (forecast - data.x[:, 10:]).square().mean() < 1e-7


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
        evaluate(folder, tmp_path, data={"test": str(tmp_path / "rlc"), "train": None})


@pytest.mark.parametrize("which", ["test", "train"])
def test_trajectories_without_a_frame_beyond_the_window_are_refused(folder, tmp_path, which):
    for frames in (10, 11):
        write(dataset("lorenz").isel(time=slice(frames)), tmp_path / f"{frames}")
    data = {"test": str(tmp_path / "11"), "train": str(tmp_path / "11")}
    with pytest.raises(InputError, match="10 frames per trajectory; the window needs 11"):
        evaluate(folder, tmp_path, data=data | {which: str(tmp_path / "10")})
