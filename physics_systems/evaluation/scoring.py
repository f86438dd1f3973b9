"""Every trained model below a folder, scored under the one fair protocol.

See docs/method.md#forecast-protocol, and docs/method.md#scores.

Shapes: ``N`` trajectories, ``n`` scored frames, ``C`` components, ``M`` members, ``P`` parameters.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from physics_systems.data.trajectories import Trajectories, open_dataset
from physics_systems.evaluation import protocol
from physics_systems.evaluation.minimum_norm import minimum_norm
from physics_systems.evaluation.protocol import Forecasts
from physics_systems.systems.system import SimulatedSystem, System
from vgbdm import scores
from vgbdm.errors import InputError
from vgbdm.fields.latent_field import LatentField
from vgbdm.loading import load
from vgbdm.training.checkpoint import find_whole, read_state

log = logging.getLogger(__name__)

RUN_COLUMNS = (
    "row", "system", "objective", "variant", "seed", "n", "forecast_mse", "forecast_mse_median",
    "n_failed", "relative_mse", "mae", "theta_error", "crps", "spread_skill",
    "forecast_coverage_90", "theta_coverage_90", "nfe", "seconds", "parameters", "steps",
)  # fmt: skip
OF_RUNS = ("objective", "variant", "seed", "steps")
"""Columns that a run says of itself; a model alone cannot."""
SANITY = ("oracle", "physics_only", "persistence", "training_mean")


@dataclass
class Row:
    """One scored row.

    Attributes:
        numbers: by column of ``scores.csv``.
        errors: (N,) mean square error of each trajectory; infinite where a forecast failed.
        forecasts: for pictures.
        field: the model; None for a sanity row.
    """

    numbers: dict[str, Any]
    errors: np.ndarray
    forecasts: Forecasts
    field: LatentField | None


def find_runs(runs: str | Path, test: str | Path) -> list[Path]:
    """Run folders below ``runs`` whose system is that of the test store.

    Raises:
        InputError: if there are none.
    """
    folder = Path(runs)
    found = sorted(path.parent for path in folder.rglob("best.json"))
    if not found:
        raise InputError(f"runs={folder}: no best checkpoint below it; train with train_system.py")
    with open_dataset(test) as dataset:
        wanted = dataset.attrs.get("system")
    chosen, others = [], set()
    for path in found:
        name = load(path, kind=LatentField).physics.name  # type: ignore[attr-defined]
        if wanted is None or name == wanted:
            chosen.append(path)
        else:
            others.add(name)
    if not chosen:
        raise InputError(f"runs={folder}: models of {', '.join(others)}; {test} is of {wanted}")
    if others:
        log.warning("runs of %s are left out: %s is of %s", ", ".join(others), test, wanted)
    return chosen


def score(
    forecasts: Forecasts,
    data: Trajectories,
    window: int,
    names: tuple[str, ...],
    truth: Mapping[str, Tensor] | None,
) -> tuple[dict[str, Any], np.ndarray]:
    """The numbers of one row, and the mean square error of each trajectory."""
    target = data.x[:, window:]
    errors = scores.mean_square_errors(forecasts.mean, target).nan_to_num(torch.inf)
    failed = ~errors.isfinite()
    numbers: dict[str, Any] = {
        "n": len(data),
        "forecast_mse": float(errors.mean()),
        "forecast_mse_median": float(errors.median()),
        "relative_mse": scores.relative_mean_square_error(forecasts.mean, target),
        "mae": float((forecasts.mean - target).abs().mean()),
    }
    if failed.any():
        numbers |= {"relative_mse": torch.inf, "mae": torch.inf}
    if forecasts.members is not None and len(forecasts.members) > 1:  # one draw has no spread
        lost = ~forecasts.members.isfinite().transpose(0, 1).flatten(1).all(1)
        numbers |= _of_ensemble(forecasts.members, target, lost)
        failed |= lost
    numbers["n_failed"] = int(failed.sum())
    if forecasts.theta is not None and truth is not None:
        true = torch.stack([truth[name] for name in names], 1)
        each = scores.theta_errors(forecasts.theta.double(), true).nan_to_num(torch.inf)
        numbers["theta_error"] = float(each.mean())
        numbers |= {f"theta_error_{n}": float(e) for n, e in zip(names, each, strict=True)}
        if forecasts.theta_draws is not None and len(forecasts.theta_draws) > 1:
            numbers["theta_coverage_90"] = scores.coverage(forecasts.theta_draws.double(), true)
    return numbers, errors.numpy()


def _of_ensemble(members: Tensor, target: Tensor, lost: Tensor) -> dict[str, float]:
    """Scores of members (M, N, n, C, ...), some of whose trajectories ``lost`` (N,) a member.

    Those make the mean score infinite, and their frames are not covered.
    """
    kept = ~lost
    covered = scores.coverage(members[:, kept], target[kept]) if kept.any() else 0.0
    if lost.any():
        crps = spread_skill = torch.inf
    else:
        crps = float(scores.crps(members, target).mean())
        spread_skill = scores.spread_skill(members, target)
    share = float(kept.double().mean())
    return {"crps": crps, "spread_skill": spread_skill, "forecast_coverage_90": covered * share}


def score_run(run: Path, data: Trajectories, truth: Any, members: int, seed: int) -> Row:
    """Forecast with a run's best checkpoint, and score."""
    row = score_field(load(run, kind=LatentField), data, truth, members, seed)
    row.numbers |= {"row": run.name, **about_run(find_whole(run, "best"))}
    return row


def about_run(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of its training, by column of `OF_RUNS`."""
    state = read_state(checkpoint)
    config = state["config"]
    told = (config["objective"]["name"], variant(config), config["seed"], state["step"])
    return dict(zip(OF_RUNS, told, strict=True))


def score_field(field: LatentField, data: Trajectories, truth: Any, members: int, seed: int) -> Row:
    """Forecast with a model, and score; the row ``model``."""
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    hook = field.register_forward_hook(count)
    begin = time.perf_counter()
    try:
        protocol.forecast_means(field, data, batch=len(data))
    finally:
        hook.remove()
    seconds = time.perf_counter() - begin
    forecasts = protocol.forecast_ensemble(field, data, members, seed)
    names = field.parameter_names
    numbers, errors = score(forecasts, data, field.window, names, truth)
    numbers |= {
        "row": "model",
        "system": field.physics.name,  # type: ignore[attr-defined]
        "nfe": calls,
        "seconds": seconds,
        "parameters": sum(p.numel() for p in field.parameters()),
    }
    return Row(numbers, errors, forecasts, field)


def variant(config: Mapping[str, Any]) -> str:
    """A digest of what makes a run differ besides its seed, place and length."""
    own = {k: config[k] for k in ("model", "objective", "path", "rate", "batch", "system")}
    text = json.dumps(own, sort_keys=True).replace(f'"seed": {config["seed"]}', '"seed": 0')
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def sanity_rows(
    system: System, data: Trajectories, field: LatentField, truth: Any, mean: Tensor
) -> list[Row]:
    """Oracle and physics only, where the truth is known; persistence; training mean.

    They begin as forecasts of the field do, with its window and its path.
    """
    made: dict[str, Tensor] = {}
    window, path = field.window, field.path
    if truth is not None:
        if isinstance(system, SimulatedSystem):
            made["oracle"] = protocol.oracle(system, data, window, path, truth)
        made["physics_only"] = protocol.physics_only(system, data, window, path, truth)
    made["persistence"] = protocol.persistence(data, window)
    made["training_mean"] = protocol.training_mean(data, window, mean)
    rows = []
    for name, forecast in made.items():
        forecasts = Forecasts(forecast, None, None, None)
        numbers, errors = score(forecasts, data, window, (), None)
        numbers |= {"row": name, "system": system.name, "objective": name}
        rows.append(Row(numbers, errors, forecasts, None))
    return rows


def gauge_limits(
    system: System, data: Trajectories, truth: Mapping[str, Tensor] | None, field: LatentField
) -> pd.DataFrame:
    """θ errors of the exact minimiser of the gauge penalty, see `minimum_norm`; else no rows."""
    names: tuple[str, ...] = ()
    errors = []
    if truth is not None and isinstance(system, SimulatedSystem):
        names = tuple(system.prior)
        true = torch.stack([truth[name] for name in names], 1)
        least = minimum_norm(system, data, truth, field.rate, field.path)
        errors = scores.theta_errors(least, true).tolist()
    return pd.DataFrame({"parameter": names, "minimum_norm_error": errors})


def tabulate(rows: list[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows, and mean ± standard deviation over the seeds of each variant.

    A mean of which one run has no number has none either.
    """
    table = pd.DataFrame([row.numbers for row in rows])
    extra = sorted(n for n in map(str, table.columns) if n.startswith("theta_error_"))
    table = table.reindex(columns=[*RUN_COLUMNS, *extra])
    numbers = [*RUN_COLUMNS[5:], *extra]
    groups = table.groupby(["system", "objective", "variant"], sort=False, dropna=False)
    mean, std = groups[numbers].agg(_mean), groups[numbers].std()
    summary = mean.join(std.add_suffix("_std")).assign(runs=groups.size()).reset_index()
    return table, summary


def _mean(values: pd.Series) -> float:
    """Of all values: one that is missing is not passed over."""
    return float(values.mean(skipna=False))
