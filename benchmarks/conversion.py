"""What benchmarks/data.py measures of conversions.

Shapes: ``T`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from fields import CHANNELS, as_dataset, make_store, timed


def open_source(folder: Path, steps: int) -> Any:
    """The uncompressed NetCDF file, lazy, in blocks of a shard."""
    import xarray as xr

    return xr.open_dataset(folder / "source.nc", chunks={"time": steps})


def write_directly(folder: Path) -> None:
    """The reference: the same shards in one process, without any check, digest or statistics."""
    import xarray as xr
    import zarr

    from climate.store.layout import chunk_shape, codecs

    with xr.open_dataset(folder / "source.nc") as dataset:
        shape = (len(CHANNELS), dataset.sizes["lat"], dataset.sizes["lon"])
        chunks, shards = chunk_shape(*shape)
        array = zarr.create_array(
            folder / "direct", shape=(dataset.sizes["time"], *shape), dtype="f4", chunks=chunks,
            shards=shards, compressors=codecs("lz4", *shape), overwrite=True,
        )  # fmt: skip
        for at in range(0, array.shape[0], shards[0]):
            block = dataset[list(CHANNELS)].isel(time=slice(at, at + shards[0])).load()
            array[at : at + shards[0]] = np.stack([block[n].values for n in CHANNELS], 1)


def time_conversion(
    folder: Path, values: np.ndarray, threads: int, rounds: int
) -> Iterator[tuple[str, float]]:
    """Conversion of uncompressed NetCDF against writing the same shards, and its speed."""
    from climate.store.layout import chunk_shape

    as_dataset(values, len(values)).to_netcdf(folder / "source.nc")
    steps = chunk_shape(*values.shape[1:])[1][0]
    write_directly(folder)
    ratios, rates = [], []
    for _ in range(rounds):
        reference = timed(lambda: write_directly(folder))
        with open_source(folder, steps) as dataset:
            seconds = timed(lambda data=dataset: make_store(folder, "timed", data, "lz4", threads))
        ratios.append(reference / seconds)
        rates.append(values.nbytes / seconds / 1e6)
        shutil.rmtree(folder / "timed")
    yield "convert_over_direct", median(ratios)
    yield "convert_megabytes_per_second", median(rates)


def time_cluster(folder: Path, threads: int) -> float:
    """A cluster of two processes of one thread against as many threads of this one."""
    from distributed import LocalCluster

    from climate.store.layout import chunk_shape

    with open_source(folder, 1) as dataset:
        shape = (len(CHANNELS), dataset.sizes["lat"], dataset.sizes["lon"])
    steps = chunk_shape(*shape)[1][0]
    with (
        open_source(folder, steps) as dataset,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        address = cluster.scheduler_address

        def convert(name: str, scheduler: str) -> float:
            work = lambda: make_store(folder, name, dataset, "lz4", threads, scheduler)  # noqa: E731
            seconds = timed(work)
            shutil.rmtree(folder / name)
            return seconds

        convert("warm", address)  # its processes have imported what they need
        return convert("here", "threads") / convert("there", address)


def convert_alone(folder: str, shape: tuple[int, int, int, int], threads: int, result: Any) -> None:
    """Convert generated fields in a process of its own and send its peak memory in GiB."""
    import dask.array as da

    from climate.store.layout import chunk_shape

    base = np.random.default_rng(0).standard_normal(shape[2:], np.float32)
    steps = chunk_shape(*shape[1:])[1][0]

    def make(block: tuple[int, ...]) -> np.ndarray:
        first = block[0] * steps
        times = np.arange(first, min(first + steps, shape[0]), dtype=np.float32)
        return (base * np.cos(0.3 * times)[:, None, None])[:, None] + np.float32(block[1])

    parts = tuple(min(steps, shape[0] - at) for at in range(0, shape[0], steps))
    chunks = (parts, (1,) * shape[1], *((n,) for n in shape[2:]))
    values = da.map_blocks(
        lambda block_info: make(block_info[None]["chunk-location"]), chunks=chunks, dtype="f4"
    )
    make_store(Path(folder), "wide", as_dataset(values, shape[0]), "lz4", threads)
    result.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def measure_peak(folder: Path, shape: tuple[int, int, int, int], threads: int) -> float:
    """Peak memory of a conversion, the interpreter and its libraries included."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    job = context.Process(target=convert_alone, args=(str(folder), shape, threads, result))
    job.start()
    job.join()
    if job.exitcode:
        sys.exit("the conversion whose memory is measured failed")
    shutil.rmtree(folder)
    return float(result.get())
