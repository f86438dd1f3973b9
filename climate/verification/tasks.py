"""Work on forecasts as Dask tasks, a piece each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from climate.forecasts.pieces import Piece
from vgbdm.progress import progress
from vgbdm.tasks import Dask, run_tasks

Shared = TypeVar("Shared")
Result = TypeVar("Result")
HERE = Dask()
"""Threads of this process, as many as cores."""
DIED = (
    "while it worked on forecasts, more often than the cluster allows; see its log, and give it "
    "more memory where it had none left"
)


def over_pieces(
    work: Callable[[Shared, Piece], Result],
    shared: Shared,
    parts: Sequence[Piece],
    take: Callable[[Result], None],
    dask: Dask,
    desc: str,
) -> None:
    """Work on each piece; results are taken in the order of the pieces, so that sums are the same.

    Args:
        work: of a task.
        shared: what all tasks have.
        parts: the pieces.
        take: is given each result.
        dask: who works.
        desc: of the progress bar.

    Raises:
        InputError: what a task refuses, or a cluster that does not answer.
    """
    with progress(len(parts), "piece", desc) as bar:

        def taken(result: Result) -> None:
            take(result)
            bar.update()

        run_tasks(work, shared, parts, taken, dask, DIED)
