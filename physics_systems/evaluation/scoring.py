"""Every trained model below a folder, scored under the one fair protocol.

See docs/method.md#forecast-protocol, and docs/method.md#scores.

Shapes: ``N`` trajectories, ``n`` scored frames, ``C`` components, ``M`` members, ``P`` parameters.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from physics_systems.data.trajectories import Trajectories, open_dataset
from physics_systems.evaluation import protocol
from physics_systems.evaluation.calibration import rank_counts, smallest_p
from physics_systems.evaluation.choice import validation_error, ways
from physics_systems.evaluation.minimum_norm import minimum_norm
from physics_systems.evaluation.protocol import Forecasts
from physics_systems.evaluation.rows import Row, examples
from physics_systems.evaluation.sanity import sanity_forecasts
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.systems.system import SimulatedSystem, System
from vgbdm import scores
from vgbdm.errors import InputError
from vgbdm.fields.latent_field import LatentField
from vgbdm.loading import load, locate
from vgbdm.training.checkpoint import find, read_state
from vgbdm.training.records import training_of

log = logging.getLogger(__name__)

OF_RUNS = ("objective", "variant", "seed", "steps", "train_seconds", "best_step")
"""Columns that a run says of itself; a model alone cannot."""
NUMBERS = (
    "validation_mse", "n", "forecast_mse", "forecast_mse_median", "n_failed", "relative_mse", "mae",
    "observed_mse", "theta_error", "crps", "spread_skill", "forecast_coverage_90",
    "theta_coverage_50", "theta_coverage_90", "theta_rank_p", "points", "forecast_seconds",
    "parameters", "steps", "train_seconds", "best_step",
)  # fmt: skip
RUN_COLUMNS = (
    "row", "system", "objective", "variant", "seed", "refined", "chosen", *NUMBERS,
)  # fmt: skip


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
    forecasts: Forecasts, test: EvaluationSet, window: int, names: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray]:
    """The numbers of one row, and the mean square error of each trajectory.

    Scores are against the states without noise where the set knows them; ``observed_mse`` then is
    what they are against the observations.
    """
    target = test.target[:, window:]
    errors = scores.mean_square_errors(forecasts.mean, target).nan_to_num(torch.inf)
    failed = ~errors.isfinite()
    numbers: dict[str, Any] = {
        "n": len(test),
        "forecast_mse": float(errors.mean()),
        "forecast_mse_median": float(errors.median()),
        "relative_mse": scores.relative_mean_square_error(forecasts.mean, target),
        "mae": float((forecasts.mean - target).abs().mean()),
    }
    if test.states is not None:
        seen = scores.mean_square_errors(forecasts.mean, test.data.x[:, window:])
        numbers["observed_mse"] = float(seen.nan_to_num(torch.inf).mean())
    if failed.any():
        numbers |= {"relative_mse": torch.inf, "mae": torch.inf}
    if forecasts.members is not None and len(forecasts.members) > 1:  # one draw has no spread
        lost = ~forecasts.members.isfinite().transpose(0, 1).flatten(1).all(1)
        numbers |= _of_ensemble(forecasts.members, target, lost)
        failed |= lost
    numbers["n_failed"] = int(failed.sum())
    if forecasts.theta is not None and test.parameters is not None:
        numbers |= _of_theta(forecasts, test, names)
    return numbers, errors.numpy()


def _of_theta(forecasts: Forecasts, test: EvaluationSet, names: Sequence[str]) -> dict[str, float]:
    """Scores of θ, and of its posterior where there are draws."""
    assert forecasts.theta is not None and test.parameters is not None
    true = torch.stack([test.parameters[name] for name in names], 1)
    each = scores.theta_errors(forecasts.theta.double(), true).nan_to_num(torch.inf)
    numbers = {"theta_error": float(each.mean())}
    numbers |= {f"theta_error_{n}": float(e) for n, e in zip(names, each, strict=True)}
    if forecasts.theta_draws is not None and len(forecasts.theta_draws) > 1:
        draws = forecasts.theta_draws.double()
        numbers["theta_coverage_50"] = scores.coverage(draws, true, 0.5)
        numbers["theta_coverage_90"] = scores.coverage(draws, true)
        if test.from_prior:
            numbers["theta_rank_p"] = smallest_p(draws, true)
    return numbers


def _of_ensemble(members: Tensor, target: Tensor, lost: Tensor) -> dict[str, float]:
    """Scores of members (M, N, n, C, ...), some of whose trajectories ``lost`` (N,) a member.

    Those make the mean score infinite, and their frames are not covered.
    """
    kept = ~lost
    if kept.any():
        covered = scores.coverage(members[:, kept], target[kept])
    else:  # none, where so many members tell the level at all
        covered = scores.coverage(torch.zeros(len(members), 1), torch.ones(1))
    if lost.any():
        crps = spread_skill = torch.inf
    else:
        crps = float(scores.crps(members, target).mean())
        spread_skill = scores.spread_skill(members, target)
    share = float(kept.double().mean())
    return {"crps": crps, "spread_skill": spread_skill, "forecast_coverage_90": covered * share}


def score_run(
    run: Path,
    test: EvaluationSet,
    validation: Trajectories | None,
    members: int,
    seed: int,
    field: LatentField | None = None,
) -> list[Row]:
    """Forecast with a run's best checkpoint, with and without refinement, and score.

    Args:
        run: folder.
        test: what is scored.
        validation: what refinement is decided on, see `choose`; None: nothing is there.
        members: of ensembles.
        seed: of their draws.
        field: the run's model as it is scored; None: as its checkpoint has it.
    """
    about, rows = {"row": run.name, **about_run(run)}, []
    for one in ways(field or load(run, kind=LatentField), validation):
        row = score_field(one, test, members, seed)
        row.numbers |= about
        if validation is not None:
            row.numbers["validation_mse"] = validation_error(one, validation)
        rows.append(row)
    return rows


def about_run(run: Path) -> dict[str, Any]:
    """What a run folder, or a checkpoint of it, says of its training, by column of `OF_RUNS`.

    ``steps`` and ``train_seconds`` are those of the run, or up to the checkpoint where that is all
    there is; runs of before do not tell their seconds.
    """
    held = locate(run)
    state = read_state(held)
    config = state["config"]
    whole = training_of(run) if find(run, "last") is not None else None
    told = (
        config["objective"]["name"], variant(config), config["seed"],
        whole.steps if whole else state["step"],
        whole.seconds if whole else state.get("train_seconds"), state["step"],
    )  # fmt: skip
    return dict(zip(OF_RUNS, told, strict=True))


def score_field(field: LatentField, test: EvaluationSet, members: int, seed: int) -> Row:
    """Forecast with a model, and score; the row ``model``.

    ``points`` are states at which the field was asked, inference included, and
    ``forecast_seconds`` the wall-clock of one forecast from posterior means, both per trajectory,
    all trajectories forecast together.

    Args:
        field: trained.
        test: what is scored.
        members: of the ensemble.
        seed: of its draws.
    """
    points = 0

    def count(_: Any, given: tuple[Tensor, ...], __: Any) -> None:
        nonlocal points
        points += len(given[0])

    hook = field.register_forward_hook(count)
    begin = time.perf_counter()
    try:
        protocol.forecast_means(field, test.data, batch=len(test))
    finally:
        hook.remove()
    seconds = time.perf_counter() - begin
    forecasts = protocol.forecast_ensemble(field, test.data, members, seed)
    numbers, errors = score(forecasts, test, field.window, field.parameter_names)
    numbers |= {
        "row": "model",
        "system": field.physics.name,  # type: ignore[attr-defined]
        "refined": protocol.refines(field),
        "chosen": True,
        "points": points / len(test),
        "forecast_seconds": seconds / len(test),
        "parameters": sum(p.numel() for p in field.parameters()),
    }
    shown, counts = examples(errors), None
    if forecasts.members is not None:
        counts = rank_counts(forecasts.members, test.target[:, field.window :])
        # those of the others are not kept
        forecasts = forecasts._replace(members=forecasts.members[:, list(shown)].clone())
    return Row(numbers, errors, forecasts, field, shown, counts)


def variant(config: Mapping[str, Any]) -> str:
    """A digest of what makes a run differ besides its seed, place and length."""
    own = {k: config[k] for k in ("model", "objective", "path", "rate", "batch", "system")}
    text = json.dumps(own, sort_keys=True).replace(f'"seed": {config["seed"]}', '"seed": 0')
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def sanity_rows(
    system: System, test: EvaluationSet, start: Tensor, window: int, mean: Tensor
) -> list[Row]:
    """A row of each of `sanity_forecasts`; arguments are theirs."""
    rows = []
    for name, forecasts in sanity_forecasts(system, test, start, window, mean).items():
        numbers, errors = score(forecasts, test, window, tuple(system.prior))
        numbers |= {"row": name, "system": system.name, "objective": name, "chosen": True}
        rows.append(Row(numbers, errors, forecasts, None))
    return rows


def gauge_limits(system: System, test: EvaluationSet, field: LatentField) -> pd.DataFrame:
    """θ errors of the exact minimiser of the gauge penalty, see `minimum_norm`; else no rows.

    Args:
        system: that was scored.
        test: with its true parameters, or without.
        field: any model of the table; its unit of R and its path are taken.
    """
    names: tuple[str, ...] = ()
    errors = []
    if test.parameters is not None and isinstance(system, SimulatedSystem):
        names = tuple(system.prior)
        true = torch.stack([test.parameters[name] for name in names], 1)
        seen = Trajectories(test.target, test.data.t)
        least = minimum_norm(system, seen, test.parameters, field.rate, field.path)
        errors = scores.theta_errors(least, true).tolist()
    return pd.DataFrame({"parameter": names, "minimum_norm_error": errors})


def tabulate(rows: list[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows; and mean ± standard deviation over the seeds of each variant, of chosen ones.

    A mean of which one run has no number has none either. ``seeds`` counts them, 0 of a row
    without any; ``unchosen_mse`` is what a variant scores the other way, with refinement or
    without.
    """
    table = pd.DataFrame([row.numbers for row in rows])
    extra = sorted(n for n in map(str, table.columns) if n.startswith("theta_error_"))
    table = table.reindex(columns=[*RUN_COLUMNS, *extra])
    for name in (*NUMBERS, *extra):
        table[name] = table[name].astype(float)
    keys, numbers = ["system", "objective", "variant"], [*NUMBERS, *extra]
    chosen = table["chosen"].astype(bool)
    groups = table[chosen].groupby(keys, sort=False, dropna=False)
    mean, std = groups[numbers].agg(_mean), groups[numbers].std()
    others = table[~chosen].groupby(keys, sort=False, dropna=False)["forecast_mse"].agg(_mean)
    summary = mean.join(std.add_suffix("_std")).assign(
        refined=groups["refined"].first(), seeds=groups["seed"].nunique(), unchosen_mse=others
    )
    return table, summary.reset_index()


def _mean(values: pd.Series) -> float:
    """Of all values: one that is missing is not passed over."""
    return float(values.mean(skipna=False))
