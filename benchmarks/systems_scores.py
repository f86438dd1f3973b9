"""One run of the systems' table scored on validation and test; or a system's sanity rows.

python benchmarks/systems_scores.py run=RUN val=STORE test=STORE train=STORE prior=STORE \
    out=FILE.json members=19 val_n=100 test_n=100 sanity=false

Both ways: with refinement and without it. Which of them counts is decided by validation scores of
all seeds of a row, not here.

Shapes: ``N`` trajectories, ``M`` members, ``P`` parameters.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from systems_rule import BLACK_BOX, TUNED, covered, entries
from torch import Tensor

from physics_systems.data.trajectories import Trajectories, load_trajectories, read_parameters
from physics_systems.evaluation import protocol, scoring
from physics_systems.evaluation.scoring import Row
from physics_systems.systems.system import System
from vgbdm import scores
from vgbdm.fields.latent_field import LatentField
from vgbdm.inference.refinement import posterior_of
from vgbdm.latents.members import Members
from vgbdm.loading import load
from vgbdm.storage.files import write_json
from vgbdm.training.checkpoint import find_whole, read_state

COLUMNS = {
    "mse": "forecast_mse", "mse_median": "forecast_mse_median", "relative_mse": "relative_mse",
    "theta_error": "theta_error", "crps": "crps", "coverage_90": "forecast_coverage_90",
    "theta_coverage_90": "theta_coverage_90", "n_failed": "n_failed", "n": "n",
    "forecast_seconds": "seconds", "points": "points", "observed_mse": "observed_mse",
}  # fmt: skip
"""Columns of the table, and what `physics_systems.evaluation.scoring` calls them."""
DRAWS = 99
"""Of the posterior, among which the rank of a true θ is uniform where its width is right."""
RANK_BINS = 10
PLACES = ("data", "run_dir", "resume", "seed", "plugins")
"""Options of a run that are no part of what it is given."""
SHOWN_THETAS = 60


def read(store: str, system: System, window: int, limit: int) -> tuple[Trajectories, Any]:
    """The first trajectories of a store, and their true parameters."""
    data = load_trajectories(store, system, window + 1)
    truth = read_parameters(store, system)
    data = Trajectories(data.x[:limit], data.t[:limit])
    return data, None if truth is None else {k: v[:limit] for k, v in truth.items()}


def ways(field: LatentField) -> Iterator[bool]:
    """With refinement, where the field has any, and without it; the field is then such a one."""
    steps = field.refinement
    for refined in (True, False) if steps else (False,):
        field.refinement = steps if refined else 0
        yield refined


def numbers_of(row: Row) -> dict[str, Any]:
    """A scored row by the table's columns, with the error of each trajectory."""
    found = {ours: row.numbers.get(theirs) for ours, theirs in COLUMNS.items()}
    found["errors"] = " ".join(f"{error:.3g}" for error in row.errors)
    return found


def score_run(told: Mapping[str, str]) -> list[dict[str, Any]]:
    """Lines of a run: one for each way.

    Args:
        told: of the command line.
    """
    run = Path(told["run"])
    field = load(run, kind=LatentField)
    system = field.physics
    assert isinstance(system, System)
    window, members = field.window, int(told["members"])
    val, _ = read(told["val"], system, window, int(told["val_n"]))
    test, truth = read(told["test"], system, window, int(told["test_n"]))
    own = given(read_state(find_whole(run, "best"))["config"])
    lines = []
    for refined in ways(field):
        forecast, _ = protocol.forecast_means(field, val)
        errors = scores.mean_square_errors(forecast, val.x[:, window:]).nan_to_num(torch.inf)
        row = scoring.score_field(field, test, truth, members, seed=0)
        line = {"refined": refined, **numbers_of(row), **own}
        line["validation_mse"] = float(errors.mean())
        if field.grey and truth is not None:
            line |= thetas(field, row, truth)
            line |= ranks(field, told["prior"], system)
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
def ranks(field: LatentField, store: str, system: System) -> dict[str, Any]:
    """Of true θ, drawn from the prior, among draws of the posterior (simulation-based calibration).

    Args:
        field: whose posterior.
        store: made with ``parameters=prior``.
        system: of both.
    """
    data, truth = read(store, system, field.window, 10**9)
    assert truth is not None
    frames, times = data.x[:, : field.window], data.t[:, : field.window]
    rows = torch.arange(len(data))
    members = Members(field.latent_sizes, 0, rows, range(DRAWS))
    drawn = field.physical(members.draw(posterior_of(field, frames, times)))
    assert drawn is not None
    draws = drawn.unflatten(0, (-1, DRAWS)).transpose(0, 1).double()
    true = torch.stack([truth[name].double() for name in field.parameter_names], 1)
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
    system = field.physics
    assert isinstance(system, System)
    window = field.window
    data, truth = read(told["test"], system, window, int(told["test_n"]))
    train = load_trajectories(told["train"], system, window + 1)
    mean = train.x.transpose(0, 2).flatten(1).mean(1)
    rows = scoring.sanity_rows(system, data, window, truth, mean)
    return [{"row": r.numbers["row"], "refined": False, **numbers_of(r)} for r in rows]


def main() -> None:
    """Score, and write the lines."""
    torch.set_num_threads(1)
    told = dict(word.split("=", 1) for word in sys.argv[1:])
    lines = (score_sanity if told["sanity"] == "true" else score_run)(told)
    write_json(Path(told["out"]), {"lines": lines})


if __name__ == "__main__":
    main()
