"""Annotations and constants of modules, read off their text: nothing is imported for them."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Union

from vgbdm import plugins

LIGHT = ("typing", "collections.abc", "annotated_types", "vgbdm.options.kinds")
"""Modules whose names are taken from them; others are read."""
PLAIN = ("int", "float", "str", "bool", "list", "tuple", "dict", "set", "object", "type")
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
DEEPEST = 20


class Unread(Exception):  # noqa: N818
    """An expression that only running the module could tell."""


@dataclass(frozen=True)
class ClassText:
    """A class or function as it stands in its module's text.

    Attributes:
        module: dotted.
        node: its definition.
    """

    module: str
    node: ast.ClassDef | ast.FunctionDef

    @property
    def name(self) -> str:
        """Dotted."""
        return f"{self.module}.{self.node.name}"

    @property
    def is_dataclass(self) -> bool:
        """Whether its fields are its arguments."""
        return any(
            getattr(d.func if isinstance(d, ast.Call) else d, "id", "") == "dataclass"
            for d in self.node.decorator_list
        )

    def bases(self) -> list[ClassText]:
        """The classes that it is made from, as far as their text may be read."""
        if isinstance(self.node, ast.FunctionDef):
            return []
        plain = [b.value if isinstance(b, ast.Subscript) else b for b in self.node.bases]
        read = [evaluate(base, self.module, ANY) for base in plain]
        return [base for base in read if isinstance(base, ClassText)]

    def lineage(self) -> list[ClassText]:
        """It and all that it is made from, itself first."""
        found = {self.name: self}
        for base in self.bases():
            for one in base.lineage():
                found.setdefault(one.name, one)
        return list(found.values())


class _Any:
    """Stands for what cannot be read off a text."""


ANY = _Any()


@functools.cache
def _names(module: str) -> dict[str, ast.stmt | ast.expr | tuple[str, str]]:
    """What the top of a module defines: definitions, values of assignments, (module, name)."""
    file = plugins.file_of(module) if plugins.allows(module) else None
    if file is None or not file.is_file():
        return {}
    found: dict[str, ast.stmt | ast.expr | tuple[str, str]] = {}
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    body = list(ast.parse(file.read_bytes()).body)
    while body:
        node = body.pop(0)
        if isinstance(node, ast.If):
            body[:0] = node.body
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            origin = ".".join([*above, node.module or ""]) if node.level else node.module or ""
            for name in node.names:
                found[name.asname or name.name] = (origin.rstrip("."), name.name)
    return found


def look_up(name: str, module: str, depth: int = 0) -> Any:
    """What a name means at the top of a module: a type, a constant, or `ClassText`.

    Raises:
        Unread: for what only running the module could tell.
    """
    known = _names(module).get(name)
    if depth > DEEPEST or known is None:
        if name in PLAIN:
            return getattr(builtins, name)
        raise Unread(name)
    if isinstance(known, tuple):
        origin, original = known
        if origin in LIGHT:
            return getattr(importlib.import_module(origin), original)
        return look_up(original, origin, depth + 1)
    if isinstance(known, ast.ClassDef | ast.FunctionDef):
        return ClassText(module, known)
    assert isinstance(known, ast.expr)
    return read(known, module, depth + 1)


def evaluate(node: ast.expr | None, module: str, otherwise: Any) -> Any:
    """What an expression in a module means; ``otherwise`` where its text does not tell."""
    try:
        return read(node, module) if node is not None else otherwise
    except (Unread, TypeError, ValueError, ArithmeticError, AttributeError):
        return otherwise


def read(node: ast.expr, module: str, depth: int = 0) -> Any:
    """What an expression in a module means.

    Raises:
        Unread: for what only running the module could tell.
    """
    match node:
        case ast.Constant(value=str() as text) if depth == 0 and text.isidentifier():
            return text
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return look_up(name, module, depth)
        case ast.Tuple(elts=elements):
            return tuple(read(e, module, depth) for e in elements)
        case ast.List(elts=elements):
            return [read(e, module, depth) for e in elements]
        case ast.Dict(keys=keys, values=values) if all(keys):
            pairs = zip(keys, values, strict=True)
            return {read(k, module, depth): read(v, module, depth) for k, v in pairs if k}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -read(operand, module, depth)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _union(_type(left, module, depth), _type(right, module, depth))
        case ast.BinOp(op=ast.Pow(), left=left, right=ast.Constant(value=int() as power)):
            if abs(power) > 64:
                raise Unread("a power")
            return read(left, module, depth) ** power
        case ast.BinOp(op=op, left=left, right=right) if type(op) in ARITHMETIC:
            return ARITHMETIC[type(op)](read(left, module, depth), read(right, module, depth))
        case ast.Subscript(value=value, slice=inner):
            return _subscript(read(value, module, depth), inner, module, depth)
        case ast.Call(func=function, args=args, keywords=keywords):
            return _call(read(function, module, depth), args, keywords, module, depth)
    raise Unread(ast.dump(node))


def _type(node: ast.expr, module: str, depth: int) -> Any:
    """A type within another; what cannot be read is `ANY`."""
    try:
        return read(node, module, depth + 1)
    except (Unread, TypeError, AttributeError):
        return ANY


@dataclass(frozen=True)
class OneOf:
    """A union with parts that are no types, such as `ClassText`."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Marked:
    """An annotation that is no type, with its marks."""

    kind: Any
    marks: tuple[Any, ...]


@dataclass(frozen=True)
class Made:
    """A callable that a partial node makes.

    Attributes:
        positional: how many arguments its caller gives; None: some.
    """

    positional: int | None


def _is_type(part: Any) -> bool:
    return part is None or not isinstance(part, ClassText | OneOf | Marked | Made | _Any)


def _union(left: Any, right: Any) -> Any:
    if _is_type(left) and _is_type(right):
        return Union[left, right]  # noqa: UP007
    parts = [p for side in (left, right) for p in (side.parts if type(side) is OneOf else (side,))]
    return OneOf(tuple(parts))


def _subscript(outer: Any, inner: ast.expr, module: str, depth: int) -> Any:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if outer is Callable:
        arguments = parts[0]
        return Made(len(arguments.elts) if isinstance(arguments, ast.List) else None)
    name = getattr(outer, "__name__", "") or getattr(outer, "_name", "")
    if name == "Literal":
        return outer[tuple(read(p, module, depth) for p in parts)]
    told = [_type(parts[0], module, depth), *(_type(p, module, depth) for p in parts[1:])]
    if name == "Annotated":
        return outer[tuple(told)] if _is_type(told[0]) else Marked(told[0], tuple(told[1:]))
    if name in ("ClassVar", "Unpack", "Required", "NotRequired", "Final"):
        return told[0]
    if isinstance(outer, ClassText | _Any):
        return outer
    clean = tuple(Any if not _is_type(one) else one for one in told)
    return outer[clean if len(clean) > 1 else clean[0]]


def _call(
    function: Any, args: list[ast.expr], keywords: list[ast.keyword], module: str, depth: int
) -> Any:
    """A mark such as ``Gt(0)``; nothing else is called."""
    if isinstance(function, ClassText) or getattr(function, "__module__", "") not in LIGHT:
        raise Unread("a call")
    named = {k.arg: read(k.value, module, depth) for k in keywords if k.arg}
    return function(*(read(a, module, depth) for a in args), **named)


def class_of(target: str) -> ClassText | None:
    """The text of a class or function by its dotted name; None where it may not be read."""
    module, _, name = target.rpartition(".")
    try:
        found = look_up(name, module)
    except Unread:
        return None
    return found if isinstance(found, ClassText) else None
