"""Speed of conversion and stream, beside what the same machine does without them, in one run.

python benchmarks/data.py out=FILE.json [small.steps=20000 …; see configs/benchmark_data.yaml]

Each figure is a ratio to a reference timed next to it. The run also proves what it times: every row
of an epoch equals the source, every start comes once, a resume with other ranks goes on the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "launch"))

import numpy as np  # noqa: E402
from conversion import measure_peak, time_cluster, time_conversion  # noqa: E402
from entry import launch as start  # noqa: E402
from feeding import time_training  # noqa: E402
from fields import CHANNELS, HOUR, as_dataset, make_fields, make_store, resident, timed  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from tables import write_between_marks  # noqa: E402

Figures = Iterator[tuple[str, float]]
COLUMNS = {  # figure → target, what prototypes came to (docs/design/streaming.md#prototypes)
    "stream_over_ram": ("≥ 0.6", "0.42, 0.61 of `torch.stack`"),
    "stream_over_ram_uncompressed": ("aim 0.8", "0.50, 0.76 of `torch.stack`"),
    "stream_over_xarray_dask": ("≥ 60", "130"),
    "stream_stall": ("≤ 0.05", "0.03"),
    "real_over_synthetic": ("≥ 0.97", "–"),
    "loader_over_synthetic": ("–", "–"),
    "bigfield_over_raw": ("≥ 0.6", "0.69 without crc32c, −30…−58 % with"),
    "bigfield_lz4_over_raw": ("–", "0.22–0.30"),
    "convert_over_direct": ("≥ 0.5", "0.31–0.57"),
    "cluster_over_threads": ("≥ 0.3", "0.38–0.53"),
    "convert_peak_rss_gib": ("< 1.5", "–"),
    "convert_peak_rss_gib_wide": ("< 1.5", "–"),
    "stream_rss_growth": ("< 0.05", "–"),
}


# --- stream ------------------------------------------------------------------------------------


def open_small(cfg: DictConfig, store, **options):
    """The stream of the small grid."""
    from climate.stream.batches import WindowStream

    settings = {
        "step": HOUR, "history": 6, "ahead": 1, "global_batch": cfg.small.batch,
        "pool_blocks": cfg.small.pool_blocks, "threads": cfg.small.threads,
    }  # fmt: skip
    return WindowStream(store, "train", **(settings | options))


def index_of(times: np.ndarray) -> np.ndarray:
    """Places in the source of a batch's current states."""
    begin = np.datetime64("2000-01-01", "s").astype(np.int64)
    return (times - begin) // 3600


def prove(cfg: DictConfig, store, values: np.ndarray) -> dict[int, int]:
    """An epoch whose every row equals the source, each start once; its sample ids and places.

    A resume from its middle with two ranks must go on the same.
    """
    served: dict[int, int] = {}
    with open_small(cfg, store) as stream:
        order = stream.order
        for _ in range(-(-order.slots * order.lanes // stream.share.batch)):
            batch = next(stream)
            places = index_of(batch.times.numpy())
            inside = (batch.weights > 0) & (batch.ids < order.slots * order.lanes)
            for k in np.flatnonzero(inside.numpy()):
                at, sample = int(places[k]), int(batch.ids[k])
                if not np.array_equal(batch.states[k].numpy(), values[at - 6 : at + 2]):
                    sys.exit(f"sample {sample} is not the source's")
                served[sample] = at
    if sorted(served.values()) != order.anchors.tolist():
        sys.exit("an epoch has not every start once")
    middle = len(served) // 2 // cfg.small.batch * cfg.small.batch
    for rank in range(2):
        with open_small(cfg, store, rank=rank, ranks=2, consumed=middle) as stream:
            batch = next(stream)
            got = zip(batch.ids.tolist(), index_of(batch.times.numpy()).tolist(), strict=True)
            if any(served[sample] != place for sample, place in got):
                sys.exit("a resume with two ranks has another order")
    return served


def time_stream(cfg: DictConfig, store, values: np.ndarray, served: dict[int, int]) -> list[float]:
    """Samples/s of an epoch, from opening on, and of the same windows copied from memory."""
    from climate.stream.batches import RING, zeros

    batches = (len(served) - 8) // cfg.small.batch  # no padding: that is in the last slot
    spot = np.random.default_rng(0).integers(cfg.small.batch, size=batches)
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def stream_all() -> None:
        with open_small(cfg, store) as stream:
            for k in range(batches):
                batch = next(stream)
                seen.append((batch.ids.numpy().copy(), batch.times.numpy().copy()))
                at = int(index_of(batch.times[spot[k]].numpy()))
                if not np.array_equal(batch.states[spot[k], -1].numpy(), values[at + 1]):
                    sys.exit("a timed batch is not the source's")

    seconds = timed(stream_all)
    order = [(int(i), int(at)) for ids, t in seen for i, at in zip(ids, index_of(t), strict=True)]
    if len(dict(order)) != len(order) or any(served[i] != at for i, at in order):
        sys.exit("the timed epoch had another order")
    places = np.array([at for _, at in order]).reshape(batches, -1)
    shape = (cfg.small.batch, 8, *values.shape[1:])
    ring = [zeros(shape, pin=False).numpy() for _ in range(RING)]
    reference = timed(lambda: copy_windows(values, places, ring))
    count = places.size
    return [count / seconds, count / reference]


def copy_windows(values: np.ndarray, places: np.ndarray, ring: list[np.ndarray]) -> None:
    """The reference: whole windows, copied from memory into the same number of reused buffers."""
    for k, row in enumerate(places):
        target = ring[k % len(ring)]
        for sample, at in enumerate(row.tolist()):
            np.copyto(target[sample], values[at - 6 : at + 2])


def time_xarray(store, served: dict[int, int], count: int = 200) -> float:
    """Samples/s of xarray with Dask, one window at a time."""
    import xarray as xr

    with xr.open_zarr(store.path, consolidated=False) as dataset:
        state, places = dataset["state"], list(served.values())[:count]

        def read() -> None:
            for at in places:
                _ = state.isel(time=slice(at - 6, at + 2)).values

        return len(places) / timed(read)


def measure_stall(cfg: DictConfig, store, steps: int = 400) -> float:
    """Share of the time in which a step of a fixed length waits for its batch.

    Once both pools are filled: the first touch of their memory is made once a run.
    """
    waited, length = 0.0, cfg.small.step_milliseconds / 1000
    with open_small(cfg, store) as stream:
        for _ in range(2 * stream.order.group_slots * stream.order.lanes // stream.share.batch):
            next(stream)
        begin = time.perf_counter()
        for _ in range(steps):
            asked = time.perf_counter()
            next(stream)
            waited += time.perf_counter() - asked
            time.sleep(length)
        return waited / (time.perf_counter() - begin)


def measure_growth(cfg: DictConfig, store) -> float:
    """Growth of resident memory from a tenth of the batches on to the last."""
    first = cfg.small.growth_batches // 10
    with open_small(cfg, store) as stream:
        for _ in range(first):
            next(stream)
        before = resident()
        for _ in range(cfg.small.growth_batches - first):
            next(stream)
        return resident() / before - 1


# --- big fields --------------------------------------------------------------------------------


def time_big(cfg: DictConfig, store, values: np.ndarray, raw: Path) -> float:
    """Windows of big maps through the stream against `readinto` one reused buffer.

    Both into memory that was written to before.
    """
    from climate.stream.batches import RING, WindowStream

    buffer = np.empty((3, *values.shape[1:]), np.float32)
    ratios = []
    for turn in range(cfg.rounds + 1):
        places: list[int] = []
        options = {"global_batch": 2, "lanes": 2, "threads": cfg.threads}
        with WindowStream(store, "train", step=HOUR, history=1, ahead=1, **options) as stream:
            for _ in range(RING + 1):
                next(stream)
            begin = time.perf_counter()
            for _ in range(cfg.big.batches):
                batch = next(stream)
                real = batch.weights.numpy() > 0
                found = index_of(batch.times.numpy())[real].tolist()
                places.extend(found)
                if turn == 0:
                    for window, at in zip(batch.states.numpy()[real], found, strict=True):
                        if not np.array_equal(window, values[at - 1 : at + 2]):
                            sys.exit("a window of big maps is not the source's")
            seconds = time.perf_counter() - begin
        reference = timed(lambda places=places: read_raw(raw, places, buffer))
        if turn:
            ratios.append(reference / seconds)
    return median(ratios)


def read_raw(path: Path, places: list[int], buffer: np.ndarray) -> None:
    """The reference: the bytes of the windows, unchecked."""
    size = buffer.nbytes // 3
    with path.open("rb", buffering=0) as file:
        for at in places:
            file.seek((at - 1) * size)
            if file.readinto(buffer.reshape(-1).view(np.uint8)) != buffer.nbytes:
                sys.exit("the raw file is short")


# --- all ---------------------------------------------------------------------------------------


def measure_conversion(cfg: DictConfig, folder: Path) -> Figures:
    """The figures of conversions."""
    for name, shape in cfg.peaks.items():
        yield name, measure_peak(folder / name, tuple(shape), cfg.threads)
    values = make_fields(cfg.small.convert_steps, len(CHANNELS), 32, 64)
    yield from time_conversion(folder, values, cfg.threads, cfg.rounds)
    yield "cluster_over_threads", time_cluster(folder, cfg.threads)


def measure_small(cfg: DictConfig, folder: Path) -> Figures:
    """The figures of the stream of the small grid."""
    values = make_fields(cfg.small.steps, len(CHANNELS), 32, 64)
    for codec in ("lz4", "none"):
        store = make_store(folder, codec, as_dataset(values, len(values)), codec, cfg.threads)
        with open_small(cfg, store) as stream:
            share = stream.memory_bytes / values.nbytes
        served = prove(cfg, store, values)
        rates = np.array([time_stream(cfg, store, values, served) for _ in range(cfg.rounds)])
        rate = float(np.median(rates[:, 0]))
        name = "stream_over_ram" + ("" if codec == "lz4" else "_uncompressed")
        yield name, float(np.median(rates[:, 0] / rates[:, 1]))
        if codec == "lz4":
            yield "stream_samples_per_second", rate
            yield "store_over_memory", 1 / share
            yield "stream_over_xarray_dask", rate / time_xarray(store, served)
            yield "stream_stall", measure_stall(cfg, store)
            yield "stream_rss_growth", measure_growth(cfg, store)
            rates = time_training(store, cfg.small.pool_blocks, cfg.train_steps, cfg.train_rounds)
            yield "real_over_synthetic", rates.real / rates.synthetic
            yield "loader_over_synthetic", rates.alone / rates.synthetic


def measure_big(cfg: DictConfig, folder: Path) -> Figures:
    """The figures of the big grid."""
    values = make_fields(cfg.big.steps, cfg.big.channels, 721, 1440)
    raw = folder / "raw"
    values.tofile(raw)
    for codec, name in (("none", "bigfield_over_raw"), ("lz4", "bigfield_lz4_over_raw")):
        data = as_dataset(values, len(values))
        store = make_store(folder, f"big-{codec}", data, codec, cfg.threads)
        yield name, time_big(cfg, store, values, raw)


PARTS = {"conversion": measure_conversion, "small": measure_small, "big": measure_big}


def describe_run() -> str:
    """The command, the machine, and what else it does."""
    command = " ".join(["python benchmarks/data.py", *(a for a in sys.argv[1:] if "/" not in a)])
    names = [
        x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")
    ]
    name, load = names[0].split(":")[1].strip() if names else "unknown", os.getloadavg()[0]
    return f"`{command}`: {name}, {os.cpu_count()} cores, load {load:.1f} before"


def tabulate(facts: dict[str, Any]) -> str:
    """A Markdown table, and how it came about."""
    figures = {name: facts[name] for name in COLUMNS if name in facts}
    rows = [f"| {name} | {x:.3g} | {' | '.join(COLUMNS[name])} |" for name, x in figures.items()]
    runs = [f"* {part}: {run}" for part, run in facts["runs"].items()]
    head = "| figure | measured | target | [prototypes](design/streaming.md#prototypes) |"
    return "\n".join([*runs, "", head, "|---|---|---|---|", *rows])


def main(cfg: DictConfig) -> None:
    """Measure all, write the figures, print the table."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory())
        folder = Path(cfg.folder or made)
        folder.mkdir(parents=True, exist_ok=True)
        out = Path(cfg.out)
        facts: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"runs": {}}
        for part in cfg.parts:
            facts["runs"][part] = describe_run()
            for name, figure in PARTS[part](cfg, folder):
                facts[name] = figure
                print(f"{name} {figure:.4g}", flush=True)
                out.write_text(json.dumps(facts, indent=1) + "\n")
    text = tabulate(facts)
    print(text)
    if cfg.page is not None:
        write_between_marks(Path(cfg.page), "data table", text)


if __name__ == "__main__":
    start(main, "benchmark_data")
