"""What more ranks and ZeRO stages give and cost: step time, state, peak memory, checkpoints.

python benchmarks/scaling.py out=FILE.json [page=docs/benchmarks.md] [only=times|large]

Speed on the published size (5.625° grid, random states: the stream has its own benchmark), state
and checkpoints on 100 M parameters too, there on a 22.5° grid, on which neither depends.
weak_2_over_1: samples per second on 2 ranks with twice the batch ÷ on 1 rank; strong_2_over_1: with
the same batch; 2 is perfect. stall_fraction: what a save costs training ÷ the 60 s to the next.
state_bytes_error: formula ÷ measured - 1, of one rank.
"""

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tables import write_between_marks

REPO = Path(__file__).resolve().parent.parent
WORKER = REPO / "benchmarks" / "scaling_worker.py"
BACKENDS = {
    "ddp": ("ddp", []),
    **{f"zero{k}": ("deepspeed", [f"backend.stage={k}"]) for k in range(4)},
}
SAVE_EVERY = 60.0
SECONDS = 600


def launch(name: str, ranks: int, folder: Path, **job: object) -> list[dict]:
    """Run a layout on so many ranks; what each of them saw, or nothing where it failed."""
    backend, options = BACKENDS[name]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    told = json.dumps({"backend": backend, "options": options} | job)
    out, processes = folder / "report", []
    for old in folder.glob("report.*.json"):
        old.unlink()
    for rank in range(ranks):
        env = os.environ | {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(REPO),
        }  # fmt: skip
        command = [sys.executable, str(WORKER), told, str(out)]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL))
    try:
        codes = [process.wait(SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(codes):
        sys.exit(f"{name} on {ranks} rank(s) failed")
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("report.*.json"))]
    first = found[0]
    held = max(report["state_bytes"] for report in found) / 2**20
    print(
        f"{first['size']} {name} on {ranks}: {first['seconds']:.3g} s, {held:.0f} MiB", flush=True
    )
    return found


def worst(found: list[dict]) -> dict:
    """The first rank's report with the memory of the rank that holds most."""
    most = {key: max(r[key] for r in found) for key in ("state_bytes", "peak_bytes")}
    return found[0] | most


def times(folder: Path, size: str, height: int, batch: int) -> list[dict]:
    """Every layout, with ``batch`` and twice that on one rank, and twice that on two."""
    plain, rows = {"size": size, "height": height, "untimed": 2, "steps": 4}, []
    for name in BACKENDS:
        rows.append(worst(launch(name, 1, folder, batch=batch, batch_too=2 * batch, **plain)))
        saving = {"save": str(folder / size)} if name == "ddp" else {}
        rows.append(worst(launch(name, 2, folder, batch=2 * batch, **saving, **plain)))
    return rows


def large(folder: Path) -> dict:
    """100 M parameters on 2 ranks: state, a save at stage 3, going on at stage 1."""
    plain, run = {"size": "large", "height": 8, "batch": 2, "steps": 1}, folder / "large"
    whole = launch("zero0", 2, folder, untimed=3, **plain)
    parts = launch("zero3", 2, folder, untimed=2, save=str(run), **plain)
    step = run / "checkpoints" / f"step-{parts[0]['saved_at']:08d}"
    again = launch("zero1", 2, folder, untimed=0, resume=str(step), **plain)
    rows = {"zero0": whole, "zero3": parts, "zero1": again}
    own = worst(parts)["state_bytes"]
    return {
        "parameters": parts[0]["parameters"],
        "state_bytes": {name: worst(found)["state_bytes"] for name, found in rows.items()},
        "total_peak_bytes": {n: sum(r["peak_bytes"] for r in found) for n, found in rows.items()},
        "zero3_over_zero0": own / worst(whole)["state_bytes"],
        "state_bytes_error": parts[0]["state_bytes_formula"] / own - 1,
        "checkpoint": {key: parts[0][key] for key in ("copy_seconds", "write_seconds",
                                                      "lost_seconds", "first_lost_seconds")},
        "losses_undisturbed": whole[0]["losses"],
        "losses_resumed": again[0]["losses"],
    }  # fmt: skip


def scaling(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Ratios of samples per second, and errors of the formula, by backend."""
    found: dict[str, dict[str, float]] = {}
    for name in BACKENDS:
        one, two = (row for row in rows if row["backend"] == name)
        numbers = {
            "weak_2_over_1": 2 * one["seconds"] / two["seconds"],
            "strong_2_over_1": one["seconds_too"] / two["seconds"],
            "state_bytes_error": two["state_bytes_formula"] / two["state_bytes"] - 1,
        }
        for key, value in numbers.items():
            found.setdefault(key, {})[name] = value
    return found


def table(result: dict) -> str:
    """The table of docs/benchmarks.md."""
    lines = [
        "| backend | s a step, 1 rank | 2 ranks, twice the batch | weak 2/1 | strong 2/1 "
        "| state a rank, 2 ranks | peak |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in BACKENDS:
        one, two = (row for row in result["rows"] if row["backend"] == name)
        lines.append(
            f"| {name} | {one['seconds']:.2f} | {two['seconds']:.2f} "
            f"| {result['weak_2_over_1'][name]:.2f} | {result['strong_2_over_1'][name]:.2f} "
            f"| {two['state_bytes'] / 2**20:.0f} MiB | {two['peak_bytes'] / 2**30:.2f} GiB |"
        )
    big, stall = result["large"], result["stall_fraction"]
    lines += [
        "",
        f"Published size, batch {result['rows'][0]['batch']} a rank, {result['machine']}. "
        f"{big['parameters'] / 1e6:.0f} M parameters on 2 ranks: stage 3 holds "
        f"{big['zero3_over_zero0']:.2f} of stage 0's state. A save each 60 s costs "
        f"{100 * stall['published']:.1f} % (published), {100 * stall['large']:.1f} % (100 M). "
        "On GPUs: not measured.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write JSON and table."""
    told = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
    if "out" not in told:
        sys.exit(__doc__)
    begin, only = time.perf_counter(), told.get("only")
    result: dict = {
        "machine": f"{os.cpu_count()} CPU cores ({platform.machine()}), 1 thread a rank",
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory(dir=Path(told["out"]).absolute().parent) as name:
        folder = Path(name)
        if only != "large":
            result["rows"] = times(folder, "published", 32, 2)
            result |= scaling(result["rows"])
            lost = next(row["lost_seconds"] for row in result["rows"] if "lost_seconds" in row)
            result["stall_fraction"] = {"published": lost / SAVE_EVERY}
        if only != "times":
            result["large"] = large(folder)
            stall = result["large"]["checkpoint"]["lost_seconds"] / SAVE_EVERY
            result.setdefault("stall_fraction", {})["large"] = stall
    result |= {"load_after": os.getloadavg()[0], "minutes": (time.perf_counter() - begin) / 60}
    Path(told["out"]).write_text(json.dumps(result, indent=1) + "\n")
    if "page" in told:
        write_between_marks(Path(told["page"]), "scaling table", table(result))


if __name__ == "__main__":
    main()
