"""Debian's chromium, driven by playwright; reports of both kinds to open in it."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

REQUIRED = "BROWSER"
"""Set to ``required``, a test without a browser fails; else it is skipped."""


@pytest.fixture(scope="session")
def browser():
    """A chromium without a window."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        reason = "no chromium is installed; make test-browser installs Debian's"
        pytest.fail(reason) if os.environ.get(REQUIRED) == "required" else pytest.skip(reason)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def shots(tmp_path_factory):
    """The folder of the screenshots: that of the variable SCREENSHOTS, else a temporary one."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def weather(store, tmp_path_factory):
    """The report of an ensemble that is too narrow, with a run of a hostile config."""
    from forecasters import Calibrated

    from climate.forecasts.reading import open_forecast
    from climate.forecasts.writing import write_forecast
    from climate.report.pages import write_report
    from climate.verification.scorecard import score

    folder, six = tmp_path_factory.mktemp("weather"), np.timedelta64(6, "h")
    write_forecast(Calibrated(store, 0.4), store, folder / "forecast", lead=6 * six, members=6)
    steps = pd.DataFrame({"step": range(1, 100), "loss": 3 / np.arange(1, 100)})
    steps.to_csv(folder / "log.csv", index=False)
    pd.DataFrame({"step": [0, 99], "score": [2.0, 1.0]}).to_csv(
        folder / "validation.csv", index=False
    )
    config = {"<script>": "</pre><img src=https://example.org/x onerror=alert(1)>", "x" * 300: 1}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    forecast = open_forecast(folder / "forecast", store)
    return write_report(score(forecast, store), forecast, store, folder, folder)


def made_up(objective, seed, test, field, width):
    """A row of a model that errs by a normal of its width."""
    from physics_systems.evaluation.calibration import rank_counts
    from physics_systems.evaluation.protocol import Forecasts
    from physics_systems.evaluation.rows import Row, examples
    from physics_systems.evaluation.scoring import score

    drawn, window = torch.Generator().manual_seed(seed), field.window
    truth = test.target[:, window:]
    members = truth + width * torch.randn((19, *truth.shape), generator=drawn)
    mean = truth + torch.linspace(0.2, 1, len(test))[:, None, None] * torch.randn(
        truth.shape, generator=drawn
    )
    true = torch.stack([test.parameters[name] for name in field.parameter_names], 1)
    draws = true + 0.1 * torch.randn((19, *true.shape), generator=drawn)
    mean = truth + width * (mean - truth)
    said = Forecasts(mean, draws.mean(0), members, draws)
    numbers, errors = score(said, test, window, field.parameter_names)
    numbers |= {"row": f"{objective}-{seed}", "system": "lorenz", "objective": objective}
    numbers |= {"seed": seed, "variant": "a", "refined": False, "chosen": True}
    shown = examples(errors)
    said = said._replace(members=members[:, list(shown)])
    return Row(numbers, errors, said, field, shown, rank_counts(members, truth))


@pytest.fixture(scope="session")
def systems(tmp_path_factory):
    """The report of two models of Lorenz, and of a row without training."""
    from system_fields import SYSTEMS

    from physics_systems.data.trajectories import Trajectories
    from physics_systems.evaluation.calibration import calibration_table
    from physics_systems.evaluation.comparison import compare_rows
    from physics_systems.evaluation.protocol import Forecasts
    from physics_systems.evaluation.rows import Row
    from physics_systems.evaluation.scoring import score, tabulate
    from physics_systems.evaluation.sets import EvaluationSet
    from physics_systems.report.pages import write_report

    system, drawn = SYSTEMS["lorenz"], torch.Generator().manual_seed(0)
    times = torch.linspace(0, 1, 30).double().expand(24, 30)
    phase = torch.rand((24, 1, 3), generator=drawn)
    states = 10 * torch.sin(6 * times[:, :, None] + 6 * phase).float()
    names = tuple(system.prior)
    true = {name: torch.randn(24, generator=drawn).double() for name in names}
    test = EvaluationSet(Trajectories(states, times), None, true, True)
    field = SimpleNamespace(window=10, std=torch.ones(3, 1), size=3, parameter_names=names)
    rows = [
        made_up(name, seed, test, field, width)
        for name, width in (("vgbdm", 0.2), ("node", 1.0))
        for seed in (1, 2)
    ]
    last = Forecasts(states[:, 9:10].expand(24, 20, 3), None, None, None)
    numbers, errors = score(last, test, 10, names)
    numbers |= {"row": "persistence", "system": "lorenz", "objective": "persistence"}
    rows.append(Row({**numbers, "chosen": True}, errors, last, None))
    models = rows[:-1]
    frames = {
        "summary": tabulate(rows)[1],
        "paired": compare_rows(rows),
        "limits": pd.DataFrame({"parameter": names, "minimum_norm_error": 0.5}),
        "calibration": calibration_table(models, true),
    }
    folder = tmp_path_factory.mktemp("systems")
    return write_report(folder, system, test, rows, frames, {"runs": "<script>"})
