"""Which sample comes when: a pure function of (seed, epoch, position), whatever the ranks.

The samples of an epoch, block by block in an order permuted by (seed, epoch), are cut into V
*lanes* of equal length; each lane shuffles inside groups of successive samples. Number i of the
endless sequence is number i // V of lane i mod V. Rank r of n serves the lanes l with l mod n = r,
so that it reads only the blocks of its own lanes, and the number of samples consumed is a complete
position at any number of ranks. Lanes one sample short end their epoch with a padding of weight 0.

Shapes: ``N`` samples of an epoch, ``V`` lanes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from vgbdm.errors import InputError
from vgbdm.randomness import keyed_seed

PADDING = -1
"""Stands for a sample that is none: its weight is 0."""


@dataclass(frozen=True)
class Group:
    """What a rank serves between two loads: the same slots of each of its lanes.

    Attributes:
        epoch: of the samples.
        first_slot: position in the lanes, counted over all epochs.
        anchors: (slots, lanes of the rank) positions in the data, or `PADDING`.
    """

    epoch: int
    first_slot: int
    anchors: np.ndarray


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

    def blocks_held(self, ranks: int) -> int:
        """Blocks of the largest group that one of the ranks can meet, whatever the permutation."""
        if self.fits_pool:
            return len(self._blocks)
        sizes = np.sort([len(block) for block in self._blocks])
        # the smallest blocks that a lane's share can hold whole, and one cut at either end
        lane = int(np.searchsorted(sizes.cumsum(), self.group_slots, "right")) + 2
        return min(len(self._blocks), self.lanes // ranks * lane)

    @lru_cache(maxsize=2)  # noqa: B019 - an order lives as long as the program
    def epoch(self, epoch: int) -> np.ndarray:
        """The samples of an epoch: (slots, V) anchors, or `PADDING` in the last row."""
        generator = np.random.default_rng(keyed_seed(self.seed, "order", epoch))
        if self.fits_pool:
            sequence = generator.permutation(self.anchors)
        else:
            blocks = [self._blocks[i] for i in generator.permutation(len(self._blocks))]
            sequence = np.concatenate(blocks)
        table = np.full((self.slots, self.lanes), PADDING, np.int64)
        for lane, share in enumerate(np.array_split(sequence, self.lanes)):
            for start in range(0, len(share), self.group_slots):
                part = slice(start, start + self.group_slots)
                key = keyed_seed(self.seed, "lane", epoch, lane, start)
                table[: len(share), lane][part] = np.random.default_rng(key).permutation(
                    share[part]
                )
        return table

    def groups(self, consumed: int, rank: int, ranks: int) -> Iterator[Group]:
        """The endless groups of a rank, from a position on.

        Args:
            consumed: samples of the whole sequence already taken; a multiple of V.
            rank: of this process.
            ranks: how many there are; divides V.

        Raises:
            InputError: if lanes, ranks and position do not fit together.
        """
        if self.lanes % ranks or consumed % self.lanes:
            raise InputError(
                f"order: {self.lanes} lanes cannot be shared by {ranks} ranks from sample "
                f"{consumed}; ranks must divide lanes, and lanes the global batch"
            )
        slot = consumed // self.lanes
        while True:
            epoch, inside = divmod(slot, self.slots)
            end = min((inside // self.group_slots + 1) * self.group_slots, self.slots)
            yield Group(epoch, slot, self.epoch(epoch)[inside:end, rank::ranks])
            slot += end - inside

    def sample_ids(self, first_slot: int, count: int, rank: int, ranks: int) -> np.ndarray:
        """Numbers in the endless sequence of a rank's samples: (count, V / ranks)."""
        slots = np.arange(first_slot, first_slot + count, dtype=np.int64)[:, None]
        return slots * self.lanes + np.arange(rank, self.lanes, ranks)
