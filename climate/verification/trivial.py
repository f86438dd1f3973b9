"""The rows every model must beat: persistence, damped and lagged, and climatology.

See docs/method/weather.md#trivial-rows.

Shapes: ``N`` starts, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climate.forecasts.pieces import Piece, Truth, pieces, read_window
from climate.grids.area import Area
from climate.store.layout import TrainingStore
from climate.verification.tasks import HERE, over_pieces
from vgbdm.tasks import Dask

ROWS = ("persistence", "damped_persistence", "lagged_persistence", "climatology")
"""Their names in a scorecard."""
DAY_SECONDS = np.timedelta64(86400, "s")


def persistence(known: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Errors (S, H, W) of a state (H, W), or of one for each lead, as the forecast of ``truth``."""
    return known - truth


def damped_persistence(
    initial: np.ndarray, anomalies: np.ndarray, damping: np.ndarray
) -> np.ndarray:
    """Errors (S, H, W) of climatology at the valid time plus the damped initial anomaly.

    Args:
        initial: (H, W) anomaly of the initial state.
        anomalies: (S, H, W) of the truth.
        damping: (S,) from `fit_trivial`.
    """
    return damping[:, None, None] * initial - anomalies


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


def fit_trivial(
    store: TrainingStore, area: Area, step: np.timedelta64, leads: int, dask: Dask = HERE
) -> TrivialFit:
    """Damping and spread of anomalies from the training climatology; one pass for all leads.

    Masked points are no anomalies.

    ρ = Σ a(t) a(t + lead) ÷ Σ a(t)², a the anomaly. Zero where there are no anomalies.
    """
    channels, shape = len(store.channels), (len(area.lat), len(area.lon))
    product, square = np.zeros((leads, channels)), np.zeros((channels, *shape))
    anchors = store.anchors("train", step, history=0, ahead=leads)
    if not len(anchors):
        return TrivialFit(product, square)
    truth = Truth(store, anchors, step, leads, area)

    def take(part: tuple[Piece, np.ndarray, np.ndarray]) -> None:
        piece, products, squares = part
        product[piece.leads, piece.channels] += products
        if not piece.leads.start:
            square[piece.channels] += squares

    over_pieces(_anomaly_products, truth, pieces(truth), take, dask, "trivial rows")
    total = np.einsum("chw,h->c", square, area.weights)
    damping = np.divide(product, total, out=np.zeros_like(product), where=total > 0)
    return TrivialFit(damping, np.sqrt(square / len(anchors)))


def _anomaly_products(truth: Truth, piece: Piece) -> tuple[Piece, np.ndarray, np.ndarray]:
    """Of the anomalies a of a piece: Σ a(t) a(t + lead), (S, C), and Σ a(t)², (C, H, W)."""
    window, weights = read_window(truth, piece), truth.area.weights
    products = np.zeros((piece.leads.stop - piece.leads.start, window.anomalies.shape[1]))
    squares = np.zeros(window.anomalies.shape[1:])
    for initial, valid in zip(window.initial, window.valid, strict=True):
        now = window.anomalies[initial]
        if not piece.leads.start:
            squares += now**2
        for k, then in enumerate(valid):
            products[k] += np.vecdot(now, window.anomalies[then]) @ weights
    return piece, products, squares
