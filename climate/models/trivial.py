"""The rows every model must beat: persistence, damped persistence, climatology (METHOD §10).

Shapes: ``N`` starts, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import numpy as np

from climate.store.layout import TrainingStore

BLOCK_BYTES = 64 * 2**20
"""Training states held at a time while the damping is fitted."""


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
        damping: (S, C) from `fit_damping`.
    """
    return valid + damping[:, :, None, None] * (initial - start)[:, None]


def fit_damping(store: TrainingStore, step: np.timedelta64, leads: int) -> np.ndarray:
    """Damping ρ (S, C) of anomalies, least squares on the training period, area-weighted.

    ρ = Σ a(t) a(t + lead) ÷ Σ a(t)², a the anomaly from the training climatology; one pass for all
    leads.
    """
    shape = (leads, len(store.channels))
    product, square = np.zeros(shape), np.zeros(shape)
    anchors = store.anchors("train", step, history=0, ahead=leads)
    if not len(anchors):
        return product
    stride, reach = store.stride(step), store.stride(step) * leads
    weights = np.broadcast_to(store.grid.area_weights[:, None], store.state.shape[2:]).astype(
        np.float32
    )
    block = max(reach, BLOCK_BYTES // (4 * int(np.prod(store.state.shape[1:]))))
    for first in range(int(anchors[0]), int(anchors[-1]) + 1, block):
        inside = anchors[(anchors >= first) & (anchors < first + block)] - first
        if not len(inside):
            continue
        last = first + int(inside[-1]) + reach + 1
        anomaly = store.read(first, last) - store.climatology.at(store.times[first:last])
        now = anomaly[inside] * weights
        for k in range(leads):
            later = anomaly[inside + (k + 1) * stride]
            product[k] += np.einsum("nchw,nchw->c", now, later, dtype=np.float64)
            square[k] += np.einsum("nchw,nchw->c", now, anomaly[inside], dtype=np.float64)
    # a single year of months is its own climatology: no anomaly is left to tell a damping from
    return np.divide(product, square, out=np.zeros(shape), where=square > 0)
