"""Files and bytes that a rank reads in an epoch."""

import numpy as np

from climate.grids.named import parse_grid
from climate.planning.reads import reads_of
from climate.store.layout import chunk_shape
from climate.store.planned import planned_store
from climate.stream.batches import WindowStream

NAMES, STEP = ("z", "t2m", "u10", "v10"), np.timedelta64(6, "h")


def reads(grid, ranks=1):
    store = planned_store(parse_grid(grid), NAMES, STEP, 1)
    options = {"step": STEP, "history": 3, "global_batch": 4, "lanes": 4, "pool_blocks": 4}
    with WindowStream(store, "train", ranks=ranks, memory_gib=100.0, **options) as stream:
        return reads_of(stream, store.state.shards), len(stream.order.anchors)


def test_big_maps_are_read_window_by_window():
    found, samples = reads("200x400")
    _, (steps, *_) = chunk_shape(4, 200, 400)
    assert samples == 365 * 4 - 4 and steps > 5
    assert found.bytes == samples * 5 * 4 * 200 * 400 * 4
    assert found.files == -(-365 * 4 // steps) and samples < found.opened < 1.1 * samples
    half, _ = reads("200x400", 2)
    assert half.bytes == found.bytes // 2


def test_small_maps_are_read_block_by_block():
    found, samples = reads("32x64")
    whole = (samples + 4) * 4 * 32 * 64 * 4
    assert whole < found.bytes < 1.5 * whole
    assert found.files == -(-365 * 4 // chunk_shape(4, 32, 64)[1][0])
    half, _ = reads("32x64", 2)
    assert half.bytes < 0.8 * found.bytes
