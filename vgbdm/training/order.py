"""Which sample comes when: a pure function of (seed, epoch, position), whatever the ranks.

The samples of an epoch, block by block in an order permuted by (seed, epoch), are cut into V
*lanes* of equal length; each lane shuffles inside groups of successive samples. Number i of the
endless sequence is number i // V of lane i mod V. Which of them a rank serves is said by their
places in the global batch (`vgbdm.training.shares`): those of few lanes, so that it reads few
blocks. So the number of samples consumed is a complete position at any number of ranks. Lanes one
sample short end their epoch with a padding of weight 0.

Shapes: ``N`` samples of an epoch, ``V`` lanes, ``K`` samples that a rank has of a group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from vgbdm.errors import InputError
from vgbdm.randomness import keyed_seed
from vgbdm.training.shares import Share

PADDING = -1
"""Stands for a sample that is none: its weight is 0."""


@dataclass(frozen=True)
class Group:
    """What a rank serves between two loads: of some slots of all lanes what is in its share.

    Attributes:
        epoch: of the samples.
        ids: (K,) numbers in the endless sequence of samples, batch after batch, ascending.
        anchors: (K,) positions in the data, or `PADDING`.
        weights: (K,) float32; 0 for `PADDING`, and for what evens out the ranks' shares.
    """

    epoch: int
    ids: np.ndarray
    anchors: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class Order:
    """The endless order of samples.

    Args:
        anchors: (N,) sorted positions in the data, one per sample.
        block: positions per block of the data.
        lanes: V.
        pool: blocks held in memory at a time by all lanes together.
        seed: of the order.
        origin: position at which a block begins.

    Raises:
        InputError: if there are no samples, or the numbers are not positive.
    """

    anchors: np.ndarray
    block: int
    lanes: int
    pool: int
    seed: int
    origin: int = 0

    def __post_init__(self) -> None:
        if not len(self.anchors):
            raise InputError("order: no samples; check period, gaps, step and history")
        if self.lanes < 1 or self.block < 1 or self.pool < self.lanes:
            raise InputError(
                f"order: lanes={self.lanes}, block={self.block}, pool={self.pool}; want positive "
                "numbers and at least one block of the pool for each lane"
            )

    @cached_property
    def digest(self) -> str:
        """Identifies the order: another digest must not resume."""
        text = f"{self.block}/{self.lanes}/{self.pool}/{self.seed}/{self.origin}/".encode()
        return hashlib.sha256(text + self.anchors.astype("<i8").tobytes()).hexdigest()

    @property
    def slots(self) -> int:
        """Samples per lane and epoch, padding included."""
        return -(-len(self.anchors) // self.lanes)

    @cached_property
    def _blocks(self) -> list[np.ndarray]:
        edges = np.flatnonzero(np.diff(self.block_of(self.anchors))) + 1
        return np.split(self.anchors, edges)

    @property
    def group_slots(self) -> int:
        """Slots of a lane that are shuffled together: about its share of the pool."""
        if self.fits_pool:
            return self.slots
        return max(1, self.pool // self.lanes * len(self.anchors) // len(self._blocks))

    @property
    def fits_pool(self) -> bool:
        """Whether all blocks are held at once: then all samples are shuffled together."""
        return len(self._blocks) <= self.pool

    def blocks_of(self, anchors: np.ndarray) -> np.ndarray:
        """The sorted blocks that samples need: all of them where they fit into the pool."""
        inside = self.anchors if self.fits_pool else anchors[anchors != PADDING]
        return np.unique(self.block_of(inside))

    def block_of(self, anchors: np.ndarray) -> np.ndarray:
        """The block that each sample is from; block k begins at ``k * block + origin``."""
        return (anchors - self.origin) // self.block

    def blocks_held(self, lanes: int) -> int:
        """Blocks of the largest group that so many lanes can meet, whatever the permutation."""
        if self.fits_pool:
            return len(self._blocks)
        sizes = np.sort([len(block) for block in self._blocks])
        # the smallest blocks that a lane's share can hold whole, and one cut at either end
        lane = int(np.searchsorted(sizes.cumsum(), self.group_slots, "right")) + 2
        return min(len(self._blocks), lanes * lane)

    @lru_cache(maxsize=2)  # noqa: B019 - an order lives as long as the program
    def epoch(self, epoch: int) -> np.ndarray:
        """The samples of an epoch: (slots, V) anchors, or `PADDING` in the last row."""
        generator = np.random.default_rng(keyed_seed(self.seed, "order", epoch))
        if self.fits_pool:
            sequence = generator.permutation(self.anchors)
        else:
            blocks = [self._blocks[i] for i in generator.permutation(len(self._blocks))]
            sequence = np.concatenate(blocks)
        table, together = np.full((self.slots, self.lanes), PADDING, np.int64), self.group_slots
        for lane, share in enumerate(np.array_split(sequence, self.lanes)):
            for start in range(0, len(share), together):
                part = slice(start, start + together)
                key = keyed_seed(self.seed, "lane", epoch, lane, start)
                table[: len(share), lane][part] = np.random.default_rng(key).permutation(
                    share[part]
                )
        return table

    def groups(self, consumed: int, share: Share) -> Iterator[Group]:
        """The endless groups of a rank, from a position on.

        Args:
            consumed: samples of the whole sequence already taken; whole batches.
            share: of this rank.

        Raises:
            InputError: if share and position do not fit the order.
        """
        if share.lanes != self.lanes or consumed % share.batch:
            raise InputError(
                f"order: {self.lanes} lanes do not go on from sample {consumed} in batches of "
                f"{share.batch} from {share.lanes} lanes; go on with the batch and lanes of before"
            )
        rows, lanes = np.divmod(share.places, self.lanes)
        rows_of_batch = share.batch // self.lanes
        slot = consumed // self.lanes
        while True:
            epoch, inside = divmod(slot, self.slots)
            end = min((inside // self.group_slots + 1) * self.group_slots, self.slots)
            stop = slot + end - inside
            batches = np.arange(slot // rows_of_batch, -(-stop // rows_of_batch))[:, None]
            slots = batches * rows_of_batch + rows
            here = (slots >= slot) & (slots < stop)
            own = (slots * self.lanes + lanes)[here]
            anchors = self.epoch(epoch)[own // self.lanes - epoch * self.slots, own % self.lanes]
            weights = np.broadcast_to(share.weights, here.shape)[here] * (anchors != PADDING)
            yield Group(epoch, own, anchors, weights.astype(np.float32))
            slot = stop
