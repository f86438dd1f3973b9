"""What the page says of θ."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from physics_systems.evaluation.calibration import calibration_table
from physics_systems.evaluation.protocol import Forecasts
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.report import theta
from physics_systems.report.theta import calibration, parameters, worse_than_guessing


def told(parts):
    """All that parts of a page say."""
    return " ".join(map(str, parts))


NAMES = ["vgbdm", "physvae", "blackbox", "prior_mean", "oracle"]


def summary(**first):
    made = pd.DataFrame({
        "objective": NAMES,
        "theta_error": [2.96, 0.5, np.nan, 1.02, np.nan],
        "theta_error_std": [0.1] * 5,
        "theta_error_a": [5.9, 0.9, np.nan, 1.0, np.nan],
        "theta_error_b": [0.02, 0.1, np.nan, 1.04, np.nan],
        "theta_error_a_std": [0.1] * 5,
    })  # fmt: skip
    for name, value in first.items():
        made.loc[0, name] = value
    return made


def test_a_row_that_is_worse_than_the_prior_mean_is_said_to_be():
    (line,) = worse_than_guessing(summary(), NAMES)
    assert line.startswith("vgbdm: θ is worse than guessing the prior mean (error 2.96; ")
    assert "1.02" in line and "By parameter: a 5.9." in line
    (mild,) = worse_than_guessing(summary(theta_error=0.9), NAMES)
    assert mild == "vgbdm: worse than guessing the prior mean in a 5.9."
    assert worse_than_guessing(summary(theta_error=0.9, theta_error_a=0.9), NAMES) == []
    assert worse_than_guessing(summary()[:3], NAMES[:3]) == []


def test_parameters_stand_beside_the_exact_minimiser_and_the_guess():
    limits = pd.DataFrame({"parameter": ["b", "a"], "minimum_norm_error": [4.5, 1.25]})
    page = told(parameters(summary(), limits, NAMES))
    words = ("worse than guessing the prior mean", "5.9", "prior_mean", "exact", "1.25", "4.5")
    order = [page.index(text) for text in words]
    assert order == sorted(order) and "oracle" not in page and "blackbox" not in page
    bare = told(parameters(summary(), limits.iloc[:0], NAMES))
    assert "5.9" in bare and "exact" not in bare
    assert parameters(summary()[["objective", "theta_error"]], limits, NAMES) == []


@pytest.fixture
def drawn(monkeypatch):
    """What figures of calibration are asked for."""
    asked = []
    monkeypatch.setattr(
        theta.figures, "calibration", lambda found, title: asked.append((found, title)) or b""
    )
    return asked


def model(objective, seed, draws, variant="v"):
    numbers = {"objective": objective, "variant": variant, "seed": seed}
    made = Forecasts(None, None, None, draws)
    return Row(numbers, np.zeros(1), made, SimpleNamespace(parameter_names=("a",)))


def case(from_prior):
    truth = torch.linspace(-1, 1, 40).double()
    draws = torch.randn((19, 40, 1), generator=torch.Generator().manual_seed(0))
    rows = [model("vgbdm", 1, draws), model("vgbdm", 2, draws), model("vgbdm", 1, draws, "w")]
    test = EvaluationSet(SimpleNamespace(), parameters={"a": truth}, from_prior=from_prior)
    table = calibration_table(rows, test.parameters)
    return {"vgbdm": rows, "node": [model("node", 1, None)]}, test, table


def test_ranks_are_pooled_over_the_seeds_of_the_first_variant(drawn):
    models, test, table = case(True)
    page = told(calibration(models, test, table))
    ((histograms, title),) = drawn
    assert title == "vgbdm, 2 seed(s)" and list(histograms) == ["a"]
    assert histograms["a"].counts.sum() == 40
    own = table.iloc[0]
    assert f"90 % hold {own['coverage_90']:.2f} [{own['coverage_90_low']:.2f}" in page
    assert "50 % hold" in page and f"p = {own['rank_p']:.2g}" in page and "n = 40" in page


def test_draws_from_ranges_are_said_to_tell_nothing(drawn):
    models, test, table = case(False)
    page = told(calibration(models, test, table.iloc[:0]))
    assert "is no calibration" in page and not drawn
    assert calibration({"node": models["node"]}, test, table) == []
    assert calibration(models, EvaluationSet(SimpleNamespace()), table) == []


def test_calibration_that_fails_is_said_to_and_how(drawn):
    models, test, table = case(True)
    narrow = dict.fromkeys(("coverage_50_low", "coverage_50_high"), 0.2)
    wide = {"coverage_90_low": 0.95, "coverage_90_high": 1.0, "rank_p": 1e-5}
    page = told(calibration(models, test, table.assign(**narrow, **wide)))
    assert (
        "vgbdm is not calibrated. a: the 50 % intervals are too narrow, the 90 % intervals are too "
        "wide, ranks are not even."
    ) in page
    right = {"coverage_50_low": 0.4, "coverage_50_high": 0.6, "coverage_90_low": 0.8}
    right |= {"coverage_90_high": 0.95, "rank_p": 0.4}
    assert "is not calibrated" not in told(calibration(models, test, table.assign(**right)))
