"""What a machine is worth for training: first proofs, then figures. No network, nothing to install.

python benchmarks/device.py out=FILE.json [minutes=8] [parts=[prove,speed,memory,stream]]

From a checkout, with the packages of pyproject.toml; on several GPUs by `torchrun`: figures are
then of all of them. Without an accelerator it measures the CPU, on small sizes; figures that only a
GPU has are then a reason instead of a number.

loss_error: largest relative error of 20 losses against a CPU, fp32 (want 1e-4 or less).
resume_equal: whether weights are bit-equal after a save and a resume. layouts_equal: whether DDP
and ZeRO 0 to 3 lose alike, to 1e-5. ids_equal: whether keyed random bits are those of the CPU.
host_reads_per_step: how often the host waited for the device.
conv_fraction: FLOP/s of a step ÷ those of the device's own conv2d of that shape.
bf16_speedup, compile_speedup, tf32_speedup, graphs_speedup: steps/s ÷ those of plain fp32.
peak_over_estimate: peak memory of a step ÷ state by formula + activations counted on one sample.
real_over_synthetic: steps/s on a store's stream ÷ those on one batch that is always there.
copy_overlap: share of a batch's copy to the device that costs a step nothing.
forecast_starts_per_s: forecasts of 42 h.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPO), str(REPO / "benchmarks")]
PARTS = ("prove", "speed", "memory", "stream")


def arguments() -> dict[str, str]:
    """The command line's, or this file's text."""
    told = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
    if any(a in ("-h", "--help") for a in sys.argv[1:]) or "out" not in told:
        sys.exit(__doc__)
    return {"minutes": "8", "parts": f"[{','.join(PARTS)}]"} | told


def main() -> None:
    """Run the parts that are asked for and write what they found, after each of them."""
    told = arguments()
    parts = told["parts"].strip("[]").split(",")
    if not set(parts) <= set(PARTS):
        sys.exit(f"parts={told['parts']}: want some of [{','.join(PARTS)}]")
    out, begin = Path(told["out"]), time.monotonic()
    ends = begin + 60 * float(told["minutes"])
    from device_parts import Machine, memory, prove, speed, stream

    machine = Machine()
    found = machine.describe()
    works = {"prove": prove, "speed": speed, "memory": memory, "stream": stream}
    for k, name in enumerate(parts):
        share = (ends - time.monotonic()) / (len(parts) - k)
        found |= works[name](machine, time.monotonic() + max(share, 20.0))
        found["minutes"] = round((time.monotonic() - begin) / 60, 2)
        if machine.rank == 0:
            print(f"{name}: done after {found['minutes']} minutes", flush=True)
            out.write_text(json.dumps(found, indent=1) + "\n")
    machine.leave()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
