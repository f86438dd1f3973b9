"""A process of its own for the fake device, whose registration nothing undoes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

_registered: Any = None


def _begin() -> None:
    """In the new process: one thread, and the device."""
    global _registered
    import torch
    from fake_device import Registered

    torch.set_num_threads(1)
    _registered = Registered()


def _call(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    from fake_guard import Guard

    return function(Guard(_registered), *args, **options)


class FakeProcess:
    """Calls functions of modules that can be imported there, with a fresh `fake_guard.Guard`."""

    def __init__(self) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self.pool = ProcessPoolExecutor(1, get_context("spawn"), _begin)

    def __call__(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """What the function gives; what it raises is raised here."""
        return self.pool.submit(_call, function, args, options).result()

    def close(self) -> None:
        """End it."""
        self.pool.shutdown()
