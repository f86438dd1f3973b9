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

from vgbdm.training.parts import Cut


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


def share_out(fragments: Sequence[Fragment], rank: int, ranks: int) -> list[Fragment]:
    """What one of the ranks saves of fragments that all hold: about as many numbers each."""
    total = sum(place.stop - place.start for _, _, place, _ in fragments)
    low, high = (total * at // ranks for at in (rank, rank + 1))
    own, begin = [], 0
    for name, flat, place, start in fragments:
        count = place.stop - place.start
        first, last = (min(max(edge - begin, 0), count) for edge in (low, high))
        if first < last or not (count or rank):
            cut = slice(place.start + first, place.start + last)
            own.append(Fragment(name, flat, cut, start + first))
        begin += count
    return own


class Copies:
    """A rank's fragments as pieces on the CPU, for saves in memory that is taken once.

    Args:
        shapes: of all parameters, by name.
    """

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        self.shapes = shapes
        self._kept: dict[str, Tensor] = {}

    def take(
        self, kind: str, fragments: Sequence[Fragment], value_of: Callable[[Tensor], Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Cut]]:
        """Pieces by name, and where they are in what; valid until the next call with this kind.

        Args:
            kind: of what is saved; its memory is kept.
            fragments: of this rank.
            value_of: a flat tensor → the values wanted, laid out like it.
        """
        sizes = [place.stop - place.start for _, _, place, _ in fragments]
        if kind not in self._kept:
            like = fragments[0].flat.dtype if fragments else torch.float32
            self._kept[kind] = torch.empty(sum(sizes), dtype=like)
        flats = {fragment.flat for fragment in fragments}
        values = {flat: value_of(flat).detach().flatten() for flat in flats}
        pieces, cuts = {}, {}
        for piece, (name, flat, place, start) in zip(
            self._kept[kind].split(sizes), fragments, strict=True
        ):
            shape = self.shapes[name]
            if len(piece) or not shape.numel():
                piece.copy_(values[flat][place])
                whole = len(piece) == shape.numel()
                pieces[name] = piece.reshape(shape) if whole else piece
                cuts[name] = Cut(tuple(shape), start)
        return pieces, cuts


class Collector:
    """Puts whole tensors together on the CPU of every rank.

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
        self._received = torch.empty(0)

    def collect(
        self,
        fragments: Sequence[Fragment],
        value_of: Callable[[Tensor], Tensor],
        parts: bool,
    ) -> dict[str, Tensor]:
        """Whole tensors by name. *Collective.*

        Args:
            fragments: of this rank.
            value_of: a flat tensor → the values wanted, laid out like it.
            parts: whether each rank holds only some; else nothing is sent.

        Returns:
            On the CPU; zero where no rank holds anything.
        """
        joined = self._memory(fragments)
        if self.rank and parts:
            self._send(fragments, value_of)
        else:
            whole = self._named(joined)
            flats = {fragment.flat for fragment in fragments}
            values = {flat: value_of(flat).detach().flatten() for flat in flats}
            for name, flat, place, start in fragments:
                whole[name][start : start + place.stop - place.start] = values[flat][place]
            for other in range(1, self.ranks if parts else 1):
                self._receive(other, whole)
        if parts and self.ranks > 1:
            shared = joined.to(self.device)
            torch.distributed.broadcast(shared, 0)
            joined = shared.cpu()
        return {n: value.reshape(self.shapes[n]) for n, value in self._named(joined).items()}

    def _memory(self, fragments: Sequence[Fragment]) -> Tensor:
        """Flat, of all parameters one after the other."""
        kind = fragments[0].flat.dtype if fragments else torch.float32
        return torch.zeros(sum(shape.numel() for shape in self.shapes.values()), dtype=kind)

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
