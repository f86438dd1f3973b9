"""One small fault each: what a slip of the pen, or one wrong idea, makes of a source text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ARITHMETIC = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
              ast.Pow: ("**", "*"), ast.FloorDiv: ("//", "/"), ast.Mod: ("%", "//")}  # fmt: skip
COMPARISON = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
              ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"),
              ast.NotIn: ("not in", "in"), ast.Is: ("is", "is not"),
              ast.IsNot: ("is not", "is")}  # fmt: skip
LOGIC = {ast.And: ("and", "or"), ast.Or: ("or", "and")}
WORDS = ("log", "logging", "warnings", "tqdm")
"""Calls of these only tell something."""
Edit = tuple[str, int, int, bytes]
"""Kind of fault, the bytes it replaces, and by what."""


@dataclass(frozen=True, order=True)
class Mutant:
    """A fault in a file.

    Attributes:
        module: path of the file, from the root of the repository.
        start, end: of the bytes that are replaced.
        text: that comes there.
        kind: of fault.
        function: dotted name of the function or class it lies in.
        line: of its first byte.
        before, after: the lines it changes.
    """

    module: str
    start: int
    end: int
    text: bytes
    kind: str
    function: str
    line: int
    before: str
    after: str

    def apply(self, source: bytes) -> bytes:
        """The faulty text of the file."""
        return source[: self.start] + self.text + source[self.end :]

    def compiles(self, root: Path) -> bool:
        """Whether the faulty text is a program at all."""
        try:
            ast.parse(self.apply((root / self.module).read_bytes()))
        except SyntaxError:
            return False
        return True


def no_fault(module: str) -> Mutant:
    """What changes nothing: tests that fail against it say nothing of faults."""
    return Mutant(module, 0, 0, b"", "none", "", 1, "", "")


def mutants_of(root: Path, module: str) -> list[Mutant]:
    """All faults of a file, in the order of the text."""
    source = (root / module).read_bytes()
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    found = []
    for function, (kind, start, end, text) in finder.found:
        first = source.rfind(b"\n", 0, start) + 1
        last = source.find(b"\n", end)
        lines = source[first:last].decode().strip()
        faulty = (source[first:start] + text + source[end:last]).decode().strip()
        line = source.count(b"\n", 0, start) + 1
        found.append(Mutant(module, start, end, text, kind, function, line, lines, faulty))
    return sorted(set(found))


class _Finder(ast.NodeVisitor):
    """Collects `found`: pairs of a function's name and an edit."""

    def __init__(self, source: bytes) -> None:
        self.source, self.scope, self.found = source, [], []
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def add(self, kind: str, start: int, end: int, text: bytes) -> None:
        self.found.append((".".join(self.scope), (kind, start, end, text)))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """First byte of a node, and the one after its last."""
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def between(self, left: ast.expr, right: ast.expr, symbol: str) -> tuple[int, int]:
        """Where an operator stands between its operands."""
        start = self.span(left)[1]
        at = self.source.find(symbol.encode(), start, self.span(right)[0])
        return at, at + len(symbol)

    # --- what is passed over ---------------------------------------------------------------------

    def visit_Raise(self, node: ast.Raise) -> None:
        self.add("no error raised", *self.span(node), b"pass")  # its words are not looked at

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.scope.append(node.name)
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self.scope.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self.scope.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Call) or _name(node.value).split(".")[0] in WORDS:
            return
        self.add("call left out", *self.span(node), b"pass")
        self.visit(node.value)

    # --- faults ----------------------------------------------------------------------------------

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in ARITHMETIC:
            symbol, other = ARITHMETIC[type(node.op)]
            at, end = self.between(node.left, node.right, symbol)
            self.add("operator", at, end, other.encode())
            self.add("operand left out", at, self.span(node)[1], b"")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in ARITHMETIC:
            symbol, other = ARITHMETIC[type(node.op)]
            at, end = self.between(node.target, node.value, f"{symbol}=")
            self.add("operator", at, end, f"{other}=".encode())
        self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, right, op in zip(operands, operands[1:], node.ops, strict=False):
            symbol, other = COMPARISON[type(op)]
            self.add("comparison", *self.between(left, right, symbol), other.encode())
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        symbol, other = LOGIC[type(node.op)]
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.add("logic", *self.between(left, right, symbol), other.encode())
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        start = self.span(node)[0]
        if isinstance(node.op, ast.Not):
            self.add("logic", start, start + 3, b"   ")
        elif isinstance(node.op, ast.USub):
            self.add("sign", start, start + 1, b"+")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.add("constant", *self.span(node), str(not value).encode())
        elif isinstance(value, int):
            self.add("constant", *self.span(node), str(value + 1).encode())
        elif isinstance(value, float):
            self.add("constant", *self.span(node), repr(2 * value or 1.0).encode())

    def _condition(self, node: ast.If | ast.IfExp | ast.While) -> None:
        compared = isinstance(node.test, ast.Compare | ast.BoolOp)
        if not compared and not isinstance(node.test, ast.UnaryOp):
            start, end = self.span(node.test)
            self.add("condition", start, end, b"not (" + self.source[start:end] + b")")
        self.generic_visit(node)

    visit_If = visit_IfExp = visit_While = _condition


def _name(call: ast.Call) -> str:
    """Dotted name of what is called, as far as it has one."""
    parts: list[str] = []
    node: ast.AST = call.func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id if isinstance(node, ast.Name) else ""]))


def modules_of(root: Path, packages: tuple[str, ...]) -> Iterator[str]:
    """Paths of all files of some packages, from the root, in order."""
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            yield str(path.relative_to(root))
