"""The rows every model must beat: persistence, damped and lagged, and climatology.

See docs/weather.md#trivial-rows.

Shapes: ``N`` starts, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climate.grids.area import Area
from climate.store.layout import TrainingStore

ROWS = ("persistence", "damped_persistence", "lagged_persistence", "climatology")
"""Their names in a scorecard."""
FIT_BYTES = 64 * 2**20
"""Training states held at a time while the rows are fitted."""
DAY_SECONDS = np.timedelta64(86400, "s")


def persistence(initial: np.ndarray, leads: int) -> np.ndarray:
    """The initial state at every lead: (N, C, H, W) → (N, S, C, H, W), a view."""
    return np.broadcast_to(initial[:, None], (len(initial), leads, *initial.shape[1:]))


def damped_persistence(
    initial: np.ndarray, start: np.ndarray, valid: np.ndarray, damping: np.ndarray
) -> np.ndarray:
    """Climatology at the valid time plus the damped initial anomaly.

    Args:
        initial: (N, C, H, W) initial states.
        start: (N, C, H, W) climatology at the initial times.
        valid: (N, S, C, H, W) climatology at the valid times.
        damping: (S, C) from `fit_trivial`.
    """
    return valid + damping[:, :, None, None] * (initial - start)[:, None]


def lagged_frames(step: np.timedelta64, leads: int) -> np.ndarray | None:
    """For each lead the latest state known at its hour of the day, in steps before the start, (S,).

    Up to a day ahead that is the state 24 h before the valid time. None where steps do not divide a
    day.
    """
    length = step.astype("timedelta64[s]")
    if DAY_SECONDS % length != np.timedelta64(0):
        return None
    return np.asarray(-np.arange(1, leads + 1) % int(DAY_SECONDS // length))


@dataclass(frozen=True)
class TrivialFit:
    """What the trivial rows learn from the training period.

    Attributes:
        damping: ρ (S, C) of anomalies, least squares, area-weighted.
        spread: (C, H, W) standard deviation of the anomalies from climatology.
    """

    damping: np.ndarray
    spread: np.ndarray


def fit_trivial(store: TrainingStore, area: Area, step: np.timedelta64, leads: int) -> TrivialFit:
    """Damping and spread of anomalies from the training climatology; one pass for all leads.

    Masked points are no anomalies.

    ρ = Σ a(t) a(t + lead) ÷ Σ a(t)², a the anomaly. Zero where there are no anomalies.
    """
    channels, shape = len(store.channels), (len(area.lat), len(area.lon))
    product, square = np.zeros((leads, channels)), np.zeros((channels, *shape))
    anchors = store.anchors("train", step, history=0, ahead=leads)
    if not len(anchors):
        return TrivialFit(product, square)
    ahead = store.stride(step) * np.arange(1, leads + 1)
    reach = int(ahead[-1])
    weights = area.weights.astype(np.float32)[:, None]
    block = max(reach, FIT_BYTES // (4 * int(np.prod(store.state.shape[1:]))))
    for first in range(int(anchors[0]), int(anchors[-1]) + 1, block):
        inside = anchors[(anchors >= first) & (anchors < first + block)] - first
        if not len(inside):
            continue
        later = store.frames(inside + first, ahead) - first
        last = first + int(later[-1, -1]) + 1
        anomaly = area.cut(store.read(first, last) - store.climatology.at(store.times[first:last]))
        if store.mask is not None:
            anomaly[:, area.cut(store.mask)] = 0.0
        now = anomaly[inside]
        square += np.einsum("nchw,nchw->chw", now, now, dtype=np.float64)
        now = now * weights
        for k in range(leads):
            then = anomaly[later[:, k]]
            product[k] += np.einsum("nchw,nchw->c", now, then, dtype=np.float64)
    total = np.einsum("chw,h->c", square, area.weights)
    damping = np.divide(product, total, out=np.zeros_like(product), where=total > 0)
    return TrivialFit(damping, np.sqrt(square / len(anchors)))
