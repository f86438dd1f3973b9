"""Words of the page: a headline that says what the numbers say, and no more."""

import numpy as np
import pandas as pd
import pytest

from physics_systems.evaluation.rows import Row
from physics_systems.report.words import errors_of_examples, headline, width

NAMES = ["vgbdm", "node", "persistence", "physics_only"]


def summary(**changed):
    made = pd.DataFrame({
        "objective": NAMES, "forecast_mse": [0.02, 0.05, 0.4, 0.1],
        "theta_error": [0.3, np.nan, np.nan, np.nan], "n_failed": [0.0, 2.0, 0.0, 0.0],
        "forecast_coverage_90": [0.62, np.nan, np.nan, np.nan],
        "theta_coverage_90": [0.88, np.nan, np.nan, np.nan],
    })  # fmt: skip
    for name, value in changed.items():
        made.loc[[0, 1], name] = value
    return made


def paired(*verdicts, low=0.1):
    return pd.DataFrame({"verdict": verdicts, "low": [low] * len(verdicts)})


def test_the_headline_is_of_the_best_model_beside_rows_without_training():
    best, certain, covered = headline(summary(), NAMES, paired("worse", "undecided", "worse"))
    assert best == (
        "vgbdm has the lowest forecast MSE of 2 models, 0.02, 0.05 × that of persistence, 0.2 × "
        "that of physics only, θ error 0.3."
    )
    assert certain == (
        "Of 3 comparisons with VGB-DM: 2 worse, 1 undecided (95 % intervals over seeds and "
        "trajectories)."
    )
    assert covered == (
        "Its 90 % intervals hold, of the forecast 62 % (too narrow), of the θ 88 % (about right)."
    )


def test_no_interval_is_said():
    said = headline(summary(), NAMES, paired("one seed", low=np.nan))[1]
    assert said == "Of 1 comparisons with VGB-DM: 1 one seed (no interval)."
    assert headline(summary(), NAMES, pd.DataFrame())[1].startswith("No comparison")


def test_models_that_failed_are_not_called_good():
    first = headline(summary(forecast_mse=np.inf, n_failed=3.0), NAMES, pd.DataFrame())[0]
    assert first == "No model forecast every trajectory: of vgbdm 3 failed."
    assert headline(summary()[2:], NAMES[2:], pd.DataFrame()) == []


@pytest.mark.parametrize(
    ("share", "word"), [(0.5, "too narrow"), (0.87, "about right"), (0.99, "too wide")]
)
def test_coverage_has_a_word(share, word):
    assert width(share, 0.9) == word


def test_examples_tell_their_errors():
    row = Row({}, np.array([3.0, 1.0, 2.0]), None, None, (1, 2, 0))
    assert errors_of_examples(row) == "best 1, median 2, worst 3"
