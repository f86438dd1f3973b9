"""Channels and static fields by the names and levels that files or a store give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from climate.conventions.calendar import parse_period
from climate.conventions.variables import channel_unit
from climate.sources.axes import Part, open_part
from climate.sources.files import say_groups
from climate.sources.series import Series
from climate.sources.static import StaticField, choose_parts
from vgbdm.errors import InputError

Held = Sequence[tuple[str, xr.Dataset]]
"""Lazy datasets, each after what messages name it by: its file or store."""
FIELD = ("name", "level", "level_units", "units", "method", "absent")
"""Settings of a field."""


def check_variables(variables: Sequence[str], known: Mapping[str, Any], more: str) -> None:
    """Refuse variables that are none, named twice or unknown.

    Args:
        variables: short names wanted.
        known: what is known, by short name.
        more: how to add another, with {name} for its name.
    """
    if not variables or len(set(variables)) != len(variables):
        raise InputError(f"variables={list(variables)}: name each wanted variable once")
    for name in variables:
        if name not in known:
            raise InputError(
                f"variable {name} is unknown; known are {', '.join(sorted(known))}; add "
                f"{more.format(name=name)} for another"
            )


class Catalogue:
    """Which stored variable and level each short name is.

    Args:
        fields: short name → ``name`` as stored; ``level`` where it has any, hPa where levels are
            pressures; ``units`` of the values and ``level_units`` of the levels where the data do
            not say them, or say them wrongly; ``absent: fill`` where absent chunks of a Zarr store
            mean its fill value; ``method``: ``sum`` or ``mean`` over the interval that ends at a
            time, or ``point``, where CF ``cell_methods`` do not say it.
        static: short name → ``name``, and where wanted ``factor`` and the ``units`` it makes; where
            several are held, ``file`` (a pattern), ``level`` and ``time`` say which.

    Raises:
        InputError: for a field that says no name: it is none of those known.
    """

    def __init__(
        self, fields: Mapping[str, Mapping[str, Any]], static: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.fields, self.static = dict(fields), dict(static)
        nameless = [channel for channel, entry in self.fields.items() if not entry.get("name")]
        if nameless:
            raise InputError(
                f"source.fields.{nameless[0]}: says no name as stored; known are "
                f"{', '.join(sorted({*self.fields} - {*nameless}))}"
            )

    def series(self, variables: Sequence[str], held: Held) -> list[Series]:
        """The wanted channels, levels of one variable together.

        Args:
            variables: short names, in the order of the channels.
            held: lazy datasets, each after its file or store.

        Raises:
            InputError: one line, for a variable or level that is not there.
        """
        check_variables(variables, self.fields, "+source.fields.{name}={{name: …, level: …}}")
        opened: dict[tuple[str, Any], list[Part]] = {}
        grouped: dict[tuple[Any, ...], list[tuple[str, float | None]]] = {}
        for channel in variables:
            entry = self.fields[channel]
            name, level, units = str(entry["name"]), entry.get("level"), entry.get("units")
            key = name, entry.get("level_units")
            if key not in opened:
                opened[key] = _open(*key, held)
            places = tuple(k for k, part in enumerate(opened[key]) if _holds(part, level))
            if not places:
                opened[key][0].level_index(level)
            check_settings(f"source.fields.{channel}", entry, FIELD)
            said = None if units is None else str(units)
            sparse = is_sparse(f"source.fields.{channel}", entry, opened[key])
            method = entry.get("method")
            wanted = (key, places, said, channel_unit(channel), sparse, method)
            grouped.setdefault(wanted, []).append((channel, level))
        return [
            Series(
                tuple(channel for channel, _ in members),
                tuple(level for _, level in members),
                tuple(opened[key][k] for k in places),
                units,
                sparse,
                method,
                tuple(part for k, part in enumerate(opened[key]) if k not in places),
            )
            for (key, places, units, _, sparse, method), members in grouped.items()
        ]

    def statics(self, held: Held) -> dict[str, StaticField]:
        """The static fields that are there.

        Raises:
            InputError: one line, where which one is meant is not said.
        """
        found: dict[str, StaticField] = {}
        for channel, entry in self.static.items():
            name, key = str((entry or {}).get("name")), f"source.static.{channel}"
            parts = [open_part(d, name, where) for where, d in held if name in d.data_vars]
            if parts:
                time, level = entry.get("time"), entry.get("level")
                found[channel] = StaticField(
                    choose_parts(channel, entry, parts),
                    float(entry.get("factor", 1.0)),
                    entry.get("units"),
                    is_sparse(key, entry, parts),
                    None if level is None else float(level),
                    None if time is None else parse_period(f"{key}.time", [time, time])[0],
                    key,
                )
        return found


def check_settings(key: str, entry: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse settings of a field that nothing would read.

    Raises:
        InputError: naming the first one.
    """
    strangers = sorted({*map(str, entry)} - {*known})
    if strangers:
        raise InputError(f"{key}.{strangers[0]}: no such setting; there are {', '.join(known)}")


def is_sparse(key: str, entry: Mapping[str, Any], parts: Sequence[Part]) -> bool:
    """Whether absent chunks of a Zarr store mean its fill value.

    Raises:
        InputError: if ``absent`` says anything but ``fill``, or no file has such chunks.
    """
    said = entry.get("absent")
    if said not in (None, "fill"):
        raise InputError(f"{key}.absent={said}: want fill, or null where all chunks must be there")
    if said and all(part.presence is None for part in parts):
        raise InputError(f"{key}.absent=fill: {parts[0].where} is no Zarr store; leave it out")
    return said == "fill"


def _open(name: str, level_unit: str | None, held: Held) -> list[Part]:
    parts = [open_part(d, name, where, level_unit) for where, d in held if name in d.data_vars]
    if not parts:
        names = sorted({str(n) for _, dataset in held for n in dataset.data_vars})
        shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
        raise InputError(
            f"{held[0][0]}: no variable {name} there; it holds {shown}" + say_groups(name, held)
        )
    return parts


def _holds(part: Part, level: float | None) -> bool:
    """Whether a part holds a level; one that it holds without saying which is an error later."""
    try:
        part.level_index(level)
    except InputError:
        return False
    return True
