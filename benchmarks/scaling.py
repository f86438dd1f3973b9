"""What more ranks and ZeRO stages give and cost: step time, state, peak memory, checkpoints.

python benchmarks/scaling.py out=FILE.json [readme=README.md] [only=times|large]

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

from readme import write_between_marks

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
    print(f"{first['size']} {name} on {ranks}: {first['seconds']:.3g} s", flush=True)
    return found


def times(folder: Path, size: str, height: int, batch: int) -> list[dict]:
    """Every layout on 1 and 2 ranks: rows with the worst rank's memory."""
    rows = []
    for name in BACKENDS:
        for ranks, samples in ((1, batch), (1, 2 * batch), (2, 2 * batch)):
            found = launch(
                name, ranks, folder, size=size, height=height, batch=samples, untimed=2, steps=3
            )
            rows.append(found[0] | {k: max(r[k] for r in found) for k in ("state_bytes",
                                                                          "peak_bytes")})  # fmt: skip
    return rows


def large(folder: Path) -> dict:
    """100 M parameters on 2 ranks: state per stage, a save at stage 3, going on at stage 1."""
    plain = {"size": "large", "height": 8, "batch": 2, "untimed": 2}
    run = folder / "large"
    rows = {}
    for name in ("zero0", "zero1", "zero2", "ddp"):
        rows[name] = launch(name, 2, folder, steps=1, **plain)
    rows["zero3"] = launch("zero3", 2, folder, steps=1, save=str(run), **plain)
    step = run / "checkpoints" / f"step-{rows['zero3'][0]['saved_at']:08d}"
    plain["untimed"] = 0
    again = launch("zero1", 2, folder, steps=1, resume=str(step), **plain)
    summary = {name: {"state_bytes": max(r["state_bytes"] for r in found),
                      "state_bytes_formula": found[0]["state_bytes_formula"],
                      "total_peak_bytes": sum(r["peak_bytes"] for r in found)}
               for name, found in rows.items()}  # fmt: skip
    return {
        "parameters": rows["zero3"][0]["parameters"],
        "layouts": summary,
        "zero3_over_zero0": summary["zero3"]["state_bytes"] / summary["zero0"]["state_bytes"],
        "checkpoint": {k: rows["zero3"][0][k] for k in ("gather_seconds", "write_seconds",
                                                        "lost_seconds")},
        "loss_after_resume_at_zero1": again[0]["losses"][0],
        "loss_undisturbed_at_zero0": rows["zero0"][0]["losses"],
    }  # fmt: skip


def scaling(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Ratios of samples per second, and errors of the formula, by backend."""
    found: dict[str, dict[str, float]] = {"weak_2_over_1": {}, "strong_2_over_1": {}}
    found["state_bytes_error"] = {}
    for name in BACKENDS:
        one, more, two = (row for row in rows if row["backend"] == name)
        found["weak_2_over_1"][name] = 2 * one["seconds"] / two["seconds"]
        found["strong_2_over_1"][name] = more["seconds"] / two["seconds"]
        found["state_bytes_error"][name] = two["state_bytes_formula"] / two["state_bytes"] - 1
    return found


def table(result: dict) -> str:
    """The README's table."""
    lines = [
        "| backend | s a step, 1 rank | 2 ranks, twice the batch | weak 2/1 | strong 2/1 "
        "| state a rank, 2 ranks | peak |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in BACKENDS:
        one, _, two = (row for row in result["rows"] if row["backend"] == name)
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
            plain = {"size": "published", "height": 32, "batch": 4, "untimed": 2, "steps": 3}
            seen = launch("ddp", 2, folder, save=str(folder / "published"), **plain)
            result["stall_fraction"] = {"published": seen[0]["lost_seconds"] / SAVE_EVERY}
        if only != "times":
            result["large"] = large(folder)
            stall = result["large"]["checkpoint"]["lost_seconds"] / SAVE_EVERY
            result.setdefault("stall_fraction", {})["large"] = stall
    result |= {"load_after": os.getloadavg()[0], "minutes": (time.perf_counter() - begin) / 60}
    Path(told["out"]).write_text(json.dumps(result, indent=1) + "\n")
    if "readme" in told:
        write_between_marks(Path(told["readme"]), "scaling table", table(result))


if __name__ == "__main__":
    main()
