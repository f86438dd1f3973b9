"""Whole tensors by parameter name from the parts that ranks hold, and back.

An optimiser keeps its state in *flat* tensors: parameters themselves where every rank holds all,
slices of many parameters joined where state is sharded. A fragment says which part of which
parameter lies where in which flat tensor, so that one form of checkpoint serves every layout.

Shapes: flat tensors are (n,), or of any shape and read as flattened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Fragment(NamedTuple):
    """The part of a parameter whose optimiser state this rank holds.

    Attributes:
        name: of the parameter.
        flat: the flat tensor it lies in, key of the optimiser's state.
        place: where in ``flat``.
        start: where in the flattened parameter.
    """

    name: str
    flat: Tensor
    place: slice
    start: int


def whole_parameters(field: nn.Module) -> list[Fragment]:
    """The fragments of a rank that holds all of every trained parameter."""
    return [
        Fragment(name, p, slice(0, p.numel()), 0)
        for name, p in field.named_parameters()
        if p.requires_grad
    ]


def gather(
    fragments: Sequence[Fragment],
    shapes: Mapping[str, torch.Size],
    value_of: Callable[[Tensor], Tensor],
    join: Callable[[Tensor], Tensor] | None,
) -> dict[str, Tensor]:
    """Whole tensors by name, on the CPU; zero where no rank holds anything.

    Args:
        fragments: of this rank.
        shapes: of all parameters.
        value_of: a flat tensor → the values wanted, laid out like it.
        join: sums over ranks, *collective*; None where every rank holds all.
    """
    sizes = [shape.numel() for shape in shapes.values()]
    kind = fragments[0].flat.dtype if fragments else torch.float32
    joined = torch.zeros(sum(sizes), dtype=kind)
    whole = dict(zip(shapes, joined.split(sizes), strict=True))
    for fragment in fragments:
        part = value_of(fragment.flat).detach().flatten()[fragment.place]
        whole[fragment.name][fragment.start : fragment.start + len(part)] = part
    if join is not None:
        joined = join(joined)
        whole = dict(zip(shapes, joined.split(sizes), strict=True))
    return {name: value.reshape(shapes[name]) for name, value in whole.items()}


def scatter(
    fragments: Sequence[Fragment],
    whole: Mapping[str, Tensor],
    target_of: Callable[[Tensor], Tensor],
) -> None:
    """Copy this rank's parts of whole tensors into what ``target_of`` its flat tensors gives."""
    for name, flat, place, start in fragments:
        part = whole[name].flatten()[start : start + place.stop - place.start]
        target_of(flat).detach().flatten()[place].copy_(part)
