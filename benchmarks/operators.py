"""What spectral operators of the globe take: to be made, to be read from the cache, and a call.

python benchmarks/operators.py out=FILE.json [grids=[5.625,1.5,0.25]] [rounds=3] [base=CHECKOUT]
                               [page=docs/benchmarks.md]

Each figure is of a process of its own, in seconds of CPU on one thread; with `base`, a checkout of
another commit is measured by turns with this one, and figures are its own and ratios to it. Before
bands of orders (47f9d50) a quarter degree takes 14.4 GiB.

cold_s: to make the tables, with none in the cache. warm_s: to read them from there.
peak_gib: the most that the cold process held, 0.7 of it for imports. tables_mib: of all buffers.
forward_ms, backward_ms: analysis, synthesis and gradient of 8 fields; and their gradients.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve()
FIELDS = 8
CALLS = {5.625: 200, 1.5: 20, 0.25: 3}
"""Of which the median counts, by the grid's spacing in degrees; of others as of the finest."""
COLUMNS = ("cold_s", "warm_s", "peak_gib", "tables_mib", "forward_ms", "backward_ms")


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(spacing: float) -> dict[str, float]:
    """Figures of this process; a grid with rows at the poles unless it is of 5.625°."""
    import numpy as np
    import torch

    from climate.grids.grid import Grid
    from climate.operators.sphere import SpectralOperators

    torch.set_num_threads(1)
    poles = spacing != 5.625
    height, width = round(180 / spacing) + poles, round(360 / spacing)
    first = -90 + (0 if poles else spacing / 2)
    grid = Grid(first + spacing * np.arange(height), spacing * np.arange(width))
    made = []
    seconds = cpu_seconds(lambda: made.append(SpectralOperators(grid)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (operators,) = made
    field = torch.randn((FIELDS, height, width), generator=torch.manual_seed(0))

    def call(field: torch.Tensor) -> torch.Tensor:
        modes = operators.analysis(field)
        east, north = operators.gradient_of(modes)
        return torch.stack((operators.synthesis(modes), east, north))

    def learn() -> None:
        known = field.requires_grad_()
        torch.autograd.grad(call(known).square().sum(), known)

    with torch.no_grad():
        call(field)
        calls = CALLS.get(spacing, min(CALLS.values()))
        forward = [cpu_seconds(lambda: call(field)) for _ in range(calls)]
    learn()
    both = [cpu_seconds(learn) for _ in range(calls)]
    return {
        "seconds": seconds,
        "peak_gib": peak,
        "tables_mib": sum(t.numel() * t.element_size() for t in operators.buffers()) / 2**20,
        "forward_ms": 1e3 * median(forward),
        "backward_ms": 1e3 * (median(both) - median(forward)),
    }


def start(checkout: Path, spacing: float, cache: Path) -> dict[str, float]:
    """The figures of a process with the code of a checkout."""
    told = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, str(HERE), f"measure={spacing}"],
        env=os.environ | told, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def rounds_of(
    checkouts: dict[str, Path], spacing: float, rounds: int
) -> dict[str, dict[str, float]]:
    """Medians of some rounds, in each of which every checkout starts cold, then warm."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(rounds):
        for name, checkout in checkouts.items():
            with tempfile.TemporaryDirectory() as cache:
                cold = start(checkout, spacing, Path(cache))
                warm = start(checkout, spacing, Path(cache)) if name == "own" else cold
            found[name].append({**warm, "cold_s": cold["seconds"], "warm_s": warm["seconds"],
                                "peak_gib": cold["peak_gib"]})  # fmt: skip
    return {
        name: {key: median(row[key] for row in rows) for key in COLUMNS}
        for name, rows in found.items()
    }


def in_markdown(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """A row for each grid; beside a base, the ratio to it."""
    lines = [f"| grid | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for spacing, rows in found.items():
        base = rows.get("base")
        cells = [
            f"{value:.3g}" + (f" ({value / base[key]:.2g})" if base else "")
            for key, value in rows["own"].items()
        ]
        lines.append(f"| {spacing}° | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write and print."""
    told = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
    if "measure" in told:
        print(json.dumps(measure(float(told["measure"]))))
        return
    if "out" not in told:
        sys.exit(__doc__)
    checkouts = {"own": HERE.parent.parent}
    if "base" in told:
        checkouts = {"base": Path(told["base"]), **checkouts}
    grids = told.get("grids", "[5.625,1.5,0.25]").strip("[]").split(",")
    rounds = int(told.get("rounds", "3"))
    found = {grid: rounds_of(checkouts, float(grid), rounds) for grid in grids}
    Path(told["out"]).write_text(json.dumps(found, indent=1) + "\n")
    table = in_markdown(found)
    print(table)
    if "page" in told:
        from tables import write_between_marks

        write_between_marks(Path(told["page"]), "operators table", table)


if __name__ == "__main__":
    main()
