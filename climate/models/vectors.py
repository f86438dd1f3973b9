"""Which channels of a store are the parts of vectors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from climate.conventions.units import find_conversion, unit_of
from climate.conventions.variables import CHANNELS, known_channel
from climate.store.mask import shares
from vgbdm.errors import InputError

if TYPE_CHECKING:
    from climate.store.layout import TrainingStore

log = logging.getLogger(__name__)


def read_vectors(
    vectors: Sequence[Sequence[str]], store: TrainingStore
) -> tuple[tuple[str, str], ...]:
    """The pairs of channels that are vectors, held against a store.

    Args:
        vectors: (eastward, northward); pairs of known winds that it does not hold are left out.
        store: whose channels they are.

    Raises:
        InputError: for what is no pair, a name that is no channel, a channel named twice, winds in
            the wrong order, parts in other units than each other or than m s-1, or masked ones.
    """
    held: list[tuple[str, str]] = []
    for pair in map(tuple, vectors):
        text = f"vectors: [{', '.join(map(str, pair))}]"
        if len(pair) != 2:
            raise InputError(f"{text} is no pair; give [eastward, northward]")
        strangers = [n for n in pair if n not in store.channels and n not in CHANNELS]
        if strangers:
            raise InputError(
                f"{text}: {strangers[0]} is no channel of {store.path}, which holds "
                f"{', '.join(store.channels)}; name two of them, or vectors=[] for none"
            )
        directions = [(known_channel(n) or {}).get("standard_name", "") for n in pair]
        if directions[0] == "northward_wind" or directions[1] == "eastward_wind":
            raise InputError(f"{text}: give the eastward part first, then the northward one")
        absent = [n for n in pair if n not in store.channels]
        if len(absent) == 1:
            log.warning("%s is left out: %s holds no %s", text, store.path, absent[0])
        if absent:
            continue
        if {*pair} & {n for other in held for n in other} or pair[0] == pair[1]:
            raise InputError(f"{text}: a channel is a part of one vector; name it once")
        _check_units(text, pair, store)
        masked = [n for n in pair if n in shares(store.channels, store.mask)]
        if masked:
            raise InputError(
                f"{text}: {masked[0]} is masked on some points of {store.path}; a vector must be "
                "there everywhere: leave the pair out of vectors=, its parts are scalars then"
            )
        held.append((pair[0], pair[1]))
    return tuple(held)


def _check_units(text: str, pair: Sequence[str], store: TrainingStore) -> None:
    """Refuse parts of a vector in other units than each other, and winds not in m s-1."""
    units = [unit_of(store.channel_attrs[name]) or "1" for name in pair]
    between = find_conversion(units[0], units[1])
    if units[0] != units[1] and (between is None or between.changes):
        raise InputError(
            f"{text}: {pair[0]} is in {units[0]}, {pair[1]} in {units[1]}; convert the data again "
            "with one unit"
        )
    to_wind = find_conversion(units[0], "m s-1")
    if to_wind is not None and to_wind.changes:
        raise InputError(
            f"{text}: in {units[0]}, but limits and physics are in m s-1; convert the data again, "
            "under names such as u10, v10 or u850, v850, whose unit is known"
        )
