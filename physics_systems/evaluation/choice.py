"""Whether a row's answers are refined on the context: decided on validation data, row by row.

A row is every seed of one variant. Levenberg–Marquardt on the matching error of the context
(`vgbdm.inference.refinement`) mends the answers of some objectives and spoils those of others, so
each row is scored both ways, and the one with the lower validation error is the row's.

Shapes: ``S`` seeds.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation import protocol
from physics_systems.evaluation.rows import Row
from vgbdm import scores
from vgbdm.fields.latent_field import LatentField
from vgbdm.inference.calibration import calibrate

log = logging.getLogger(__name__)


def ways(field: LatentField, validation: Trajectories | None) -> list[LatentField]:
    """A model as it is configured; and, if that refines, one that does not.

    The widths of the posterior are of the way that means are found: without refinement they are
    set anew on validation data, as training does it. Where there are none they stay.
    """
    if not protocol.refines(field):
        return [field]
    plain = copy.deepcopy(field)
    plain.refinement = None
    if validation is not None:
        calibrate(plain, validation.x, validation.t, seed=0)
    return [field, plain]


def validation_error(field: LatentField, data: Trajectories) -> float:
    """Mean square error of forecasts of validation trajectories; infinite if one of them fails."""
    forecast, _ = protocol.forecast_means(field, data)
    errors = scores.mean_square_errors(forecast, data.x[:, field.window :])
    return float(errors.nan_to_num(np.inf).mean())


def choose(rows: Sequence[Row]) -> None:
    """Mark in each row's numbers whether it is ``chosen``, by ``validation_mse``.

    The mean over seeds decides. Where a seed has no validation error, or none is finite, a row
    stays as it is configured, which is said.

    Args:
        rows: of models, each seed both ways, first as it is configured.
    """
    groups: dict[tuple[str, str], dict[bool, list[Row]]] = {}
    for row in rows:
        refined = bool(row.numbers["refined"])
        groups.setdefault(row.name, {}).setdefault(refined, []).append(row)
    for (objective, variant), sides in groups.items():
        best = next(iter(sides))
        if len(sides) > 1:
            means = {
                way: float(np.mean([row.numbers.get("validation_mse", np.nan) for row in own]))
                for way, own in sides.items()
            }
            if any(map(np.isnan, means.values())) or all(map(np.isinf, means.values())):
                log.warning(
                    "%s %s: nothing finite on validation data to decide refinement by; as "
                    "configured", objective, variant,
                )  # fmt: skip
            else:
                best = min(means, key=lambda way: means[way])
        for way, own in sides.items():
            for row in own:
                row.numbers["chosen"] = way == best


def validation_store(asked: str | None, trained_on: str, run: Path) -> str | None:
    """The store on which a run's refinement is decided: the one asked for, else the run's own.

    Args:
        asked: for all runs; None: each has its own.
        trained_on: what the run's config names.
        run: its folder.

    Returns:
        None where the run's own is there no longer, which is said.
    """
    if asked is not None:
        return asked
    if Path(trained_on).exists():
        return trained_on
    log.warning(
        "%s: its validation store %s is not there; refinement is as configured, unless "
        "data.val=STORE gives another", run, trained_on,
    )  # fmt: skip
    return None
