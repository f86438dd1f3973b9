"""λ chosen without θ: the largest whose validation error is near that of λ = 0.

See docs/method.md#gauge.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd

from vgbdm.errors import InputError
from vgbdm.storage.files import read_json
from vgbdm.training import checkpoint


def choose_gauge(runs: str | Path, tolerance: float) -> tuple[float, pd.DataFrame]:
    """The chosen λ, and a table of every λ below a folder.

    Scores are the best validation scores of the runs, averaged over seeds; no parameter is read.

    Args:
        runs: folder of VGB-DM runs that differ in λ and seed alone.
        tolerance: share by which a score may exceed that of λ = 0.

    Returns:
        λ, and a table with ``gauge``, ``runs``, ``score`` and ``ratio`` to λ = 0.

    Raises:
        InputError: if there is no run with λ = 0, or the runs differ in something else.
    """
    found, others = [], set()
    for path in sorted(Path(runs).rglob("best.json")):
        config = checkpoint.read_state(checkpoint.find_whole(path.parent, "best"))["config"]
        if "gauge" not in config.get("objective", {}).get("schedules", {}):
            continue
        score = float(read_json(path)["score"])
        found.append((float(config["objective"]["schedules"]["gauge"]["start"]), score))
        others.add(_without_gauge(config))
    if len(others) > 1:
        raise InputError(f"runs={runs}: they differ in more than λ and seed; sweep λ alone")
    table = pd.DataFrame(found, columns=["gauge", "score"])
    if not (table["gauge"] == 0).any():
        raise InputError(
            f"runs={runs}: no run with λ = 0 to compare with; train with "
            "--multirun system.presets.gauge=0,1e-3,1e-2 seed=1,2"
        )
    grouped = table.groupby("gauge")["score"].agg(["size", "mean"]).reset_index()
    grouped.columns = pd.Index(["gauge", "runs", "score"])
    grouped["ratio"] = grouped["score"] / float(grouped.loc[grouped["gauge"] == 0, "score"].iloc[0])
    allowed = grouped[grouped["ratio"] <= 1 + tolerance]
    return float(allowed["gauge"].max()), grouped


def _without_gauge(config: dict[str, Any]) -> str:
    """What a run was, as text, less λ, seed and places."""
    own = copy.deepcopy({k: v for k, v in config.items() if k not in ("seed", "run_dir", "resume")})
    own["objective"]["schedules"].pop("gauge")
    own["system"].get("presets", {}).pop("gauge", None)
    for name in ("places", "sampler"):  # runs of before say sampler
        own["objective"].get(name, {}).pop("seed", None)
    return json.dumps(own, sort_keys=True)
