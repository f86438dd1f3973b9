"""Bytes that a computation takes, counted as its tensors come and go; fake ones serve as well.

What a library takes inside of an operation and gives back at its end is not seen: the buffers of
convolutions and Fourier transforms.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Footprint(TorchDispatchMode):
    """While it is entered, counts the storages that operations make; each until it is freed.

    Attributes:
        held: bytes of those that are alive.
        peak: the most that ``held`` has been.
    """

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, int] = {}
        self.held = self.peak = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute, then take in what the answer holds and the arguments did not."""
        kwargs = kwargs or {}
        given = {_place(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        answer = func(*args, **kwargs)
        for tensor in tree_leaves(answer):
            if isinstance(tensor, Tensor) and _place(tensor) not in given:
                self._take(tensor)
        return answer

    def _take(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place = storage._cdata
        if place in self._alive:
            return
        self._alive[place] = storage.nbytes()
        self.held += storage.nbytes()
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._drop, place)

    def _drop(self, place: int) -> None:
        self.held -= self._alive.pop(place)


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
