"""Small changes of Python source that a test should notice. For ``tests/mutants.py``."""

import ast
import difflib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

OPPOSITE: Final[dict[type[ast.AST], tuple[str, ...]]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),  # codespell:ignore notin
    ast.Add: ("-",),
    ast.Sub: ("+",),
    ast.Mult: ("/",),
    ast.Div: ("*",),
    ast.BitOr: ("&",),
}
VALUES: Final = ("state", "fleet")  # what a decision takes and gives back


class Mutation(NamedTuple):
    """Bytes ``start`` to ``end`` become ``after``."""

    line: int
    start: int
    end: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """Unique in a file."""
        return f"{self.line}:{self.start}-{self.end} {self.before[:60]} => {self.after}"

    def apply(self, source: str) -> str:
        """The changed source."""
        raw = source.encode()
        return (raw[: self.start] + self.after.encode() + raw[self.end :]).decode()

    def diff(self, source: str) -> str:
        """For people."""
        lines = difflib.unified_diff(
            source.splitlines(), self.apply(source).splitlines(), lineterm="", n=0
        )
        return "\n".join(f"    {it}" for it in list(lines)[2:] if not it.startswith("@@"))


def mutations(source: str) -> Iterator[Mutation]:
    """All of them, in the order of the source; what does not compile is left out."""
    tree = ast.parse(source)
    found = {it.name: it for it in Maker(source, enums()).of(tree, set())}
    for it in sorted(found.values(), key=lambda it: (it.line, it.start)):
        try:
            compile(it.apply(source), "mutant", "exec")
        except SyntaxError:
            continue
        yield it


def enums() -> dict[str, list[str]]:
    """Members of the core's enumerations, by name."""
    return {
        node.name: [
            t.id
            for it in node.body
            if isinstance(it, ast.Assign)
            for t in it.targets
            if isinstance(t, ast.Name)
        ]
        for path in Path("waguard/core").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
        and any(
            isinstance(base, ast.Name) and base.id.endswith(Enum.__name__) for base in node.bases
        )
    }


class Maker:
    """Walks the tree; ``names`` are those that have a value already."""

    def __init__(self, source: str, enumerations: dict[str, list[str]]) -> None:
        self.raw = source.encode()
        self.enums = enumerations
        self.starts = [0]
        for line in self.raw.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def of(self, node: ast.AST, names: set[str]) -> Iterator[Mutation]:
        """Those of a node and of what is below it."""
        if isinstance(node, ast.FunctionDef):
            names = {it.arg for it in (*node.args.args, *node.args.kwonlyargs)}
        yield from self._here(node, names)
        if isinstance(node, ast.Assign):
            names |= {it.id for it in node.targets if isinstance(it, ast.Name)}
        for field, value in ast.iter_fields(node):
            declares = isinstance(node, ast.ClassDef) and field == "keywords"
            if declares or field in {"annotation", "returns", "decorator_list"}:
                continue  # a value that may be changed is not changed for that
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self.of(child, names)

    def _here(  # noqa: C901, PLR0912 - a table of changes
        self, node: ast.AST, names: set[str]
    ) -> Iterator[Mutation]:
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                for word in OPPOSITE[type(op)]:
                    yield self._between(left, right, word)
            case ast.BinOp(left=left, op=op, right=right):
                for word in OPPOSITE.get(type(op), ()):
                    yield self._between(left, right, word)
            case ast.BoolOp(op=op, values=values):
                word = " or " if isinstance(op, ast.And) else " and "
                yield self._to(node, f"({word.join(self._text(it) for it in values)})")
                for it in values:
                    rest = [self._text(other) for other in values if other is not it]
                    same = " and " if isinstance(op, ast.And) else " or "
                    yield self._to(node, f"({same.join(rest)})")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield self._to(node, self._text(operand))
            case ast.If(test=ast.Name() | ast.Attribute() | ast.Call() as test):
                yield self._to(test, f"not {self._text(test)}")
            case ast.IfExp(test=ast.Name() | ast.Attribute() | ast.Call() as test):
                yield self._to(test, f"not {self._text(test)}")
            case ast.Constant(value=bool() as value):
                yield self._to(node, str(not value))
            case ast.Constant(value=int() | float() as value):
                yield self._to(node, repr(value + 1))
                yield self._to(node, repr(value - 1))
            case ast.Attribute(value=ast.Name(id=name), attr=member) if member in self.enums.get(
                name, ()
            ):
                members = self.enums[name]
                other = members[(members.index(member) + 1) % len(members)]
                yield self._to(node, f"{name}.{other}")
            case ast.Call(func=ast.Name(id="replace"), keywords=keywords):
                for keyword in keywords:
                    yield self._to(keyword, "")
            case ast.Return(value=ast.expr() as value):
                kept = next((it for it in VALUES if it in names), "None")
                if self._text(value) != kept:
                    yield self._to(value, kept)
            case ast.Expr(value=ast.Call()):
                yield self._to(node, "pass")
            case ast.Assign(targets=[ast.Name(id=name)]) if name in names:
                yield self._to(node, "pass")
            case ast.AugAssign():
                yield self._to(node, "pass")
            case ast.match_case(pattern=pattern, guard=None) if not _takes_all(pattern):
                yield self._to(pattern, f"{self._text(pattern)} if False")
            case ast.match_case(guard=ast.expr() as guard):
                yield self._to(guard, "False")
                yield self._to(guard, "True")
            case ast.MatchOr(patterns=patterns):
                for one in patterns:
                    rest = [self._text(other) for other in patterns if other is not one]
                    yield self._to(node, " | ".join(rest))
            case _:
                pass

    def _span(self, node: ast.AST) -> tuple[int, int]:
        at = {
            name: getattr(node, name)
            for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")
        }
        start = self.starts[at["lineno"] - 1] + at["col_offset"]
        return start, self.starts[at["end_lineno"] - 1] + at["end_col_offset"]

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        text = self.raw[start:end].decode()
        return f"({text})" if isinstance(node, ast.BoolOp | ast.IfExp) else text

    def _make(self, start: int, end: int, after: str) -> Mutation:
        if not after:  # an argument, with its comma
            rest = self.raw[end:].lstrip()
            if rest.startswith(b","):
                end = len(self.raw) - len(rest) + 1
        line = self.raw[:start].count(b"\n") + 1
        return Mutation(line, start, end, self.raw[start:end].decode(), after)

    def _to(self, node: ast.AST, after: str) -> Mutation:
        return self._make(*self._span(node), after)

    def _between(self, left: ast.expr, right: ast.expr, word: str) -> Mutation:
        """Another operator; brackets that close or open there stay."""
        start, end = self._span(left)[1], self._span(right)[0]
        between = self.raw[start:end].decode()
        head = between[: len(between) - len(between.lstrip(" )\n"))]
        tail = between[len(between.rstrip(" (\n")) :]
        return self._make(start, end, f"{head}{word}{tail}")


def _takes_all(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None
