"""The library on a fake device: its two doors, found by name and put under guard.

What a step, a validation and a forecast do is told by `Guard`; how they are built is in
`fake_weather` and `fake_systems`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from fake_device import NoTraffic, Registered
from torch import Tensor, nn

from vgbdm.training import transfer

PACKAGES = ("vgbdm", "climate", "physics_systems")
NORM = 2.0
"""The last number that `read` gives: a gradient's norm above the bound that clips it."""


class Guard:
    """A fake device with the library's doors on it.

    Attributes:
        traffic: the guard.
        reads: sizes of what the host read, in order.
    """

    def __init__(self, registered: Registered) -> None:
        self.registered, self.traffic = registered, NoTraffic(registered)
        self.reads: list[int] = []

    def read(self, values: Tensor) -> list[float]:
        """Stands for `transfer.read`: the device has no numbers to tell."""
        assert values.dim() == 1 and self.traffic.is_there(values.device)
        self.reads.append(len(values))
        return [0.0] * (len(values) - 1) + [NORM]

    @contextlib.contextmanager
    def on(self, moves: bool = True) -> Iterator[None]:
        """The library on the fake device, nothing passing but through its doors.

        Args:
            moves: whether batches reach the device.
        """
        arrive = self._through(transfer.arrive) if moves else self._stay
        with contextlib.ExitStack() as stack:
            for own, other in (
                (transfer.to_numbers, self.read),
                (transfer.arrive, arrive),
                (transfer.device_of, lambda rank: self.traffic.device),
            ):
                for module, name in places_of(own):
                    stack.enter_context(mock.patch.object(module, name, other))
            moving = mock.patch.object(nn.Module, "to", lambda m, d: self._move_module(m, d))
            stack.enter_context(moving)
            stack.enter_context(mock.patch.object(torch.func, "jvp", difference))
            stack.enter_context(self.traffic)
            yield

    def _through(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def passing(*args: Any) -> Any:
            with self.traffic.door():
                return function(*args)

        return passing

    def _move_module(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Stands for `nn.Module.to`, which makes new parameters where they become fake."""
        assert self.traffic.is_there(device)
        return self.traffic.move_module(module)

    @staticmethod
    def _stay(batch: Any, device: torch.device) -> transfer.Arrived:
        return transfer.Arrived(batch, batch)


def difference(
    function: Callable[[Tensor], Tensor], at: tuple[Tensor], along: tuple[Tensor]
) -> tuple[Tensor, Tensor]:
    """Stands for `torch.func.jvp`, which knows no device defined in Python.

    It calls what the library wrote; only torch's own derivatives are not gone through.
    """
    here = function(*at)
    return here, function(at[0] + along[0]) - here


def places_of(function: Callable[..., Any]) -> list[tuple[Any, str]]:
    """Every module of the library that knows a function, and under which name."""
    modules = [m for n, m in list(sys.modules.items()) if n.split(".")[0] in PACKAGES]
    return [(m, name) for m in modules for name, held in vars(m).items() if held is function]


def run_step(guard: Guard, trainer: Any) -> dict[str, Any]:
    """The first batch of a started trainer, moved and stepped on; what came of it.

    Without a backward pass the terms of the objective alone are computed.
    """
    with trainer.open_stream(0) as stream:
        batch = next(transfer.Feed(stream, trainer.backend.device))
        values = {name: schedule(0, 4) for name, schedule in trainer.schedules.items()}
        values = {name: value or 0.1 for name, value in values.items()}  # every term is computed
        trainer.field.train()
        guard.reads.clear()
        if not guard.registered.backward:
            terms = trainer.backend.module(batch.device, values)
            return {"terms": sorted(terms), "reads": 0}
        result = trainer.backend.step(batch, values, 1e-3, (), trainer.guard.accepts)
        return {
            "terms": sorted(result.terms),
            "reads": len(guard.reads),
            "moved": trainer.backend.moved,
        }


def run_validation(guard: Guard, trainer: Any) -> int:
    """A validation as training does it; how often it read."""
    guard.reads.clear()
    scores = trainer.validate(trainer.backend.whole_field().eval())
    assert "score" in scores
    return len(guard.reads)
