"""Which places of the global batch are a rank's, at any number of ranks.

The places of a batch, lane by lane, are cut into as many runs as there are ranks, whose lengths
differ by one at most; so a rank serves whole lanes and parts of at most two more. All ranks compute
equally many samples: where one has fewer, it repeats its own with weight 0.

Shapes: ``S`` samples that a rank computes per step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vgbdm.errors import InputError


def share_size(batch: int, ranks: int, accumulation: int = 1) -> int:
    """S: the largest share of a batch, rounded up to equal micro-batches."""
    return -(-batch // (ranks * accumulation)) * accumulation


@dataclass(frozen=True, eq=False)
class Share:
    """What a rank takes of every global batch.

    Attributes:
        batch: samples of the global batch.
        lanes: of the order; place p of a batch is in lane p mod ``lanes``.
        places: (S,) places in the batch, ascending.
        weights: (S,) float32; 0 for a place that is another rank's, or this one's once more.
    """

    batch: int
    lanes: int
    places: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(
        cls, batch: int, lanes: int, rank: int = 0, ranks: int = 1, accumulation: int = 1
    ) -> Share:
        """The share of a rank.

        Args:
            batch: samples of the global batch.
            lanes: of the order.
            rank: of this process.
            ranks: how many there are.
            accumulation: micro-batches, all of one size.

        Raises:
            InputError: if the lanes do not divide the batch.
        """
        if batch % lanes:
            raise InputError(
                f"batch of {batch} does not divide by {lanes} lanes; choose a multiple"
            )
        by_lane = np.arange(batch).reshape(-1, lanes).T
        # where ranks divide the lanes, rank r has the lanes l with l mod ranks = r
        in_turn = by_lane[np.argsort(np.arange(lanes) % ranks, kind="stable")].ravel()
        own = in_turn[rank * batch // ranks : (rank + 1) * batch // ranks]
        size = share_size(batch, ranks, accumulation)
        repeated = np.resize(own if len(own) else in_turn[-1:], size - len(own))
        places = np.concatenate((own, repeated))
        weights = (np.arange(size) < len(own)).astype(np.float32)
        ascending = np.argsort(places, kind="stable")
        return cls(batch, lanes, places[ascending], weights[ascending])

    @property
    def lanes_read(self) -> int:
        """Lanes that its samples are from."""
        return len(np.unique(self.places % self.lanes))

    def __len__(self) -> int:
        return len(self.places)
