"""One run of the systems' table scored on validation and test; or a system's sanity rows.

python benchmarks/systems_scores.py run=RUN val=STORE test=STORE train=STORE prior=STORE \
    out=FILE.json members=19 val_n=100 test_n=100 sanity=false anew=false

Both ways: with refinement and without it. Which of them counts is decided by validation scores of
all seeds of a row, not here. With ``anew=true`` the widths of the posterior are set again on
validation data, as training with this code would have left them, and not the checkpoint's.

Shapes: ``N`` trajectories, ``M`` members, ``P`` parameters.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from systems_rule import BLACK_BOX, TUNED, covered, entries
from torch import Tensor

from physics_systems.data.trajectories import load_trajectories
from physics_systems.evaluation import scoring
from physics_systems.evaluation.protocol import begin_states
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.sets import first, read_set
from physics_systems.systems.system import System
from vgbdm import scores
from vgbdm.fields.latent_field import LatentField
from vgbdm.inference.calibration import calibrate
from vgbdm.inference.refinement import posterior_of
from vgbdm.latents.members import Members
from vgbdm.loading import load
from vgbdm.storage.files import write_json
from vgbdm.training.checkpoint import find_whole, read_state

COLUMNS = {
    "mse": "forecast_mse", "mse_median": "forecast_mse_median", "relative_mse": "relative_mse",
    "theta_error": "theta_error", "crps": "crps", "coverage_90": "forecast_coverage_90",
    "theta_coverage_90": "theta_coverage_90", "n_failed": "n_failed", "n": "n",
    "forecast_seconds": "forecast_seconds", "points": "points", "observed_mse": "observed_mse",
    "validation_mse": "validation_mse", "refined": "refined",
}  # fmt: skip
"""Columns of the table, and what `physics_systems.evaluation.scoring` calls them."""
DRAWS = 99
"""Of the posterior, among which the rank of a true θ is uniform where its width is right."""
RANK_BINS = 10
PLACES = ("data", "run_dir", "resume", "seed", "plugins")
"""Options of a run that are no part of what it is given."""
SHOWN_THETAS = 60


def numbers_of(row: Row) -> dict[str, Any]:
    """A scored row by the table's columns, with the error of each trajectory."""
    found = {ours: row.numbers.get(theirs) for ours, theirs in COLUMNS.items()}
    found["errors"] = " ".join(f"{error:.3g}" for error in row.errors)
    return found


def system_of(field: LatentField) -> System:
    """That a field is of."""
    assert isinstance(field.physics, System)
    return field.physics


def score_run(told: Mapping[str, str]) -> list[dict[str, Any]]:
    """Lines of a run: one for each way.

    Args:
        told: of the command line.
    """
    run = Path(told["run"])
    field = load(run, kind=LatentField)
    system, needed = system_of(field), field.window + 1
    val = first(load_trajectories(told["val"], system, needed), int(told["val_n"]))
    test = read_set(told["test"], system, needed, int(told["test_n"]))
    own = given(read_state(find_whole(run, "best"))["config"])
    if told["anew"] == "true":
        calibrate(field, val.x, val.t, seed=0)
    lines = []
    for row in scoring.score_run(run, test, val, int(told["members"]), seed=0, field=field):
        line = {**numbers_of(row), **own}
        if row.field is not None and field.grey and test.parameters is not None:
            line |= thetas(field, row, test.parameters)
            line |= ranks(row.field, told["prior"])
        lines.append(line)
    return lines


def thetas(field: LatentField, row: Row, truth: Mapping[str, Tensor]) -> dict[str, str]:
    """True and inferred parameters of the first trajectories, for a picture."""
    found = row.forecasts.theta
    assert found is not None
    pairs = {
        name: [[float(f"{x:.4g}") for x in values.tolist()[:SHOWN_THETAS]]
               for values in (truth[name], found[:, k])]
        for k, name in enumerate(field.parameter_names)
    }  # fmt: skip
    return {"theta_pairs": json.dumps(pairs, separators=(",", ":"))}


@torch.no_grad()
def ranks(field: LatentField, store: str) -> dict[str, Any]:
    """Of true θ, drawn from the prior, among draws of the posterior (simulation-based calibration).

    Args:
        field: whose posterior, refined or not.
        store: made with ``parameters=prior``.
    """
    told = read_set(store, system_of(field), field.window + 1)
    assert told.parameters is not None and told.from_prior
    frames, times = (x[:, : field.window] for x in (told.data.x, told.data.t))
    members = Members(field.latent_sizes, 0, torch.arange(len(told)), range(DRAWS))
    drawn = field.physical(members.draw(posterior_of(field, frames, times)))
    assert drawn is not None
    draws = drawn.unflatten(0, (-1, DRAWS)).transpose(0, 1).double()
    true = torch.stack([told.parameters[name] for name in field.parameter_names], 1)
    place = (draws < true).double().mean(0)  # (N, P)
    counts = torch.histc(place, RANK_BINS, 0.0, 1.0).int().tolist()
    return {
        "theta_ranks": " ".join(map(str, counts)),
        "prior_theta_coverage_90": scores.coverage(draws, true),
    }


def given(config: Mapping[str, Any]) -> dict[str, str]:
    """What a run was given: inputs of its residual, and a digest of all that must not differ."""
    free = (*BLACK_BOX, *TUNED, *PLACES)
    same = {key: value for key, value in entries(config).items() if not covered(key, free)}
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:8]
    seen = config["model"]["residual_inputs"]
    return {
        "residual_inputs": seen if isinstance(seen, str) else " ".join(seen),
        "given": digest,
    }


def score_sanity(told: Mapping[str, str]) -> list[dict[str, Any]]:
    """Lines of rows that nothing is trained for; the run lends them its start states."""
    field = load(told["run"], kind=LatentField)
    system, window = system_of(field), field.window
    test = read_set(told["test"], system, window + 1, int(told["test_n"]))
    train = load_trajectories(told["train"], system, window + 1)
    mean = train.x.transpose(0, 2).flatten(1).mean(1)
    start = begin_states(field, test.data)
    rows = scoring.sanity_rows(system, test, start, window, mean)
    return [{**numbers_of(row), "row": row.numbers["row"], "refined": False} for row in rows]


def main() -> None:
    """Score, and write the lines."""
    torch.set_num_threads(1)
    told = dict(word.split("=", 1) for word in sys.argv[1:])
    lines = (score_sanity if told["sanity"] == "true" else score_run)(told)
    write_json(Path(told["out"]), {"lines": lines})


if __name__ == "__main__":
    main()
