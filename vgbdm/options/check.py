"""A composed config is held against its launcher's schema, before anything is opened."""

from __future__ import annotations

import functools
import operator
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Len
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import ErrorDetails

from vgbdm.errors import InputError
from vgbdm.options.describing import describe, written
from vgbdm.options.kinds import Below, Divides, With
from vgbdm.options.nearest import nearest, one_of
from vgbdm.options.shapes import Options, Shape, Spec, schema_of, shape_of
from vgbdm.options.signatures import REQUIRED, marks_of
from vgbdm.options.sources import ClassText, Made, Marked, OneOf

SHOWN = 80
"""Letters of a value in a message."""


class Open(Options, extra="allow"):
    """Where a class takes options that its signature does not name."""


def check(launcher: str, config: DictConfig, given: Sequence[str] = ()) -> None:
    """Refuse what a launcher's schema does not allow; opens nothing, imports no torch.

    Args:
        launcher: name of its config, such as ``train_era5``; without a schema nothing is checked.
        config: composed, every value given.
        given: keys that a user gave; one that does nothing with the others is refused.

    Raises:
        InputError: one line with the dotted key, its value and what is wanted.
    """
    if schema_of(launcher) is None:
        return
    values: Any = OmegaConf.to_container(config, resolve=True)
    try:
        shape = shape_of(launcher, values)
        check_values(shape, values)
        for key in given:
            _check_idle(shape, values, key)
    except InputError as error:
        source = _reference(config, str(error).partition("=")[0])
        if not source:
            raise
        raise InputError(f"{error}; it is taken from {source}") from None


def _check_idle(shape: Shape, values: Any, key: str) -> None:
    """Refuse an option that was given and does nothing with the values of others."""
    within: Shape | None = shape
    place = ""
    for name in key.split("."):
        spec = within.specs.get(name) if within is not None else None
        if spec is None:
            if within is None and not isinstance(values, Mapping):
                raise InputError(
                    f"{key}: does nothing beside {place[:-1]}={show(values)}; give one of them"
                )
            return
        for mark in marks_of(spec.annotation):
            if isinstance(mark, With) and not mark.holds(values.get(mark.other)):
                now = f"{place}{mark.other}={show(values.get(mark.other))}"
                if values[name] is not None:
                    raise InputError(
                        f"{key}: does nothing with {now}; leave it out, or give {place}{mark}"
                    )
        within, values, place = spec.shape, values[name], f"{place}{name}."


def _reference(config: DictConfig, key: str) -> str:
    """The option that another one takes its value from; empty where it has its own."""
    node: Any = OmegaConf.to_container(config, resolve=False)
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node[2:-1] if isinstance(node, str) and node.startswith("${") else ""


def check_values(shape: Shape, values: Mapping[str, Any]) -> None:
    """Refuse values that a shape does not allow.

    Raises:
        InputError: one line for the first of them.
    """
    try:
        model_of(shape).model_validate(values)
    except ValidationError as error:
        # a value that others are taken from comes first
        first = min(error.errors(include_url=False), key=lambda told: len(told["loc"]))
        raise InputError(_line(first, shape, values)) from None
    _check_relations(shape, values, "")


def model_of(shape: Shape) -> type[BaseModel]:
    """The model of pydantic that a shape stands for; strict, finite, and closed where it is."""
    fields: dict[str, Any] = {}
    for number, (name, spec) in enumerate(shape.specs.items()):
        kind = type_of(spec.annotation) if spec.shape is None else model_of(spec.shape)
        default = ... if spec.needed else None  # defaults have been checked by who wrote them
        fields[f"option{number}"] = kind, Field(default, alias=name)
    return create_model("Shape", __base__=Options if shape.closed else Open, **fields)


def type_of(annotation: Any) -> Any:
    """The type that pydantic is told: lists stand for all sequences, as configs have no others."""
    if isinstance(annotation, OneOf):
        return _either(annotation.parts)
    if isinstance(annotation, Marked):
        return Annotated[(type_of(annotation.kind), *annotation.marks)]
    if annotation is None or isinstance(annotation, ClassText | Made):
        return Any if annotation is not None else None
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(type_of(args[0]), *annotation.__metadata__)]
    if origin in (Union, types.UnionType):
        return _either(args)
    if origin is None or origin is Literal or not isinstance(origin, type):
        return annotation if isinstance(annotation, type) or origin is Literal else Any
    if origin is tuple and Ellipsis not in args:
        return Annotated[list[tuple(type_of(a) for a in args)], Len(len(args), len(args))]  # type: ignore[misc]
    if issubclass(origin, Mapping):
        return dict[str, type_of(args[1])]  # type: ignore[misc]
    if issubclass(origin, Sequence):
        return list[type_of(args[0])]  # type: ignore[misc]
    return Any


def _either(parts: Sequence[Any]) -> Any:
    return functools.reduce(operator.or_, (type_of(part) for part in parts))


def _line(told: ErrorDetails, shape: Shape, values: Any) -> str:
    """One line for an error of pydantic."""
    place: list[str] = []
    spec: Spec | None = None
    for name in told["loc"]:
        within = shape if spec is None else spec.shape
        if within is None:
            break
        if name not in within.specs:
            return unknown(".".join([*place, str(name)]), list(within.specs))
        spec = within.specs[str(name)]
        place.append(str(name))
        values = values.get(name, REQUIRED) if isinstance(values, Mapping) else REQUIRED
    assert spec is not None
    key = ".".join(place)
    if spec.shape is not None:
        return f"{key}={show(values)}: want its options, as {key}.NAME=VALUE"
    annotation = spec.annotation
    for name in told["loc"][len(place) :]:
        if not isinstance(values, Mapping) or name not in values:
            break
        key, values, annotation = f"{key}.{name}", values[name], _item_of(annotation)
    wanted = str(describe(annotation))
    if values is REQUIRED:
        return f"{key}=… is missing: want {wanted}"
    return f"{key}={show(values)}: want {wanted}{_advice(values, spec)}"


def _item_of(annotation: Any) -> Any:
    """The type of the values of a mapping, which may be one part of a union."""
    parts = [part for part in get_args(annotation) if part is not type(None)]
    union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(parts[0])[-1] if union else parts[-1]


def _advice(value: Any, spec: Spec) -> str:
    """What else may be said: the nearest choice, or how a number is written as text."""
    told = describe(spec.annotation)
    if told.choices and isinstance(value, str):
        return nearest(value, told.choices)
    if told.kind == "number" and isinstance(value, int) and abs(value) > sys.float_info.max:
        return " that a double holds"
    if told.kind == "whole number" and isinstance(value, float) and value.is_integer():
        whole = _is_valid(spec.annotation, int(value))
        return f"; as a whole number it is written {int(value)}" if whole else ""
    texts = told.kind.startswith("text") or told.kind.endswith("text")
    if texts and isinstance(value, int | float) and not isinstance(value, bool):
        return f"; as text it is written '\"{value}\"'"
    return ""


def _is_valid(annotation: Any, value: Any) -> bool:
    try:
        TypeAdapter(type_of(annotation)).validate_python(value)
    except ValidationError:
        return False
    return True


def unknown(key: str, known: Sequence[str]) -> str:
    """One line for a key that is none."""
    above, dot, _ = key.rpartition(".")
    shown = [f"{above}{dot}{one}" for one in known if not one.startswith("_")]
    return f"{show(key)}: no such option{one_of(key, shown)}"


def show(value: Any) -> str:
    """A value as it is written, cut where it is long."""
    try:
        text = " ".join(written(value).split())
    except ValueError:  # a whole number of too many digits
        text = "a number of thousands of digits"
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: 2 * SHOWN])
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _relate(key: str, value: Any, mark: Divides | Below, other: Any) -> None:
    """Refuse a value that does not go together with another of the same node."""
    place = f"{key.rpartition('.')[0]}." if "." in key else ""
    if isinstance(mark, Divides):
        right, wanted = other % value == 0, "a divisor of"
    elif mark.equal:
        right, wanted = value <= other, "at most"
    else:
        right, wanted = value < other, "less than"
    if not right:
        raise InputError(f"{key}={value}: want {wanted} {place}{mark.other}={other}")


def _check_relations(shape: Shape, values: Mapping[str, Any], place: str) -> None:
    """Refuse values that do not go together, here and below."""
    for name, spec in shape.specs.items():
        if spec.shape is not None:
            _check_relations(spec.shape, values[name], f"{place}{name}.")
        for mark in marks_of(spec.annotation):
            if isinstance(mark, Divides | Below) and mark.other in shape.specs:
                _relate(f"{place}{name}", spec.value, mark, shape.specs[mark.other].value)
    for schema in shape.checked:
        schema.check_relations(values)
