"""Training on a stream beside training on one batch that is always there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "launch"))

from entry import compose_config
from fields import timed


class Rates(NamedTuple):
    """Steps per second: on the stream, on one batch, and what the stream alone could feed."""

    real: float
    synthetic: float
    alone: float


def time_training(store, pool_blocks: int, steps: int, rounds: int) -> Rates:
    """Train the small model, by turns on both.

    Args:
        store: with hourly states.
        pool_blocks: of the stream.
        steps: in a turn.
        rounds: turns.
    """
    from climate.training.run import build_model, open_stream, parameter_groups
    from vgbdm.registry.build import build
    from vgbdm.training.transfer import Feed

    options = [f"store={store.path}", "run_dir=none", "backend=single"]
    run = compose_config("train_era5", [*options, f"stream.pool_blocks={pool_blocks}"])
    backend, objective = build(run.backend), build(run.objective)
    field, _ = build_model(run, store)
    backend.start(field, objective, parameter_groups(field, **run.optimizer), run.batch)
    values = {name: build(schedule)(0, 1000) for name, schedule in run.schedules.items()}
    field.train()

    def seconds(batches: Iterator) -> float:
        feed = Feed(batches, backend.device)
        return timed(
            lambda: [
                backend.step(next(feed), values, 1e-4, meanwhile=feed.prepare) for _ in range(steps)
            ]
        )

    real, synthetic, alone = 0.0, 0.0, 0.0
    with open_stream(run, store, backend, objective.ahead, 0) as stream:
        fixed = next(stream).part(0, run.batch)
        fixed.states = fixed.states.clone()
        seconds(iter(lambda: fixed, None))
        for _ in range(rounds):
            real += seconds(stream)
            synthetic += seconds(iter(lambda: fixed, None))
        for _ in range(rounds):
            alone += timed(lambda: [next(stream) for _ in range(steps)])
    return Rates(*(steps * rounds / spent for spent in (real, synthetic, alone)))
