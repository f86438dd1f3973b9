"""A field and an objective on the fake device; every function runs in a `fake_process`."""

from __future__ import annotations

import copy

from engine_pairs import OBJECTIVES, VALUES, case
from fake_guard import Guard
from torch import Tensor


def learn(guard: Guard, name: str, objective: str) -> tuple[list[str], list[str]]:
    """Names of the terms, and of the parameters that got a gradient where there are any."""
    field, batch = case(name, objective)
    with guard.on():
        with guard.traffic.door():
            guard.traffic.move_module(field)
            there = copy.copy(batch)
            for place, value in vars(batch).items():
                if isinstance(value, Tensor):
                    object.__setattr__(there, place, value.to(guard.traffic.device))
        terms = OBJECTIVES[objective](1)(field, there, VALUES)
        if guard.registered.backward:
            terms["loss"].mean().backward()
    reached = [n for n, p in field.named_parameters() if p.grad is not None]
    return sorted(terms), reached
