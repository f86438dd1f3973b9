"""Memory that a step frees stays with the process, so that the next step finds it mapped."""

from __future__ import annotations

import ctypes
import os

TRIM, MMAP = -1, -3
"""glibc's malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD."""
VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> None:
    """Let malloc keep large blocks, for a CPU's steps take and free the same ones all the time.

    By itself glibc gives large blocks back to the system, which then clears every page anew at each
    step: some 7000 pages of a step of the published size, 5 to 10 % of its time. Nothing happens
    where the user has set one of `VARIABLES`, or the C library is another.
    """
    if any(name in os.environ for name in VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP, 1 << 30)
        mallopt(TRIM, (1 << 31) - 1)
