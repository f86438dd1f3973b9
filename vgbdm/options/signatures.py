"""What a class or function may be told, read off its text: types, ranges, defaults, sentences."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vgbdm.options.kinds import Of
from vgbdm.options.sentences import sentences_of, summary_of
from vgbdm.options.sources import ANY, ClassText, Marked, class_of, evaluate

REQUIRED = object()
"""The default of what must be given."""


@dataclass(frozen=True)
class Parameter:
    """One argument.

    Attributes:
        annotation: its type, as `vgbdm.options.sources` reads it.
        default: `REQUIRED` where there is none.
        sentence: what the docstring says of it.
    """

    annotation: Any
    default: Any
    sentence: str


@dataclass(frozen=True)
class Signature:
    """Of a class or function.

    Attributes:
        parameters: by name, in their order; those by position first.
        summary: what it is.
        closed: whether there is nothing else that it takes.
    """

    parameters: Mapping[str, Parameter]
    summary: str
    closed: bool = True

    def without(self, positional: int, given: tuple[str, ...]) -> dict[str, Parameter]:
        """The parameters less those that a caller gives."""
        kept = list(self.parameters.items())[positional:]
        return {name: parameter for name, parameter in kept if name not in given}


@functools.cache
def signature_of(target: str) -> Signature | None:
    """The signature of what a dotted name means; None where its text may not be read."""
    found = class_of(target)
    return None if found is None else read_signature(found)


def read_signature(made: ClassText) -> Signature:
    """The signature of a class or function."""
    sentences: dict[str, str] = {}
    for part in reversed(made.lineage()):
        sentences |= sentences_of(ast.get_docstring(part.node))
    summary = summary_of(ast.get_docstring(made.node))
    if isinstance(made.node, ast.FunctionDef):
        parameters, closed = _of_function(made.node, made.module, sentences, skip=0)
    else:
        parameters, closed = _of_class(made, sentences)
    return Signature(parameters, summary, closed)


def _of_class(made: ClassText, sentences: Mapping[str, str]) -> tuple[dict[str, Parameter], bool]:
    """Of ``__init__`` or of the fields of a dataclass, its own or inherited."""
    if made.is_dataclass:
        return _of_fields(made, sentences), True
    for part in made.lineage():
        if part.is_dataclass:
            return _of_fields(part, sentences), True
        for node in part.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return _of_init(part, node, sentences)
    unread = isinstance(made.node, ast.ClassDef) and len(made.node.bases) > len(made.bases())
    return {}, not unread or all(_is_plain(base) for base in made.node.bases)  # type: ignore[union-attr]


def _is_plain(base: ast.expr) -> bool:
    """Whether a base that cannot be read takes no arguments."""
    return ast.unparse(base).partition("[")[0] in ("ABC", "Protocol", "Generic", "object")


def _of_fields(made: ClassText, sentences: Mapping[str, str]) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for part in reversed([p for p in made.lineage() if p.is_dataclass]):
        for node in part.node.body:
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            if ast.unparse(node.annotation).startswith(("ClassVar", "typing.ClassVar")):
                continue
            name = node.target.id
            found[name] = Parameter(
                evaluate(node.annotation, part.module, ANY),
                _default(node.value, part.module),
                sentences.get(name, ""),
            )
    return found


def _default(node: ast.expr | None, module: str) -> Any:
    """The value of a default; of ``field(…)`` its own; its text where that does not tell."""
    if node is None:
        return REQUIRED
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "field":
        told = {k.arg: k.value for k in node.keywords}
        if "default" in told:
            return _default(told["default"], module)
        factory = told.get("default_factory")
        empty: dict[str, Any] = {"dict": {}, "list": [], "tuple": ()}
        return REQUIRED if factory is None else empty.get(ast.unparse(factory))
    return evaluate(node, module, ast.unparse(node))


def _of_function(
    node: ast.FunctionDef, module: str, sentences: Mapping[str, str], skip: int
) -> tuple[dict[str, Parameter], bool]:
    """Of a function; what ``**options: Annotated[Any, Of(…)]`` says is taken from there."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    missing: list[ast.expr | None] = [None] * (len(arguments) - len(node.args.defaults))
    pairs = list(zip(arguments, [*missing, *node.args.defaults], strict=True))[skip:]
    pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    found = {
        argument.arg: Parameter(
            evaluate(argument.annotation, module, ANY),
            _default(default, module),
            sentences.get(argument.arg, ""),
        )
        for argument, default in pairs
    }
    more = node.args.kwarg
    if more is None:
        return found, True
    for mark in marks_of(evaluate(more.annotation, module, ANY)):
        signature = signature_of(mark.target) if isinstance(mark, Of) else None
        if signature is not None:
            return found | signature.without(0, (*mark.given, *found)), signature.closed
    return found, False


def _of_init(
    made: ClassText, node: ast.FunctionDef, sentences: Mapping[str, str]
) -> tuple[dict[str, Parameter], bool]:
    """Of a constructor; its ``**options`` are those of the class it hands them to."""
    found, closed = _of_function(node, made.module, sentences, skip=1)
    bases = [base for base in made.bases() if _of_class(base, {})[0]]
    if closed or not bases:
        return found, closed
    signature = read_signature(bases[0])
    positional, given = 0, tuple(found)
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
            positional = len(call.args)
            given += tuple(k.arg for k in call.keywords if k.arg)
    return found | signature.without(positional, given), signature.closed


def marks_of(annotation: Any) -> tuple[Any, ...]:
    """The marks of an annotation, such as `Of`."""
    if isinstance(annotation, Marked):
        return annotation.marks
    return getattr(annotation, "__metadata__", ())


def fact_of(target: str, name: str, otherwise: Any) -> Any:
    """The value of a constant of a class, its own or inherited, such as ``order``."""
    made = class_of(target)
    for part in made.lineage() if made is not None else ():
        for node in part.node.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=given)], value=value) if given == name:
                    return evaluate(value, part.module, otherwise)
                case ast.AnnAssign(target=ast.Name(id=given), value=value) if given == name:
                    return evaluate(value, part.module, otherwise)
    return otherwise


def constant_of(target: str, name: str) -> tuple[str, ...]:
    """The names in a constant of a class and of all that it is made from, such as ``SCHEDULES``."""
    made = class_of(target)
    found: dict[str, None] = {}
    for part in made.lineage() if made is not None else ():
        for node in part.node.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=given)], value=value) if given == name:
                    found |= dict.fromkeys(evaluate(value, part.module, ()))
                case ast.AnnAssign(target=ast.Name(id=given), value=value) if given == name:
                    found |= dict.fromkeys(evaluate(value, part.module, ()))
    return tuple(found)
