"""Work of a computation, counted as its operations come, and the rates at which a machine does it.

Products, convolutions and what is done point by point run at rates of their own, and every
operation costs something however small it is. Fourier transforms count by the bytes that they read
and write, as what is done point by point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Work(NamedTuple):
    """What is to be done, or the seconds of a unit of each kind.

    Attributes:
        products: operations of matrix products, floating point.
        convolutions: likewise, of convolutions.
        moved: bytes that all others read and write.
        calls: operations of any kind, views among them.
    """

    products: float
    convolutions: float
    moved: float
    calls: float

    def __add__(self, other: Any) -> Work:
        """Both."""
        return Work(*(a + b for a, b in zip(self, other, strict=True)))

    def scaled(self, factor: float) -> Work:
        """So many times this."""
        return Work(*(factor * x for x in self))

    def seconds(self, rates: Work) -> float:
        """Of this work at such rates."""
        return sum(amount * rate for amount, rate in zip(self, rates, strict=True))

    @property
    def operations(self) -> float:
        """Of products and convolutions, floating point."""
        return self.products + self.convolutions


NOTHING = Work(0, 0, 0, 0)
PRODUCTS, CONVOLUTIONS, MOVED, CALLS = range(4)


class WorkCounter(TorchDispatchMode):
    """While it is entered, counts the work of operations; fake tensors serve as well.

    Args:
        now: gives seconds; None: the operations' seconds are not asked for.

    Attributes:
        work: so far.
        seconds: of operations by their kind; under ``calls`` those of views, which do nothing else.
        views: how many these were.
    """

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        super().__init__()
        self._now = now or (lambda: 0.0)
        self.work = self.seconds = NOTHING
        self.views = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute, and count what that was."""
        kwargs = kwargs or {}
        if func.namespace == "prim":  # what fake tensors are asked, not work
            return func(*args, **kwargs)
        begin = self._now()
        answer = func(*args, **kwargs)
        taken = self._now() - begin
        kind, amount = _work_of(func, args, kwargs, answer)
        self.work += _only(kind, amount) + _only(CALLS, 1.0)
        self.seconds += _only(kind, taken)
        self.views += kind == CALLS
        return answer

    def rates(self, whole: float) -> Work:
        """Seconds of a unit of each kind, that make what was counted take so many in all.

        A view tells what a call costs, the other operations what is left to their work.
        """
        call = self.seconds.calls / max(1, self.views)
        calls = self.work.calls - self.views
        part = 1.0 - min(0.9, call * calls / max(1e-30, sum(self.seconds[:CALLS])))
        own = (s * part / max(1.0, w) for s, w in zip(self.seconds, self.work, strict=True))
        found = Work(*own)._replace(calls=call)
        return found.scaled(whole / max(1e-30, self.work.seconds(found)))


def _only(kind: int, amount: float) -> Work:
    return NOTHING._replace(**{Work._fields[kind]: amount})


def _work_of(func: Any, args: Any, kwargs: Any, answer: Any) -> tuple[int, float]:
    """The kind of an operation and how much of it there is."""
    packet = func.overloadpacket
    if packet in flop_registry:
        kind = CONVOLUTIONS if "conv" in packet.__name__ else PRODUCTS
        return kind, float(flop_registry[packet](*args, **kwargs, out_val=answer))
    if func.is_view:
        return CALLS, 0.0
    read, written = tree_leaves((args, kwargs)), tree_leaves(answer)
    return MOVED, float(sum(t.nbytes for t in (*read, *written) if isinstance(t, Tensor)))


def work_of(run: Callable[[], object]) -> Work:
    """What a computation has to do."""
    with WorkCounter() as counter:
        run()
    return counter.work


def measured_rates(run: Callable[[], object], device: torch.device, rounds: int) -> Work:
    """Seconds of a unit of each kind, as a computation shows them on a device.

    Args:
        run: the computation.
        device: where it runs; seconds are of the processor on a CPU, by the clock elsewhere.
        rounds: how often it is seen; the fastest counts.
    """

    def now() -> float:
        if device.type == "cpu":
            return time.process_time()
        torch.accelerator.synchronize(device)
        return time.perf_counter()

    run()  # the first allocates
    whole, seen = [], []
    for _ in range(rounds):
        begin = now()
        run()
        whole.append(now() - begin)
        with WorkCounter(now) as counter:
            run()
        seen.append(counter)
    return min(seen, key=lambda c: sum(c.seconds)).rates(min(whole))
