"""What must not pass between host and device: each function does one such thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from fake_guard import Guard
from torch import Tensor, nn


class _HostGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a tensor that it makes on the host."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """See the class."""
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        """See the class."""
        return gradient * torch.ones(gradient.shape)


class _HostBuffer(nn.Module):
    """A layer with a tensor that is no buffer, and so stays behind."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(3, 3), torch.ones(3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3), same out."""
        out: Tensor = self.layer(x) * self.scale
        return out


CONTROLS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "bool": lambda x: bool((x > 0).all()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "copy": lambda x: torch.empty(x.shape).copy_(x),
    "tensor of a list": lambda x: torch.tensor([1.0, 2.0, 3.0], device=x.device),
    "new_tensor": lambda x: x.new_tensor([1.0, 2.0, 3.0]),
    "index of a list": lambda x: x[:, [0, 2]],
    "pageable copy": lambda x: torch.ones(3).to(x.device),
    "number of the host": lambda x: x * torch.tensor(2.0),
    "mask": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x > 0),
    "nonzero": lambda x: x.nonzero(),
    "mask of the host": lambda x: x[torch.ones(2, dtype=torch.bool)],
    "checked solution": lambda x: torch.linalg.solve(x @ x.T, x),
    "backward": lambda x: _HostGradient.apply(x.requires_grad_()).sum().backward(),
}
"""By name, what a function (2, 3) of the device must not do there."""


def fine(x: Tensor) -> None:
    """What may be done: nothing here passes."""
    y = torch.where(x > 0, x, 0.0) + torch.full((3,), 2.0, device=x.device)
    y = y * torch.arange(3, device=x.device) + x.masked_fill(x > 1, 0.5)
    y[0] = 1.0
    torch.linalg.solve_ex(y @ y.T, x)
    assert torch.ones(3).sum().item() == 3.0  # the host is real


def run(guard: Guard, name: str) -> None:
    """One of the controls on the device; ``fine`` is none."""
    with guard.on():
        x = torch.randn(2, 3, device=guard.traffic.device)
        (fine if name == "fine" else CONTROLS[name])(x)


def leave_buffer(guard: Guard) -> None:
    """A module of which a part is left behind."""
    with guard.on():
        with guard.traffic.door():
            module = _HostBuffer().to(guard.traffic.device)
        assert guard.traffic.is_there(module.layer.weight.device)
        module(torch.randn(2, 3, device=guard.traffic.device))
