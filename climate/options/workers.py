"""Options of who works, in Dask tasks."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from vgbdm import tasks
from vgbdm.options.kinds import Text, Words
from vgbdm.options.shapes import Options


def _scheduler(value: str) -> str:
    return tasks.Dask(value).scheduler


class Dask(Options):
    """Who works.

    Attributes:
        scheduler: of Dask: threads, synchronous, or the address of a cluster.
    """

    scheduler: Annotated[
        Text, AfterValidator(_scheduler), Words("threads, synchronous or tcp://HOST:PORT")
    ]
