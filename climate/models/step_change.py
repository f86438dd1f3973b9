"""How much states change over a model's step in training, on the average.

A store knows it of its own step and its whole grid, from its conversion. Of other steps, of regions
and of older stores it is gathered from states spread over the training period, so many that more
would change nothing that matters, and kept in the run's folder.

Shapes: ``N`` pairs of states, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from climate.conventions.calendar import step_seconds
from climate.conventions.wording import duration
from climate.store.layout import TrainingStore
from vgbdm.errors import InputError
from vgbdm.progress import each
from vgbdm.storage.confine import parse_json, read_bytes
from vgbdm.storage.files import write_json

log = logging.getLogger(__name__)

PAIRS = 512
"""States a step apart that are looked at: the mean over them is known to about a hundredth."""
READ_BYTES = 64 * 2**20
"""States read at once, where two of them are not more."""
NUMBERS = "changes"


def step_change(store: TrainingStore, step: np.timedelta64, kept: Path | None = None) -> np.ndarray:
    """Area-weighted rms (C,) of x(t + step) - x(t) over the training period, physical units.

    Masked points are left out.

    Args:
        store: as the model sees it.
        step: of the model.
        kept: folder of a file with the numbers, written where it is not there; None: not kept.

    Raises:
        InputError: if the training period holds no two states one step apart.
    """
    anchors = store.anchors("train", step, history=0, ahead=1)
    if not len(anchors):
        raise InputError(
            f"{store.path}: no two training states are {duration(step)} apart; check step and split"
        )
    if store.statistics.change is not None and store.stride(step) == 1:
        return store.statistics.change.copy()
    if kept is None:
        return _gather(store, step, anchors)
    file = kept / f"step-change-{_key(store, step)}.json"
    found = _read(file, len(store.channels))
    if found is None:
        found = _gather(store, step, anchors)
        kept.mkdir(parents=True, exist_ok=True)
        write_json(file, {NUMBERS: found.tolist()})
    return found


def _key(store: TrainingStore, step: np.timedelta64) -> str:
    """Which numbers they are: of which statistics, region, channels and step."""
    facts = [store.statistics.hash, repr(store.region), list(store.channels), step_seconds(step)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _read(file: Path, channels: int) -> np.ndarray | None:
    """What an earlier start has kept; None where that is nothing or damaged."""
    try:
        held = parse_json(read_bytes(file), file, "remove it").get(NUMBERS)
        numbers = np.array(held, np.float64)
    except (FileNotFoundError, InputError, TypeError, ValueError):
        return None
    return numbers if numbers.shape == (channels,) and np.isfinite(numbers).all() else None


def _gather(store: TrainingStore, step: np.timedelta64, anchors: np.ndarray) -> np.ndarray:
    """The rms change (C,) over up to `PAIRS` of the pairs that begin at some times."""
    if len(anchors) > PAIRS:
        anchors = anchors[np.linspace(0, len(anchors) - 1, PAIRS).round().astype(int)]
    stride = store.stride(step)
    weights = point_weights(store.grid.area_weights[:, None], store.mask, len(store.lon))
    axes = "chw" if weights.ndim == 3 else "hw"
    total = np.zeros(len(store.channels))
    pairs = _pairs(store, anchors, stride)
    for now, then in each(pairs, len(anchors), "state", "changes per step", delay=1):
        change = then - now
        if store.mask is not None:
            change[store.mask] = 0.0
        total += np.einsum(f"chw,chw,{axes}->c", change, change, weights, dtype=np.float64)
    return np.sqrt(total / len(anchors))


def _pairs(
    store: TrainingStore, anchors: np.ndarray, stride: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The states (C, H, W) at some times and those so many store steps later, in order.

    What lies close together is read at once; of what does not, the two states alone.
    """
    later = store.frames(anchors, np.array([stride]))[:, 0]
    most = READ_BYTES // (4 * int(np.prod(store.state.shape[1:])))
    at = 0
    while at < len(anchors):
        first = int(anchors[at])
        end = int(np.searchsorted(later, first + most))
        if end <= at:
            now, then = (store.read(int(i), int(i) + 1)[0] for i in (anchors[at], later[at]))
            yield now, then
            at += 1
            continue
        block = store.read(first, int(later[end - 1]) + 1)
        for i in range(at, end):
            yield block[anchors[i] - first], block[later[i] - first]
        at = end


def point_weights(area: np.ndarray, mask: np.ndarray | None, width: int) -> np.ndarray:
    """Weights of points that sum to 1 over those of a map that are not masked.

    Args:
        area: (H, 1) area weights of mean 1.
        mask: (C, H, W) points left out; None: none.
        width: W.

    Returns:
        (H, 1), or (C, H, W) where there is a mask.
    """
    if mask is None:
        return area / len(area) / width
    kept = np.where(mask, 0.0, area)
    return np.asarray(kept / kept.sum((1, 2), keepdims=True))
