"""The parts of benchmarks/device.py.

Shapes: ``B`` samples, ``F`` frames, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from scaling_worker import Bench, batch_of

from vgbdm.training import transfer
from vgbdm.training.memory import WORD, saved_bytes, state_bytes

HERE = Path(__file__).resolve().parent
STEPS = 20
"""Of the proof against a CPU."""
TOLERANCE = 1e-5
NO_DEVICE = "not measured: no accelerator"
SIZES = {
    "cuda": {"tiny": (32, 64), "small": (32, 64), "published": (32, 32), "large": (32, 4),
             "published_1.5deg": (121, 2)},
    "cpu": {"tiny": (32, 8), "small": (32, 4), "published": (32, 2)},
}  # fmt: skip
"""Latitudes and samples a rank of each size that is timed."""


class Machine:
    """The device of this process, and the others of a `torchrun`."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.ranks = int(os.environ.get("WORLD_SIZE", "1"))
        self.device = transfer.device_of(int(os.environ.get("LOCAL_RANK", "0")))
        self.gpu = self.device.type == "cuda"

    def describe(self) -> dict[str, Any]:
        """What it is."""
        name = torch.cuda.get_device_name(self.device) if self.gpu else platform.processor()
        kind = "cpu" if not self.gpu else "rocm" if torch.version.hip else "cuda"
        return {
            "device": f"{kind}: {name or platform.machine()}", "ranks": self.ranks,
            "threads": torch.get_num_threads(), "torch": torch.__version__,
        }  # fmt: skip

    def wait(self) -> None:
        """For all that was asked of the device."""
        if self.gpu:
            torch.cuda.synchronize(self.device)

    def bench(self, size: str, height: int, batch: int, *options: str) -> Bench:
        """A model of a size, ready to step on ``batch`` samples a rank that are always there."""
        name = "ddp" if self.ranks > 1 else "single"
        job = {"size": size, "height": height, "backend": name, "batch": batch * self.ranks}
        bench = Bench(job | {"options": [f"backend.{option}" for option in options]})
        ids = torch.arange(self.rank, batch * self.ranks, self.ranks)
        bench.fixed = transfer.arrive(batch_of(bench.domain, ids), self.device)
        bench.field.train()
        return bench

    def leave(self) -> None:
        """The other processes."""
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def step(bench: Bench) -> float:
    """One step on the same batch; its loss."""
    return bench.backend.step(bench.fixed, bench.values, 1e-4).terms["loss"]


def alternate(
    machine: Machine, works: Mapping[str, Callable[[], object]], ends: float
) -> dict[str, float]:
    """Seconds of each work, by turns in one run: the medians of at least three turns."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
        work()
    while min(map(len, spent.values())) < 3 or (
        time.monotonic() < ends and min(map(len, spent.values())) < 50
    ):
        for name, work in works.items():
            machine.wait()
            begin = time.perf_counter()
            work()
            machine.wait()
            spent[name].append(time.perf_counter() - begin)
    return {name: median(seconds) for name, seconds in spent.items()}


# --- proofs ------------------------------------------------------------------------------------


def prove(machine: Machine, ends: float) -> dict[str, Any]:
    """That training here is training: losses, resume, layouts, ids, reads."""
    bench = machine.bench("tiny", 32, 4)
    with counted_reads(machine) as reads:
        ours = [step(bench) for _ in range(STEPS)]
    found = {
        "host_reads_per_step": len(reads) / STEPS,
        "ids_equal": ids_equal(machine.device),
        "resume_equal": resume_equal(machine),
    }
    if machine.ranks == 1:
        exact = losses_on_cpu()
        found["loss_error"] = max(abs(a / b - 1) for a, b in zip(ours, exact, strict=True))
    else:
        found["loss_error"] = "not measured: start one process for it"
    found["layouts_equal"] = layouts_equal() if machine.rank == 0 else None
    return found


class counted_reads:  # noqa: N801 - a context manager
    """The reads of `transfer.read`; on a GPU any other wait for the device is an error."""

    def __init__(self, machine: Machine) -> None:
        self.gpu, self.reads = machine.gpu, []

    def __enter__(self) -> list[int]:
        from vgbdm.training.backends import base

        self.original = transfer.to_numbers

        def read(values: torch.Tensor) -> list[float]:
            self.reads.append(len(values))
            mode = torch.cuda.get_sync_debug_mode() if self.gpu else 0
            if self.gpu:
                torch.cuda.set_sync_debug_mode("default")
            try:
                return self.original(values)
            finally:
                if self.gpu:
                    torch.cuda.set_sync_debug_mode(mode)

        base.to_numbers = read
        if self.gpu:
            torch.cuda.set_sync_debug_mode("error")
        return self.reads

    def __exit__(self, *error: object) -> None:
        from vgbdm.training.backends import base

        base.to_numbers = self.original
        if self.gpu:
            torch.cuda.set_sync_debug_mode("default")


def losses_on_cpu() -> list[float]:
    """The same steps in a process that sees no GPU."""
    code = (
        "import json, sys; sys.path[:0] = sys.argv[1:]; import device_parts as d; "
        "b = d.Machine().bench('tiny', 32, 4); "
        "print(json.dumps([d.step(b) for _ in range(d.STEPS)]))"
    )
    hidden = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, str(HERE.parent), str(HERE)],
        env=os.environ | hidden, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def ids_equal(device: torch.device) -> bool:
    """Whether keyed bits and uniforms are those of the CPU, and normals to two last places."""
    from vgbdm.randomness import keyed_bits, keyed_normal, keyed_uniform

    ids, places = torch.arange(64) * 977, torch.arange(1000)
    there = ids.to(device)
    own = keyed_bits(1, "a", there, places.to(device)).cpu()
    bits = torch.equal(keyed_bits(1, "a", ids, places), own)
    uniform = torch.equal(keyed_uniform(1, "a", ids, 9), keyed_uniform(1, "a", there, 9).cpu())
    a, b = keyed_normal(1, "a", ids, 2000), keyed_normal(1, "a", there, 2000).cpu()
    return bits and uniform and bool(((a - b).abs() <= 1e-6 * (1 + a.abs())).all())


def resume_equal(machine: Machine) -> bool | str:
    """Whether two steps, a save, a new start and two steps are four steps, bit by bit."""
    if machine.ranks > 1:
        return "not measured: start one process for it"
    whole, first, second = (machine.bench("tiny", 32, 4) for _ in range(3))
    for _ in range(4):
        step(whole)
    for _ in range(2):
        step(first)
    kept = first.backend.state().tensors
    second.field.load_state_dict(kept["model"])
    second.backend.load_moments(kept, 2)
    for _ in range(2):
        step(second)
    mine, theirs = second.backend.state().tensors, whole.backend.state().tensors
    return all(torch.equal(mine[n][k], theirs[n][k]) for n in theirs for k in theirs[n])


def layouts_equal() -> bool | str:
    """Whether DDP and ZeRO 0 to 3 lose alike; on all GPUs, or on two processes of the CPU."""
    from scaling import BACKENDS, launch

    ranks = torch.cuda.device_count() if torch.cuda.is_available() else 2
    job = {"size": "tiny", "height": 32, "batch": 4 * ranks, "untimed": 0, "steps": 3}
    with tempfile.TemporaryDirectory() as name:
        found = {n: launch(n, ranks, Path(name), **job)[0]["losses"] for n in BACKENDS}
    worst = max(
        abs(a / b - 1)
        for losses in found.values()
        for a, b in zip(losses, found["ddp"], strict=True)
    )
    return worst <= TOLERANCE


# --- speed -------------------------------------------------------------------------------------


def speed(machine: Machine, ends: float) -> dict[str, Any]:
    """Steps per second of each size, and what options are worth."""
    rates: dict[str, float] = {}
    found: dict[str, Any] = {"steps_per_s": rates, "samples_per_s": {}}
    sizes = SIZES["cuda" if machine.gpu else "cpu"]
    middle = time.monotonic() + (ends - time.monotonic()) / 2
    for k, (name, (height, batch)) in enumerate(sizes.items()):
        share = (middle - time.monotonic()) / (len(sizes) - k)
        bench = machine.bench(name.split("_")[0], height, batch)
        mine = alternate(machine, {"step": lambda b=bench: step(b)}, time.monotonic() + share)
        rates[name] = 1 / mine["step"]
        found["samples_per_s"][name] = batch * machine.ranks / mine["step"]
        if name == "published":
            found["conv_fraction"] = conv_fraction(machine, bench, batch)
            found["forecast_starts_per_s"] = forecasts(machine, bench, batch)
        del bench
    return found | options(machine, ends)


def options(machine: Machine, ends: float) -> dict[str, Any]:
    """Speed-ups of precision and compilation, by turns."""
    size, batch = ("published", 16) if machine.gpu else ("tiny", 4)
    kinds = {
        "fp32": [], "bf16": ["precision=bf16"], "compile": ["compile=true"],
    }  # fmt: skip
    if machine.gpu:
        kinds |= {"tf32": ["tf32=true"], "graphs": ["compile=graphs"]}
    benches = {name: machine.bench(size, 32, batch, *told) for name, told in kinds.items()}
    works = {name: lambda b=bench: step(b) for name, bench in benches.items()}
    seconds = alternate(machine, works, ends)
    found: dict[str, Any] = {
        f"{name}_speedup": seconds["fp32"] / spent
        for name, spent in seconds.items()
        if name != "fp32"
    }
    return {"tf32_speedup": NO_DEVICE, "graphs_speedup": NO_DEVICE} | found


def conv_fraction(machine: Machine, bench: Bench, batch: int) -> float:
    """FLOP/s of a step ÷ those of the device's own conv2d on the trunk's shape."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step(bench)
    width, grid = bench.field.trunk.last.in_channels, bench.field.climate.shape[-2:]
    x = torch.randn(batch, width, *grid, device=machine.device, requires_grad=True)
    kernel = torch.randn(width, width, 3, 3, device=machine.device, requires_grad=True)

    def convolve() -> None:
        torch.nn.functional.conv2d(x, kernel, padding=1).sum().backward()

    with FlopCounterMode(display=False) as alone:
        convolve()
    soon = time.monotonic() + 5
    works = {"step": lambda: step(bench), "conv": convolve}
    seconds = alternate(machine, works, soon)
    own = counter.get_total_flops() / seconds["step"]
    return own / (alone.get_total_flops() / seconds["conv"])


def forecasts(machine: Machine, bench: Bench, batch: int) -> float:
    """Starts a second and process of forecasts over 7 steps."""
    states = bench.fixed.device.states[:, :-1]
    field, times = bench.field.eval(), bench.fixed.device.times
    work = {"forecast": lambda: field.forecast(states, times, 7)}
    seconds = alternate(machine, work, time.monotonic() + 5)["forecast"]
    return batch / seconds


# --- memory and stream -------------------------------------------------------------------------


def memory(machine: Machine, ends: float) -> dict[str, Any]:
    """Peak memory of a step beside what was to be expected."""
    if not machine.gpu:
        return {"peak_over_estimate": NO_DEVICE, "checkpoint_stall": stall(machine)}
    torch.cuda.empty_cache()
    batch = 32
    bench = machine.bench("published", 32, batch)
    before = torch.cuda.memory_allocated(machine.device)
    torch.cuda.reset_peak_memory_stats(machine.device)
    step(bench)
    step(bench)
    learner, one = bench.backend.learner, bench.fixed.device.part(0, 1)
    each = saved_bytes(learner, lambda: learner(one, bench.values))
    state = state_bytes(bench.sizes, "single", 1, False)
    weights = WORD * sum(bench.sizes.values())
    peak = torch.cuda.max_memory_allocated(machine.device) - before + weights
    return {
        "peak_over_estimate": peak / (state + batch * each),
        "peak_gib": peak / 2**30,
        "checkpoint_stall": stall(machine),
    }


def stall(machine: Machine) -> float:
    """Seconds that training waits while the state of the published size is gathered."""
    bench = machine.bench("published", 32, 2)
    step(bench)
    bench.backend.state()  # the first one takes the memory
    machine.wait()
    begin = time.perf_counter()
    bench.backend.state()
    return time.perf_counter() - begin


def stream(machine: Machine, ends: float) -> dict[str, Any]:
    """Training on a store's stream beside training on one batch, and copies beside steps."""
    if machine.ranks > 1:
        return {"real_over_synthetic": "not measured: start one process for it"}
    from feeding import time_training
    from fields import as_dataset, make_fields, make_store

    with tempfile.TemporaryDirectory() as name:
        count = 3000
        values = make_fields(count, 5, 32, 64)
        store = make_store(Path(name), "store", as_dataset(values, count).chunk(time=500), "lz4", 1)
        rounds = 10 if machine.gpu else 4
        rates = time_training(store, pool_blocks=16, steps=4, rounds=rounds)
    return {
        "real_over_synthetic": rates.real / rates.synthetic,
        "loader_over_synthetic": rates.alone / rates.synthetic,
        "copy_overlap": copy_overlap(machine) if machine.gpu else NO_DEVICE,
    }


def copy_overlap(machine: Machine) -> float:
    """Share of a batch's copy to the device that costs a step nothing: 1 is all of it."""
    bench = machine.bench("small", 32, 64)
    host = bench.fixed.host
    pinned = type(host)(*(x.pin_memory() for x in host.tensors()))
    feed = transfer.Feed(iter(lambda: pinned, None), machine.device)
    works = {
        "there": lambda: step(bench),
        "fed": lambda: bench.backend.step(next(feed), bench.values, 1e-4, meanwhile=feed.prepare),
        "copy": lambda: pinned.to(machine.device),
    }
    seconds = alternate(machine, works, time.monotonic() + 5)
    return 1 - (seconds["fed"] - seconds["there"]) / seconds["copy"]
