"""Types in words: kind, bounds, unit, choices."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen
from pydantic import BaseModel

from vgbdm.options.kinds import MOST, Node, Unit, With, Words
from vgbdm.options.sources import ClassText, Made, Marked, OneOf

POWERS = {MOST: "2^31", 2**63 - 1: "2^63"}
"""Ends of ranges in fewer digits."""
PLAIN = {int: "whole number", float: "number", bool: "yes or no", str: "text"}
ARTICLES = {"whole number": "a whole number", "number": "a number", "yes or no": "true or false"}
ARTICLES |= {"class": "a class", "options": "its options"}


@dataclass(frozen=True)
class Description:
    """A type in words.

    Attributes:
        kind: such as ``whole number`` or ``list of number``.
        bounds: such as ``≥ 1``.
        unit: of a number.
        choices: all values, as they are written.
        nullable: whether null may stand for none.
        only: with which other option it does something, such as ``region``; empty for any.
    """

    kind: str
    bounds: str = ""
    unit: str = ""
    choices: tuple[str, ...] = ()
    nullable: bool = False
    only: str = ""

    def __str__(self) -> str:
        """What is wanted, for an error."""
        if self.choices:
            told = f"one of {', '.join(self.choices)}"
        else:
            told = " ".join(filter(None, (ARTICLES.get(self.kind, self.kind), self.bounds)))
            if self.kind.startswith("list of") and self.bounds.startswith("of"):
                told = f"a list {self.bounds} {self.kind.removeprefix('list of ')}"
            told = f"a {told}" if told.startswith(("list ", "mapping ")) else told
            told += f" ({self.unit})" if self.unit else ""
        return told + (", or null" if self.nullable and "null" not in self.choices else "")


def describe(annotation: Any) -> Description:
    """A type in words."""
    if isinstance(annotation, OneOf):
        return _union(annotation.parts)
    if isinstance(annotation, Marked):
        return _with_marks(describe(annotation.kind), annotation.marks)
    if isinstance(annotation, ClassText | Made):
        return Description("class")
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _with_marks(describe(args[0]), annotation.__metadata__)
    if origin in (Union, types.UnionType):
        return _union(args)
    if origin is Literal:
        return Description("choice", choices=tuple(written(value) for value in args))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping | dict):
        return Description("mapping of names" + _of(args[1:]))
    if origin is not None and args:
        fixed = origin is tuple and Ellipsis not in args
        return Description("list" + _of(args[:1]), f"of {len(args)}" if fixed else "")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Description("options")
    return Description(PLAIN.get(annotation, "value"))


def written(value: Any) -> str:
    """A value as it is written on a command line."""
    return (
        {None: "null", True: "true", False: "false"}.get(value, str(value))
        if isinstance(value, bool | None)
        else str(value)
    )


def _of(args: tuple[Any, ...]) -> str:
    inner = describe(args[0]) if args and args[0] is not Any else None
    if inner is None or inner.kind == "value":
        return ""
    if inner.choices:
        return f" of {' | '.join(inner.choices)}"
    many = f"{inner.kind}s" if inner.kind.endswith(("number", "text")) else inner.kind
    return f" of {many} {inner.bounds}".rstrip() if inner.kind == "number" else f" of {many}"


def _union(parts: tuple[Any, ...]) -> Description:
    nullable = any(part in (None, type(None)) for part in parts)
    told = [describe(part) for part in parts if part not in (None, type(None))]
    told = [one for one in told if one.kind != "options"] or told  # these have lines of their own
    if len(told) == 1:
        return replace(told[0], nullable=nullable)
    if all(one.choices or one.kind == "yes or no" for one in told):
        choices = [c for one in told for c in (one.choices or ("false", "true"))]
        return Description("choice", choices=tuple(choices), nullable=nullable)
    kinds = dict.fromkeys(
        " ".join(filter(None, (o.kind if not o.choices else " | ".join(o.choices), o.bounds)))
        for o in told
    )
    return Description(" or ".join(kinds), nullable=nullable)


def _with_marks(told: Description, marks: tuple[Any, ...]) -> Description:
    for mark in marks:
        if isinstance(mark, Unit):
            told = replace(told, unit=mark.name)
        elif isinstance(mark, Words):
            told = replace(told, kind=mark.text)
        elif isinstance(mark, With):
            told = replace(told, only=" and ".join(filter(None, (told.only, str(mark)))))
        elif isinstance(mark, Node):
            told = replace(told, kind="class")
        else:
            bounds = " ".join(filter(None, (told.bounds, _bounds(mark))))
            told = replace(told, bounds=bounds)
    # words of its own say how long it is
    worded = any(isinstance(mark, Words) for mark in marks)
    lengths = all(isinstance(mark, Len | MinLen | MaxLen) for mark in marks if _bounds(mark))
    return replace(told, bounds="") if worded and lengths else told


def _bounds(mark: Any) -> str:
    match mark:
        case Interval(ge=low, le=high, gt=None, lt=None) if low is not None and high is not None:
            return f"{low} … {high}" if high not in POWERS else f"≥ {low}, < {POWERS[high]}"
        case Interval():
            ends = ((">", mark.gt), ("≥", mark.ge), ("<", mark.lt), ("≤", mark.le))
            return ", ".join(f"{sign} {end}" for sign, end in ends if end is not None)
        case Gt(gt=end):
            return f"> {end}"
        case Ge(ge=end):
            return f"≥ {end}"
        case Lt(lt=end):
            return f"< {end}"
        case Le(le=end):
            return f"≤ {end}"
        case Len(min_length=low, max_length=high):
            return f"of {low}" if low == high else f"of {low} to {high or '…'}"
        case MinLen(min_length=low):
            return "that is not empty" if low == 1 else f"of at least {low}"
        case MaxLen(max_length=high):
            return f"of at most {high}"
    return ""
