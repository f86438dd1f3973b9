"""What the maps of a shard are like, gathered over all; odd ones are refused or kept.

Shapes: ``N`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import xarray as xr

from climate.conventions.variables import is_state
from climate.conversion.moments import SUM_BYTES
from climate.store.odd_maps import BINS, REMEMBERED, Maps, Odd, largest_changes
from vgbdm.errors import InputError

HANDLING = ("refuse", "keep")


def survey(
    values: np.ndarray,
    before: Sequence[np.ndarray] | np.ndarray | None,
    missing: np.ndarray | None,
    linked: np.ndarray,
    times: np.ndarray,
    weights: np.ndarray,
) -> list[Maps]:
    """What the maps of some times are like, by channel.

    Args:
        values: (N, C, H, W).
        before: C maps (H, W), the state before the first, NaN where missing; None: not there.
        missing: (N, C, H, W) where values were filled; None: nowhere.
        linked: (N,) whether the time before is one step before.
        times: (N,) datetime64[s].
        weights: (H,) area weights.
    """
    area = weights / weights.sum() / values.shape[3]
    share = max(1, SUM_BYTES // values[0, 0].nbytes)
    found = []
    for c in range(0, values.shape[1], share):
        some = slice(c, c + share)
        first = None if before is None else np.stack(list(before[some])).astype(np.float32)
        holes = None if missing is None else missing[:, some]
        rms, peak, constant = _measure(values[:, some], first, holes, area)
        rms[~linked] = peak[~linked] = np.nan
        clock = times.astype("datetime64[s]").astype(np.int64)
        for k in range(rms.shape[1]):
            found.append(_maps(clock, rms[:, k], peak[:, k], constant[:, k]))
    return found


def _measure(
    values: np.ndarray, before: np.ndarray | None, missing: np.ndarray | None, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Root mean square and largest change since the map before, whether a map is one value: (N, C).

    A change is NaN where it is not known. As `survey`, block by block; ``area`` (H,) sums to 1 over
    a map.
    """
    rms, peak = (np.full(values.shape[:2], np.nan) for _ in range(2))
    constant = np.zeros(values.shape[:2], bool)
    last = np.full(values.shape[1:], np.nan, np.float32) if before is None else before
    block = max(1, SUM_BYTES // values[0].nbytes)
    for start in range(0, len(values), block):
        some = slice(start, start + block)
        maps = values[some]
        if missing is not None and missing[some].any():
            maps = np.where(missing[some], np.float32(np.nan), maps)
        constant[some] = _is_constant(maps)
        change = np.empty(maps.shape, np.float32)
        with np.errstate(invalid="ignore"):
            np.subtract(maps[0], last, out=change[0])
            np.subtract(maps[1:], maps[:-1], out=change[1:])
        squares = np.einsum("nchw,nchw->nch", change, change)
        if not np.isfinite(squares).all():  # something is missing
            unknown = ~np.isfinite(change)
            change[unknown] = 0.0
            squares = np.einsum("nchw,nchw->nch", change, change)
            squares[unknown.all((2, 3))] = np.nan
        rms[some] = np.sqrt(squares @ area)
        peak[some] = np.maximum(change.max((2, 3)), -change.min((2, 3)))
        peak[some][np.isnan(rms[some])] = np.nan
        last = maps[-1]
    return rms, peak, constant


def _is_constant(maps: np.ndarray) -> np.ndarray:
    """Whether maps (N, C, H, W) are of one value, of those that are not missing: (N, C)."""
    row = maps[..., maps.shape[2] // 2, :]  # few have one value even there
    found = ((row == row[..., :1]) | np.isnan(row)).all(-1)
    for n, c in np.argwhere(found):
        held = maps[n, c][~np.isnan(maps[n, c])]
        found[n, c] = held.size > 0 and bool((held == held[0]).all())
    return found


def _maps(clock: np.ndarray, rms: np.ndarray, peak: np.ndarray, constant: np.ndarray) -> Maps:
    """Of one channel, from (N,) numbers."""
    repeated, moved = (peak == 0.0) & ~constant, np.flatnonzero(peak > 0.0)
    top = [(int(clock[n]), float(rms[n]), float(peak[n])) for n in moved]

    def counted(chosen: np.ndarray) -> tuple[int, tuple[int, ...]]:
        return int(chosen.sum()), tuple(clock[chosen][:REMEMBERED].tolist())

    def sizes(changes: np.ndarray) -> Mapping[int, int]:
        return Counter(np.floor(BINS * np.log2(changes)).astype(int).tolist())

    return Maps(
        counted(constant),
        counted(repeated),
        sizes(rms[moved]),
        sizes(peak[moved]),
        largest_changes(top),
    )


def gather_maps(records: Iterable[Mapping[str, Any]], shares: int) -> list[Maps]:
    """The maps of all channels of a store, from the records of its shards in order.

    Args:
        records: see `climate.conversion.shards.write_shard`.
        shares: shards of the same times.
    """
    held = [[Maps.from_json(one) for one in record["maps"]] for record in records]
    parts = [held[k::shares] for k in range(shares)]
    return [reduce(Maps.merge, channel) for part in parts for channel in zip(*part, strict=True)]


def check_odd(where: str, odd: Sequence[Odd], dataset: xr.Dataset, remedy: str) -> None:
    """Refuse odd maps of geopotential, temperature and wind; other channels may have them.

    Args:
        where: store, for the message.
        odd: see `find_odd`.
        dataset: they are from.
        remedy: what can be done but for mending the file, with {name} for the channel's.

    Raises:
        InputError: naming the first one, its file and what to do.
    """
    first = next((one for one in odd if is_state(one.channel)), None)
    if first is None:
        return
    field = dataset[first.channel]
    told = field.encoding.get("file_at")
    file = f" ({told(first.times[0])})" if told else ""
    raise InputError(
        f"{where}: {first.reason(str(field.attrs.get('units', '1')))}{file}; mend the file, "
        f"{remedy.format(name=first.channel)}; or, if it is right, the same command with "
        "odd_maps=keep finishes the store"
    )


def check_handling(handling: str) -> None:
    """Refuse what is no way to handle odd maps.

    Raises:
        InputError: naming those there are.
    """
    if handling not in HANDLING:
        raise InputError(f"odd_maps={handling}: want {' or '.join(HANDLING)}")
