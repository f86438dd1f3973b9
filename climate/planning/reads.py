"""What a rank reads of a store in an epoch: files and bytes, by the order of samples.

Shapes: ``N`` samples, ``F`` frames.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from climate.stream.batches import WindowStream
from climate.stream.pool import pool_steps
from vgbdm.training.order import PADDING


class Reads(NamedTuple):
    """In an epoch, of one rank.

    Attributes:
        files: different ones.
        opened: how often one is opened.
        bytes: of states, before compression.
    """

    files: int
    opened: int
    bytes: int


def reads_of(stream: WindowStream, shards: tuple[int, ...]) -> Reads:
    """By map or by block, as the stream itself would read.

    Maps of successive times that lie in one file are read from it at once; a block likewise.

    Args:
        stream: of the rank.
        shards: times, channels, rows and columns of a file of the store.
    """
    store, order, window = stream.store, stream.order, stream.window
    steps, channels = shards[:2]
    beside = -(-len(store.channels) // channels)
    state = 4 * int(np.prod(store.state.shape[1:]))
    groups = itertools.takewhile(lambda g: g.epoch == 0, order.groups(0, stream.share))
    if store.is_big:
        anchors = np.concatenate([g.anchors[g.anchors != PADDING] for g in groups])
        frames = store.frames(anchors, window.offsets)
        at_once = frames // steps
        apart = np.diff(at_once, axis=1) != 0 if window.stride == 1 else np.ones_like(frames[:, 1:])
        opened = beside * int(len(frames) + apart.sum())
        return Reads(beside * len(np.unique(at_once)), opened, frames.size * state)
    held: set[int] = set()
    files: set[int] = set()
    opened = loaded = 0
    for group in groups:
        blocks = {int(block) for block in order.blocks_of(group.anchors)}
        for block in blocks - held:
            first = block * order.block + order.origin - window.before
            span = range(first // steps, (first + pool_steps(order, window) - 1) // steps + 1)
            files |= {*span}
            opened, loaded = opened + beside * len(span), loaded + 1
        held = blocks
    return Reads(beside * len(files), opened, loaded * pool_steps(order, window) * state)
