"""One rank of one layout of `scaling.py`: a model, steps and a save; it writes what it saw.

Shapes: ``B`` samples, ``F`` frames, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

import json
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from climate.models.domain import Domain
from climate.stream.batches import WeatherBatch
from climate.training.run import parameter_groups
from vgbdm.registry.build import build
from vgbdm.training import checkpoint
from vgbdm.training.memory import live_bytes, peak_bytes, state_bytes
from vgbdm.training.parts import stored
from vgbdm.training.transfer import arrive

CONFIGS = str(Path(__file__).resolve().parent.parent / "configs")
CHANNELS = ("z", "t", "t2m", "u10", "v10")
START = 1_136_073_600
"""2006-01-01, seconds since 1970."""


def domain_of(height: int, history: int) -> Domain:
    """A global grid of cell centres, standardised numbers."""
    lat = -90.0 + 180.0 / height * (np.arange(height) + 0.5)
    lon = 180.0 / height * np.arange(2 * height)
    one, count = np.ones(len(CHANNELS)), len(CHANNELS)
    arrays = {
        "mean": 0 * one, "scale": one, "change": one / 4,
        "climate": np.zeros((count, height, 2 * height)),
        "static": np.zeros((0, height, 2 * height)),
    }  # fmt: skip
    return Domain(tuple(lat), tuple(lon), CHANNELS, (("u10", "v10"),), 21600, history, (), arrays)


def batch_of(domain: Domain, ids: torch.Tensor) -> WeatherBatch:
    """Smooth random windows (B, F, C, H, W), keyed by sample."""
    shape = (domain.history + 2, len(CHANNELS), len(domain.lat), len(domain.lon))
    states = [torch.randn(shape, generator=torch.Generator().manual_seed(int(i))) for i in ids]
    return WeatherBatch(torch.stack(states), START + 21600 * ids, ids, torch.ones(len(ids)))


def timed(work) -> float:
    """Seconds that something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


class Bench:
    """A model on a backend, and steps of it."""

    def __init__(self, job: dict) -> None:
        with initialize_config_dir(CONFIGS, version_base="1.3"):
            cfg = compose("train_era5", ["store=-", "run_dir=-", f"size={job['size']}",
                                         f"backend={job['backend']}", *job["options"]])  # fmt: skip
        self.backend = build(cfg.backend)
        self.domain = domain_of(job["height"], cfg.history)
        torch.manual_seed(0)
        self.field = build(cfg.model, self.domain)
        self.sizes = {n: p.numel() for n, p in self.field.named_parameters()}
        self.before = live_bytes() - 4 * sum(self.sizes.values())
        self.values = {name: build(s)(0, None) for name, s in cfg.schedules.items()}
        self.batch, self.state, self.steps = job["batch"], 0, 0
        folder, tensors = job.get("resume"), {}
        if folder:
            tensors = {kind: dict(held) for kind, held in stored(Path(folder)).items()}
            self.field.load_state_dict(tensors.pop("model"))
            self.steps = checkpoint.read_state(Path(folder))["step"]
        groups = parameter_groups(self.field, **cfg.optimizer)
        self.backend.start(self.field, build(cfg.objective), groups, self.batch)
        if tensors:
            self.backend.load_moments(tensors, self.steps)

    def count(self, terms) -> bool:
        """Between gradient and move: all state is there, activations are gone."""
        self.state = max(self.state, live_bytes() - self.before)
        return True

    def step(self, counted: bool = False) -> float:
        """One step; its loss."""
        rank, ranks = self.backend.rank, self.backend.world_size
        ids = self.steps * self.batch + torch.arange(rank, self.batch, ranks)
        more = {"accepts": self.count} if counted else {}
        arrived = arrive(batch_of(self.domain, ids), self.backend.device)
        result = self.backend.step(arrived, self.values, 1e-4, **more)
        self.steps += 1
        return result.terms["loss"]


def save(bench: Bench, folder: Path, usual: float) -> dict[str, float]:
    """A checkpoint written beside training, and how long training waited for it. *Collective.*"""
    found: dict = {"step": bench.steps}

    def copy() -> None:
        part = bench.backend.state()
        found["part"] = replace(part, token=int(bench.backend.broadcast(float(part.token))))

    copying = timed(copy)

    def write() -> None:
        if bench.backend.rank == 0:
            checkpoint.write_checkpoint(folder, found["part"], {"step": found["step"]})
        else:
            checkpoint.contribute(folder, found["part"], found["step"])

    writer = threading.Thread(target=write)
    begin, lost, busy = time.perf_counter(), 0.0, 1.0
    writer.start()
    while busy:
        lost += timed(bench.step) - usual
        (busy,) = bench.backend.totals(writer.is_alive())
    return {
        "copy_seconds": copying,
        "write_seconds": time.perf_counter() - begin,
        "lost_seconds": copying + max(lost, 0.0),
    }


def main(job: dict, out: Path) -> None:
    """Do a job, and let every rank write what it saw."""
    bench = Bench(job)
    losses, seconds = [], []
    moved = 0 if job.get("resume") else 1  # the first step makes the moments
    for k in range(job["untimed"] + job["steps"]):
        begin = time.perf_counter()
        losses.append(bench.step(counted=k == moved))
        if k >= job["untimed"]:
            seconds.append(time.perf_counter() - begin)
    usual = median(seconds)
    backend = bench.backend
    report = {
        "backend": backend.name, "ranks": backend.world_size, "batch": job["batch"],
        "size": job["size"], "parameters": sum(bench.sizes.values()),
        "seconds": usual, "losses": losses, "state_bytes": bench.state,
        "state_bytes_formula": state_bytes(
            bench.sizes, backend.name, backend.world_size, backend.ema is not None
        ),
    }  # fmt: skip
    if job.get("save"):
        report["saved_at"] = bench.steps
        # the first one takes the memory that later ones fill again
        report["first_lost_seconds"] = save(bench, Path(job["save"]), usual)["lost_seconds"]
        report |= save(bench, Path(job["save"]), usual)
    report["peak_bytes"] = peak_bytes(backend)
    if "batch_too" in job:
        more = Bench(job | {"batch": job["batch_too"]})
        spent = [timed(more.step) for _ in range(job["untimed"] + job["steps"])]
        report["seconds_too"] = median(spent[job["untimed"] :])
    out.with_suffix(f".{backend.rank}.json").write_text(json.dumps(report))
    backend.barrier()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
    os._exit(0)
