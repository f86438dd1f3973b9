"""A launcher's options as a config chooses its classes: a tree of names, types and sentences."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args, get_origin

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict

from vgbdm import plugins
from vgbdm.errors import InputError
from vgbdm.options.kinds import Node, Nodes, Of
from vgbdm.options.sentences import sentences_of, summary_of
from vgbdm.options.signatures import REQUIRED, Parameter, marks_of, signature_of
from vgbdm.options.sources import ClassText, Made, Marked, OneOf
from vgbdm.registry.build import MARKS, check_target

GROUP = "vgbdm.options"
"""Entry points: name of a launcher's config → its class of `Options`."""
HYDRA = {"_target_": str, "_partial_": bool, "_convert_": str}


class Options(BaseModel):
    """The options of a launcher or of a part of it; each has a sentence under Attributes.

    Defaults stand in the configs alone, and so every option without one here must be there.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )
    COMMON: ClassVar[tuple[str, ...]] = ()
    """Options that most users meet, dotted."""

    @classmethod
    def check_relations(cls, values: Mapping[str, Any]) -> None:
        """Refuse values that do not go together; each for itself has been checked.

        Raises:
            InputError: for these.
        """


class Launched(Options):
    """What every launcher takes.

    Attributes:
        verbose: let the libraries speak too, such as DeepSpeed and torch.
    """

    verbose: bool


@dataclass(frozen=True)
class Spec:
    """One name.

    Attributes:
        annotation: its type.
        value: that of the config, or its default; `REQUIRED` where it is missing.
        sentence: what it means.
        needed: whether it must stand in the config.
        shape: of what is below it; None for a value.
    """

    annotation: Any
    value: Any
    sentence: str
    needed: bool
    shape: Shape | None = None


@dataclass(frozen=True)
class Shape:
    """The names at one place.

    Attributes:
        specs: by name.
        summary: what it is.
        closed: whether other names are refused.
        checked: classes whose `Options.check_relations` hold here.
        common: options that most users meet.
    """

    specs: dict[str, Spec]
    summary: str
    closed: bool = True
    checked: tuple[type[Options], ...] = ()
    common: tuple[str, ...] = field(default=())


def plain(config: DictConfig) -> dict[str, Any]:
    """The values of a config, with `REQUIRED` for those that are missing."""

    def value_of(node: Any) -> Any:
        if isinstance(node, DictConfig):
            return {str(key): _item(node, key, value_of) for key in node}
        if isinstance(node, ListConfig):
            return [_item(node, key, value_of) for key in range(len(node))]
        return node

    found: dict[str, Any] = value_of(config)
    return found


def _item(node: Any, key: Any, value_of: Any) -> Any:
    if OmegaConf.is_missing(node, key):
        return REQUIRED
    try:
        return value_of(node[key])
    except OmegaConfBaseException:  # it follows from one that is missing
        return REQUIRED


def schema_of(launcher: str) -> type[Options] | None:
    """The options of a launcher by the name of its config; None for one that says none."""
    named = plugins.registered(GROUP).get(launcher)
    if named is None:
        return None
    module, _, name = named.partition(":")
    found: type[Options] = getattr(importlib.import_module(module), name)
    return found


def shape_of(launcher: str, values: Mapping[str, Any]) -> Shape:
    """The options of a launcher.

    Args:
        launcher: name of its config.
        values: of the config.

    Raises:
        InputError: for a launcher without a schema, or classes that may not be built.
    """
    schema = schema_of(launcher)
    if schema is None:
        raise InputError(
            f"{launcher}: says nothing of its options; register its class of Options under "
            f"the entry points {GROUP}"
        )
    return _of_options(schema, values, "")


def _of_options(schema: type[Options], values: Mapping[str, Any], place: str) -> Shape:
    sentences: dict[str, str] = {}
    for part in reversed(schema.__mro__):
        sentences |= sentences_of(part.__doc__)
    specs = {}
    own_first = sorted(schema.model_fields.items(), key=lambda f: f[0] in Launched.model_fields)
    for name, told in own_first:
        kind = told.annotation
        annotation = Marked(kind, tuple(told.metadata)) if told.metadata else kind
        needed, default = told.is_required(), REQUIRED if told.is_required() else told.default
        parameter = Parameter(annotation, default, sentences.get(name, ""))
        specs[name] = _spec(parameter, values, name, place, needed)
    return Shape(specs, summary_of(schema.__doc__), True, (schema,), schema.COMMON)


def _of_parameters(
    parameters: Mapping[str, Parameter], values: Mapping[str, Any], place: str, partial: bool
) -> dict[str, Spec]:
    return {
        name: _spec(p, values, name, place, p.default is REQUIRED and not partial)
        for name, p in parameters.items()
        if name in values or not (partial and p.default is REQUIRED)
    }


def _spec(
    parameter: Parameter, values: Mapping[str, Any], name: str, place: str, needed: bool
) -> Spec:
    value, key = values.get(name, parameter.default), f"{place}{name}"
    shape = _below(parameter.annotation, value, key) if name in values else None
    return Spec(parameter.annotation, value, parameter.sentence, needed, shape)


def _below(annotation: Any, value: Any, key: str) -> Shape | None:
    """The shape of what stands at a key; None for a value that a type describes."""
    parts = _parts(annotation)
    if value is REQUIRED or (value is None and _takes_null(parts)):
        return None
    options = options_in(annotation)
    if options is not None:
        return _of_options(options, value, f"{key}.") if isinstance(value, Mapping) else None
    for part in parts:
        for mark in marks_of(part):
            if isinstance(mark, Of):
                return _beside(_of_target(mark.target, value, key, 0, mark.given), mark, value, key)
            if isinstance(mark, Nodes):
                return _of_nodes(value, key)
            if isinstance(mark, Node):
                made = _of_node(value, key, mark.positional, mark.given)
                return _beside(made, mark, value, key)
        bare = part.kind if isinstance(part, Marked) else part
        if isinstance(bare, type) and issubclass(bare, Options):
            return _of_options(bare, _mapping(value, key), f"{key}.")
        if isinstance(bare, ClassText) and bare.is_dataclass and _is_untold(value):
            return _of_target(bare.name, value, key, 0, ())
        if isinstance(bare, ClassText):
            return _of_node(value, key, 0, ())
        if isinstance(bare, Made):
            return _of_node(value, key, bare.positional or 0, ())
    if isinstance(value, Mapping) and "_target_" in value:
        return _of_node(value, key, 0, ())
    return None


def options_in(annotation: Any) -> type[Options] | None:
    """The options that a union takes beside plain values; None where it takes none."""
    union = annotation.kind if isinstance(annotation, Marked) else annotation
    parts = get_args(union)
    plain = [p for p in parts if p is not type(None) and not _is_options(p)]
    return next((p for p in parts if plain and _is_options(p)), None)


def _is_options(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Options)


def _is_untold(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" not in value


def _parts(annotation: Any) -> list[Any]:
    """The parts of a union, or the one that it is."""
    if isinstance(annotation, OneOf):
        return list(annotation.parts)
    if isinstance(annotation, Marked) and not isinstance(annotation.kind, type):
        inner = _parts(annotation.kind)
        return [annotation, *(p for p in inner if p in (None, type(None)))]
    if get_origin(annotation) is not None and type(None) in get_args(annotation):
        return list(get_args(annotation))
    return [annotation]


def _takes_null(parts: list[Any]) -> bool:
    return None in parts or type(None) in parts


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{key}={_short(value)}: want its options, as {key}.NAME=VALUE")
    return value


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) < 80 else f"{text[:77]}…"


def _of_nodes(value: Any, key: str) -> Shape:
    below = {
        name: Spec(None, one, "", True, _of_node(one, f"{key}.{name}", 0, ()))
        for name, one in _mapping(value, key).items()
    }
    return Shape(below, "")


def _of_node(value: Any, key: str, positional: int, given: tuple[str, ...]) -> Shape:
    """The options of the class that a node names."""
    if not isinstance(value, Mapping) or "_target_" not in value:
        raise InputError(f"{key}={_short(value)}: want a class, as {key}._target_=MODULE.CLASS")
    target = value["_target_"]
    check_target(target, key, MARKS)
    return _of_target(target, value, key, positional, given)


def _of_target(target: str, value: Any, key: str, positional: int, given: tuple[str, ...]) -> Shape:
    values, signature = _mapping(value, key), signature_of(target)
    assert signature is not None, target
    partial = values.get("_partial_") is True
    own = {
        name: Spec(kind, values[name], "", False) for name, kind in HYDRA.items() if name in values
    }
    parameters = signature.without(positional, given)
    specs = own | _of_parameters(parameters, values, f"{key}.", partial)
    return Shape(specs, signature.summary, signature.closed)


def _beside(shape: Shape, mark: Of | Node, value: Any, key: str) -> Shape:
    """With the further options that a mark names."""
    if mark.beside is None:
        return shape
    more = _of_options(mark.beside, _mapping(value, key), f"{key}.")
    common = (*shape.common, *more.common)
    return Shape(more.specs | shape.specs, shape.summary, shape.closed, more.checked, common)
