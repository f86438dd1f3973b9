"""The training store on disk, and reading it.

    STORE/state            (time, channel, lat, lon) float32, NaN where nothing was written and
                           where a mask stands
    STORE/time …           coordinates; xarray opens the group as it is
    STORE/orography …      static fields (lat, lon)
    STORE/mean_map         (channel, lat, lon) of the training period
    STORE/climatology      (bin, channel, lat, lon) of the training period
    STORE/mask             (channel, lat, lon) bool, where a channel has no value at any time; only
                           where there is such a point
    STORE/filled           (time, channel, lat, lon) bool, where missing values were filled
    STORE/manifest.json    written last: its presence marks the store as finished; it says how many
                           times there are, which a stopped append does not change, and the digest
                           of each file; see `vgbdm.storage.sealing`
    STORE/convert.log      who converted when; in no digest
    STORE/monthly/         a store of monthly means made from this one, where it was asked for

Shapes: ``T`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from climate.conventions.calendar import (
    SPLITS,
    Period,
    as_step,
    count_steps,
    in_unit_of,
    inside,
    is_monthly,
)
from climate.conventions.wording import date, duration, setting_of
from climate.grids.grid import Grid
from climate.grids.regions import Region
from climate.store.boxed import BoxedArray
from climate.store.reader import EVERY, ShardedArray
from climate.store.statistics import CHANGE, NUMBERS, Climatology, Statistics, binning_of
from climate.store.swap import pending
from climate.store.windows import BOX, Window, window_named
from vgbdm.errors import InputError
from vgbdm.storage.door import LINE_LENGTH
from vgbdm.storage.sealed import Sealed
from vgbdm.storage.sealing import MANIFEST, check_types, read_manifest

STORE_KIND = "training store"
FACTS: dict[str, Any] = {
    "channels": list, "static": list, "step_seconds": int, "times": int, "shard_steps": int,
    "splits": dict, "gaps": list, "channel_attrs": dict, "statistics": dict,
    "climatology_seasons": bool, "nan_allowance": int | float, "codec": str, "provenance": dict,
}  # fmt: skip
"""What a manifest records besides that of any folder, and of which type."""
WINDOW_FACT = "climatology_window"
"""One more where the climatology has seasons; stores from before it was recorded have the box."""
SHARD_BYTES = 128 * 2**20
SHARD_STEPS, CHUNK_STEPS = 720, 24
STEP_SECONDS = 366 * 86400
"""Of the longest step."""
SMALL_FIELD_BYTES = 2**20
"""States up to this size are chunked many steps at a time, larger ones field by field."""


def chunk_shape(channels: int, height: int, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and shard shapes (time, channel, lat, lon) for states of this size.

    Where the maps of one time are too much for a shard, its channels are dealt to several of about
    the same size.
    """
    state = 4 * channels * height * width
    if state <= SMALL_FIELD_BYTES:
        steps = min(SHARD_STEPS, SHARD_BYTES // state) // CHUNK_STEPS * CHUNK_STEPS
        return (CHUNK_STEPS, channels, height, width), (steps, channels, height, width)
    maps = max(1, SHARD_BYTES // (4 * height * width))
    share = -(-channels // -(-channels // maps))
    steps = max(1, min(SHARD_STEPS, maps // share)) if share == channels else 1
    return (1, 1, height, width), (steps, share, height, width)


def codecs(name: str, channels: int, height: int, width: int) -> list[Any]:
    """What chunks pass through on their way to disk; the last guards against flipped bits.

    Args:
        name: ``lz4``: smaller files; ``none``: read at the speed of the disk, where there is room.
        channels: of a state.
        height: of a map.
        width: of a map.

    Raises:
        InputError: for another name.
    """
    if name == "none":
        return [Crc32cCodec()]
    if name != "lz4":
        raise InputError(f"codec={name}: want lz4 or none")
    small = 4 * channels * height * width <= SMALL_FIELD_BYTES
    shuffle = BloscShuffle.shuffle if small else BloscShuffle.bitshuffle
    return [BloscCodec(cname="lz4", clevel=5, shuffle=shuffle), Crc32cCodec()]


@dataclass(frozen=True)
class TrainingStore:
    """A finished training store, open for reading.

    Attributes:
        path: of the store.
        channels: short names, in the order of the state.
        lat: (H,) degrees north, ascending.
        lon: (W,) degrees east from 0.
        times: (T,) datetime64[s], increasing; steps may be missing.
        step: between times where none is missing, in seconds or in calendar months; the time of a
            monthly mean is the first second of its month.
        static: name → (H, W).
        splits: name → period.
        channel_attrs: CF attributes by channel.
        statistics: of the training period.
        climatology: of the training period.
        provenance: where the data came from.
        state: the array (T, C, H, W).
        digest: of its manifest, which holds those of all its files.
        region: that it is cropped to, with its halo; None where it is whole.
        interior: rows and columns without the halo: what is forecast and scored.
        mask: (C, H, W) points where a channel has no value at any time; None: there are none.
    """

    path: Path
    channels: tuple[str, ...]
    lat: np.ndarray
    lon: np.ndarray
    times: np.ndarray
    step: np.timedelta64
    static: dict[str, np.ndarray]
    splits: dict[str, Period]
    channel_attrs: dict[str, dict[str, str]]
    statistics: Statistics
    climatology: Climatology
    provenance: dict[str, Any]
    state: ShardedArray | BoxedArray
    digest: str
    region: Region | None = None
    interior: tuple[slice, slice] = (slice(None), slice(None))
    mask: np.ndarray | None = None

    @cached_property
    def grid(self) -> Grid:
        """The grid of its states."""
        return Grid(self.lat, self.lon, self.region.halo if self.region else 0)

    @property
    def is_big(self) -> bool:
        """Whether states are stored map by map; see `SMALL_FIELD_BYTES`."""
        return self.state.chunks[0] == 1

    def without_halo(self, values: Any) -> Any:
        """The interior of an array or tensor (..., H, W)."""
        rows, columns = self.interior
        return values[..., rows, columns]

    def read(
        self, start: int, stop: int, out: np.ndarray | None = None, channels: slice = EVERY
    ) -> np.ndarray:
        """States ``start`` to ``stop`` (N, c, H, W) float32, physical units.

        Args:
            start: first time index.
            stop: one past the last.
            out: C-contiguous; filled and returned where given.
            channels: those wanted, without a step.

        Raises:
            InputError: if a chunk is missing or damaged, naming the times.
        """
        try:
            return self.state.read(start, stop, out, channels)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.path}: states of {date(self.times[start])} … "
                f"{date(self.times[stop - 1])} cannot be read "
                f"({str(error).splitlines()[0]}); mend it with launch/store.py repair {self.path} "
                "source=…"
            ) from error

    def stride(self, step: np.timedelta64) -> int:
        """Store steps in a model step.

        Raises:
            InputError: if it is no whole number, or the store is of months and the step is not.
        """
        if is_monthly(self.step) and not is_monthly(step):
            raise InputError(
                f"step={setting_of(step) or duration(step)}: not a multiple of the store's step, "
                f"1 month; take task=monthly, {self.path} holds monthly means"
            )
        return count_steps("step", step, self.step, "the store's")

    @cached_property
    def _clock(self) -> np.ndarray:
        """The times (T,) in the unit of the step."""
        return in_unit_of(self.step, self.times)

    def frames(self, index: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Indices (N, F) of the times some store steps (F,) from those of others (N,).

        They are found by time: a missing step in between moves none of them. Where the store has
        no such time (see `has`), another stands for it.
        """
        wanted = self._clock[index][:, None] + np.asarray(steps)[None] * self.step
        return np.searchsorted(self._clock, wanted).clip(0, len(self._clock) - 1)

    def has(self, index: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Whether the store has the times of `frames`: (N, F)."""
        wanted = self._clock[index][:, None] + np.asarray(steps)[None] * self.step
        return np.asarray(self._clock[self.frames(index, steps)] == wanted)

    def anchors(
        self, split: str, step: np.timedelta64, history: int = 3, ahead: int = 1
    ) -> np.ndarray:
        """Usable starts: indices of current states whose window has all its states.

        Only the times of its states are asked for, not those in between. The current state and all
        that follow lie inside the split. For training the past states do too; for the other splits
        they may reach back.

        Args:
            split: ``train``, ``val`` or ``test``.
            step: between the states of a window.
            history: past states.
            ahead: future states.

        Returns:
            (N,) increasing indices into ``times``.
        """
        if split not in SPLITS:
            raise InputError(f"split {split!r} is unknown; there are {', '.join(SPLITS)}")
        stride = self.stride(step)
        allowed = inside(self.times, self.splits[split])
        index = np.flatnonzero(allowed)
        for offset in np.arange(-history, ahead + 1) * stride:
            there = self.has(index, np.array([offset]))[:, 0]
            if offset > 0 or split == "train":
                there &= allowed[self.frames(index, np.array([offset]))[:, 0]]
            index = index[there]
        return index


def read_facts(path: Path) -> dict[str, Any]:
    """The manifest of a finished store, compared with its own digest.

    Raises:
        InputError: if there is none, it is damaged, or of another format or kind.
    """
    remedy = f"fetch {path} again, or remove it and convert again"
    older = f"bring it to this version by launch/store.py upgrade {path}"
    facts = read_manifest(path, STORE_KIND, remedy, older)
    check_types(facts, FACTS, path / MANIFEST, remedy)
    names = [*facts["channels"], *facts["static"]]
    if not facts["channels"] or not all(isinstance(n, str) for n in names):
        raise InputError(f"{path / MANIFEST}: names no channels; {remedy}")
    most = {"step_seconds": STEP_SECONDS, "times": LINE_LENGTH, "shard_steps": LINE_LENGTH}
    for name, limit in most.items():
        if not 0 < facts[name] <= limit:
            raise InputError(f"{path / MANIFEST}: {name} is {facts[name]}; {remedy}")
    return facts


def open_folder(path: Path, facts: Mapping[str, Any] | None = None) -> Sealed:
    """A finished store as a sealed folder; while an append moves files, either one is right.

    Args:
        path: of the store.
        facts: of its manifest, where that is not in the folder yet.

    Raises:
        InputError: if it is missing, unfinished, damaged or of another format.
    """
    if facts is None:
        if not path.is_dir():
            raise InputError(f"store {path}: no such folder; make it with vgbdm convert-era5")
        if not (path / MANIFEST).exists():
            raise InputError(
                f"store {path}: not finished, or no training store; run the same conversion again "
                "to finish it, or make one of these data with vgbdm convert-era5"
            )
        facts = read_facts(path)
    remedy = f"mend it with launch/store.py repair {path} source=…"
    return Sealed(path, facts, remedy, partial(_facts_by_now, path))


def _facts_by_now(path: Path) -> list[Mapping[str, Any]]:
    """What a store and an append to it say of its files."""
    return [read_facts(path), {"files": pending(path)}] if (path / MANIFEST).exists() else []


def open_store(path: str | Path) -> TrainingStore:
    """Open a finished training store; what is small is compared with its digest.

    Raises:
        InputError: if it is missing, unfinished, damaged or of another format.
    """
    folder = open_folder(Path(path))
    try:
        return _open(folder)
    except InputError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{folder.root / MANIFEST}: describes no training store ({type(error).__name__}: "
            f"{reason}); remove {folder.root} and convert again"
        ) from None


def _open(folder: Sealed) -> TrainingStore:
    facts = folder.facts
    step, numbers = as_step(facts["step_seconds"]), facts["statistics"]
    lat, lon, channels = folder.values("lat"), folder.values("lon"), tuple(facts["channels"])
    grid = (len(lat), len(lon))
    state, shape = ShardedArray(folder), (len(channels), *grid)
    times, climatology = folder.values("time"), folder.open("climatology")
    binning = binning_of(
        step, facts["climatology_seasons"], climatology.shape[0], window_of(facts, folder.root)
    )
    short = min(len(times), state.shape[0]) < facts["times"]
    if short or state.shape[1:] != shape or climatology.shape != (math.prod(binning.shape), *shape):
        raise InputError(
            f"{folder.root}: states of {state.shape}, a climatology of {climatology.shape}, "
            f"{facts['times']} times of {len(channels)} channels on {grid[0]} × {grid[1]}; "
            f"{folder.remedy}"
        )
    statistics = Statistics(
        **{name: np.array(numbers[name], float) for name in NUMBERS},
        mean_map=folder.values("mean_map", shape),
        count=int(numbers["count"]),
        period=_period(numbers["period"]),
        variables=tuple(numbers["variables"]),
        change=_changes(numbers.get(CHANGE), len(channels)),
    )
    if statistics.hash != numbers["hash"]:
        raise InputError(
            f"{folder.root / MANIFEST}: statistics do not match their hash; remove {folder.root} "
            "and convert again"
        )
    folder.compare_small("climatology")
    return TrainingStore(
        path=folder.root,
        channels=channels,
        lat=lat,
        lon=lon,
        times=times[: facts["times"]].astype("datetime64[s]"),
        step=step,
        static={name: folder.values(name, grid) for name in facts["static"]},
        splits={name: _period(facts["splits"][name]) for name in SPLITS},
        channel_attrs=facts["channel_attrs"],
        statistics=statistics,
        climatology=Climatology(climatology, binning),
        provenance=facts["provenance"],
        state=state,
        digest=folder.digest,
        mask=folder.values("mask", shape).astype(bool) if facts.get("masked") else None,
    )


def window_of(facts: Mapping[str, Any], path: Path) -> Window:
    """The window of a store's climatology.

    Args:
        facts: of its manifest.
        path: of the store.

    Raises:
        InputError: if it is none that is known here.
    """
    where = f"{path / MANIFEST}: {WINDOW_FACT}"
    return window_named(facts.get(WINDOW_FACT, BOX.name), where)


def _changes(held: Any, channels: int) -> np.ndarray | None:
    """Changes per step (C,) that a manifest holds, or that it holds none.

    Raises:
        ValueError: for what is no such numbers.
    """
    if held is None:
        return None
    numbers = np.array(held, float)
    if numbers.shape != (channels,) or not (np.isfinite(numbers) & (numbers >= 0)).all():
        raise ValueError("changes per step are no numbers, one of each channel")
    return numbers


def _period(ends: Sequence[str]) -> Period:
    return np.datetime64(ends[0], "s"), np.datetime64(ends[1], "s")
