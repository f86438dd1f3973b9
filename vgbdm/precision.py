"""In what precision networks compute. Weights, spherical transforms, physics and scores stay fp32.

``bf16`` is autocast of the networks' layers; what must not follow switches it off where it stands.
TF32 shortens the fp32 products inside convolutions and recurrent layers of NVIDIA GPUs; matrix
products, which spherical transforms and inference are made of, are never shortened.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from vgbdm.errors import InputError

Given = ParamSpec("Given")
Made = TypeVar("Made")

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}


def check_precision(option: str, precision: str) -> str:
    """The precision, if it is one of `PRECISIONS`.

    Raises:
        InputError: naming the option, for any other.
    """
    if precision not in PRECISIONS:
        raise InputError(f"{option}={precision}: want {' or '.join(PRECISIONS)}")
    return precision


def computing(precision: str, device: torch.device) -> torch.autocast:
    """A context in which the layers of networks compute in this precision."""
    kind = PRECISIONS[precision]
    return torch.autocast(device.type, kind or torch.bfloat16, enabled=kind is not None)


def in_full(
    function: Callable[Concatenate[Tensor, Given], Made],
) -> Callable[Concatenate[Tensor, Given], Made]:
    """The function without autocast, which would shorten the products that it sums or solves."""

    @functools.wraps(function)
    def without(first: Tensor, *args: Given.args, **options: Given.kwargs) -> Made:
        with torch.autocast(first.device.type, enabled=False):
            return function(first, *args, **options)

    return without


def allow_tf32(allowed: bool) -> None:
    """Whether layers may shorten fp32 products on NVIDIA GPUs; torch's own default is that they do.

    For the whole process, whatever was set before.
    """
    kind = "tf32" if allowed else "ieee"
    torch.backends.cudnn.conv.fp32_precision = kind  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = kind  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"
