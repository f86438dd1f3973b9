"""Random small archives are written as sources, converted, and read back exactly.

Grids, gaps, calendars, types, orders of dimensions, directions of axes, packing, chunks and files
are drawn; the values that must come back are made before anything is written.
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from archives import LEVELS, cf_source, zarr_source
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from climate.conversion.convert import convert
from climate.store.layout import open_store

HOUR = np.timedelta64(3600, "s")
FIELDS = {
    "a": {"name": "deep", "level": 500},
    "b": {"name": "deep", "level": 850},
    "c": {"name": "flat"},
}
STATIC = {"ground": {"name": "ground"}}


@st.composite
def archives(draw):
    """An archive as it is to be written, and what must come back."""
    height, width = draw(st.sampled_from([(4, 8), (5, 8), (6, 4), (7, 12)]))
    d_lat = 180 / height
    lat = draw(st.sampled_from([
        -90 + d_lat * (np.arange(height) + 0.5), np.linspace(-90, 90, height),
    ]))  # fmt: skip
    lon = np.arange(width) * (360 / width)
    start = draw(st.sampled_from(["2015-02-28T18", "2016-02-28T18", "1999-12-31T21"]))
    step = draw(st.sampled_from([1, 6]))
    count = draw(st.integers(8, 14))
    # two neighbours stay, so that the most frequent step is the step
    missing = draw(st.sets(st.integers(3, count - 2), max_size=2))
    index = np.array([k for k in range(count) if k not in missing])
    times = np.datetime64(start, "ns") + index * np.timedelta64(step, "h")
    dtype = draw(st.sampled_from(["float32", "float64", "int16"]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (len(times), height, width)
    stored = {name: random.integers(-30000, 30000, shape).astype("int16") for name in "abc"}
    if dtype == "int16":
        want = {name: (0.25 * v - 8.0).astype("float32") for name, v in stored.items()}
    else:
        stored = {name: random.normal(0, 1e3, shape).astype(dtype) for name in "abc"}
        want = {name: v.astype("float32") for name, v in stored.items()}
    ground = random.normal(size=(height, width)).astype("float32")
    deep = np.stack([np.zeros_like(stored["a"]), stored["a"], stored["b"]], 1)
    dataset = xr.Dataset(
        {
            "deep": (("time", "level", "lat", "lon"), deep),
            "flat": (("time", "lat", "lon"), stored["c"]),
            "ground": (("lat", "lon"), ground),
        },
        {"time": times, "level": LEVELS, "lat": lat, "lon": lon},
    )
    for name in ("deep", "flat"):
        dataset[name].attrs["units"] = "Pa"
        if dtype == "int16":
            dataset[name].attrs |= {"scale_factor": np.float32(0.25), "add_offset": np.float32(-8)}
    return _turned(draw, dataset), times, lat, lon, want, ground


def _turned(draw, dataset):
    """The same archive with its axes in other orders, directions and names."""
    order = draw(st.permutations(["time", "level", "lat", "lon"]))
    dataset = dataset.transpose(*order)
    if draw(st.booleans()):
        dataset = dataset.isel(lat=slice(None, None, -1))
    if draw(st.booleans()):
        lon = dataset["lon"].values
        dataset = dataset.assign_coords(lon=np.where(lon >= 180, lon - 360, lon)).sortby("lon")
    if draw(st.booleans()):
        dataset = dataset.rename(lat="latitude", lon="longitude")
    units = draw(st.sampled_from(["hours since 1900-01-01", "seconds since 1970-01-01"]))
    calendar = draw(st.sampled_from(["standard", "proleptic_gregorian"]))
    dataset["time"].encoding = {"units": units, "calendar": calendar, "dtype": "int64"}
    return dataset


def _write(draw, dataset, root):
    """As a Zarr store, or as NetCDF files; the source that reads it."""
    kind = draw(st.sampled_from(["zarr 2", "zarr 3", "files"]))
    options = {"fields": FIELDS, "static": STATIC}
    if kind == "files":
        cuts = sorted(draw(st.sets(st.integers(1, dataset.sizes["time"] - 1), max_size=2)))
        for k, (a, b) in enumerate(zip([0, *cuts], [*cuts, None], strict=True)):
            again = draw(st.booleans()) and b is not None  # the boundary step in both files
            part = dataset[["deep", "flat"]].isel(time=slice(a, b + 1 if again else b))
            for name in ("deep", "flat"):
                part[[name]].to_netcdf(root / f"{name}{k}.nc")
        dataset[["ground"]].to_netcdf(root / "ground.nc")
        return cf_source(root, "bca", **options)
    along = draw(st.integers(1, 5))
    encoding = {
        name: {"chunks": tuple(along if d == "time" else n for d, n in dataset[name].sizes.items())}
        for name in ("deep", "flat")
    }
    place = root / "store.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.to_zarr(place, zarr_format=int(kind[-1]), encoding=encoding)
    return zarr_source(place, "bca", **options)


@settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(archive=archives(), data=st.data())
def test_whatever_is_written_comes_back(archive, data):
    dataset, times, lat, lon, want, ground = archive
    seconds = times.astype("datetime64[s]")
    splits = {
        "train": [seconds[0], seconds[2]],
        "val": [seconds[2] + HOUR, seconds[-2]],
        "test": [seconds[-2] + HOUR, seconds[-1]],
    }
    with tempfile.TemporaryDirectory() as folder:
        source = _write(data.draw, dataset, Path(folder))
        convert(source.open(), Path(folder) / "store", splits, source={})
        store = open_store(Path(folder) / "store")
        assert store.channels == ("b", "c", "a")
        assert np.array_equal(store.times, seconds)
        assert np.array_equal(store.lat, lat) and np.array_equal(store.lon, lon)
        expected = np.stack([want[name] for name in "bca"], 1)
        assert np.array_equal(store.read(0, len(times)), expected)
        assert np.array_equal(store.static["ground"], ground)
