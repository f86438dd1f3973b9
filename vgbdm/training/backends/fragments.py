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


def whole_parameters(field: nn.Module, frozen: bool = False) -> list[Fragment]:
    """The fragments of a rank that holds all of every trained parameter, or of the frozen too."""
    return [
        Fragment(name, p, slice(0, p.numel()), 0)
        for name, p in field.named_parameters()
        if p.requires_grad or frozen
    ]


class Collector:
    """Puts whole tensors together on the CPU, for saves in memory that is taken once.

    Other ranks send rank 0 their flat tensors as they lie, and a table of what is where in them.

    Args:
        shapes: of all parameters, by name.
        rank: of this process.
        ranks: how many there are.
        device: of what is sent.
    """

    def __init__(
        self, shapes: Mapping[str, torch.Size], rank: int, ranks: int, device: torch.device
    ) -> None:
        self.shapes, self.rank, self.ranks, self.device = shapes, rank, ranks, device
        self._kept: dict[str, Tensor] = {}
        self._received = torch.empty(0)

    def collect(
        self,
        key: str | None,
        fragments: Sequence[Fragment],
        value_of: Callable[[Tensor], Tensor],
        parts: bool,
        everywhere: bool,
    ) -> dict[str, Tensor]:
        """Whole tensors by name, valid until the next call with this key. *Collective.*

        Args:
            key: of the memory, which is kept; None: it is new, and given back with the tensors.
            fragments: of this rank.
            value_of: a flat tensor → the values wanted, laid out like it.
            parts: whether each rank holds only some; else nothing is sent.
            everywhere: whether every rank wants them; else the others get nothing.

        Returns:
            On the CPU; zero where no rank holds anything.
        """
        if self.rank and not everywhere and not parts:
            return {}
        if self.rank and parts:
            self._send(fragments, value_of)
            joined = self._memory(key, fragments) if everywhere else torch.empty(0)
        else:
            joined = self._memory(key, fragments)
            whole = self._named(joined)
            flats = {fragment.flat for fragment in fragments}
            values = {flat: value_of(flat).detach().flatten() for flat in flats}
            for name, flat, place, start in fragments:
                whole[name][start : start + place.stop - place.start] = values[flat][place]
            for other in range(1, self.ranks if parts else 1):
                self._receive(other, whole)
        if everywhere and parts and self.ranks > 1:
            shared = joined.to(self.device)
            torch.distributed.broadcast(shared, 0)
            joined = shared.cpu()
        named = self._named(joined) if len(joined) else {}
        return {name: value.reshape(self.shapes[name]) for name, value in named.items()}

    def _memory(self, key: str | None, fragments: Sequence[Fragment]) -> Tensor:
        """Flat, of all parameters one after the other."""
        if key is not None and key in self._kept:
            return self._kept[key]
        kind = fragments[0].flat.dtype if fragments else torch.float32
        fresh = torch.zeros(sum(shape.numel() for shape in self.shapes.values()), dtype=kind)
        if key is not None:
            self._kept[key] = fresh
        return fresh

    def _named(self, joined: Tensor) -> dict[str, Tensor]:
        """Its parts (n,) by name."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        return dict(zip(self.shapes, joined.split(sizes), strict=True))

    def _send(self, fragments: Sequence[Fragment], value_of: Callable[[Tensor], Tensor]) -> None:
        """To rank 0: sizes, the table, and each flat tensor."""
        numbers = {name: k for k, name in enumerate(self.shapes)}
        flats = {flat: k for k, flat in enumerate(dict.fromkeys(f.flat for f in fragments))}
        rows = [
            (numbers[name], flats[flat], place.start, place.stop, start)
            for name, flat, place, start in fragments
        ]
        table = torch.tensor([*rows, *((flat.numel(), 0, 0, 0, 0) for flat in flats)])
        torch.distributed.send(torch.tensor([len(rows), len(flats)], device=self.device), 0)
        if rows:
            torch.distributed.send(table.to(self.device), 0)
        for flat in flats:
            if flat.numel():
                torch.distributed.send(value_of(flat).detach().flatten().to(self.device), 0)

    def _receive(self, other: int, whole: Mapping[str, Tensor]) -> None:
        """What a rank sends, to its places."""
        counts = torch.empty(2, dtype=torch.int64, device=self.device)
        torch.distributed.recv(counts, other)
        rows, flats = counts.tolist()
        if not rows:
            return
        table = torch.empty((rows + flats, 5), dtype=torch.int64, device=self.device)
        torch.distributed.recv(table, other)
        entries, names = table.tolist(), list(self.shapes)
        kind = next(iter(whole.values())).dtype
        for index, (size, *_) in enumerate(entries[rows:]):
            if not size:
                continue
            if len(self._received) < size or self._received.dtype != kind:
                self._received = torch.empty(size, dtype=kind, device=self.device)
            values = self._received[:size]
            torch.distributed.recv(values, other)
            for number, lies_in, begin, end, start in entries[:rows]:
                if lies_in == index:
                    whole[names[number]][start : start + end - begin] = values[begin:end]


def scatter(
    fragments: Sequence[Fragment],
    whole: Mapping[str, Tensor],
    target_of: Callable[[Tensor], Tensor],
) -> None:
    """Copy this rank's parts of whole tensors into what ``target_of`` its flat tensors gives."""
    for name, flat, place, start in fragments:
        part = whole[name].flatten()[start : start + place.stop - place.start]
        target_of(flat).detach().flatten()[place].copy_(part)
