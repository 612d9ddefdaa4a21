"""``make texts``: every text that a user can meet, one a line: file:line, kind, text.

Kinds: help (of a command), output (printed), log (INFO and above), error (raised), page, unit, manual
(README and docs are read as they are), and text: any other sentence in the code, which a condition, a
remedy, ``why``, the doctor or an answer of the API shows. What a program reads (SQL, JavaScript, patterns)
and what only a developer sees (docstrings, DEBUG, asserts) is left out.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tests.house.glossary import ROOT

PYTHON: Final = ("waguard", "systemd")
OTHER: Final = {
    "waguard/api/static/page.html": "page",
    "waguard/api/static/**/*.js": "page",
    "waguard/cli/passkey_card.js": "page",
    "extension/worker.js": "page",
    "systemd/*.service": "unit",
    "etc/*": "unit",
}
# the stand-in's programs are for tests, migrations are SQL
LEFT_OUT: Final = ("waguard/store/migrations/", "waguard/lab/standin/", "waguard/lab/application/")
LOGS: Final = {"info", "warning", "error", "exception", "critical", "log"}
QUIET: Final = {"debug", "trace", "compile", "evaluate", "execute"}
HELP: Final = {"help", "description", "epilog", "metavar", "usage", "title", "prog"}
PRINTS: Final = {"print", "say", "write", "exit", "input", "printed", "warn", "note"}
SQL: Final = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|PRAGMA|WITH|BEGIN)\b")
JAVASCRIPT: Final = re.compile(r"=>|\bfunction\b|\bwindow\.|\bawait \b|;\s*$|\(\)\s*\{")


class Text(NamedTuple):
    """``text`` has … where a value is put in."""

    file: str
    line: int
    kind: str
    text: str


def is_sentence(text: str) -> bool:
    """Two words at least, of letters; no code."""
    words = re.findall(r"[A-Za-z][a-z']+", text)
    code = SQL.search(text) or JAVASCRIPT.search(text)
    return len(words) > 1 and " " in text.strip() and not code


def written(node: ast.Constant | ast.JoinedStr) -> str:
    """The text, on one line."""
    values = node.values if isinstance(node, ast.JoinedStr) else [node]
    found = "".join(
        str(it.value)
        if isinstance(it, ast.Constant)
        else "{" + ast.unparse(it.value if isinstance(it, ast.FormattedValue) else it) + "}"
        for it in values
    )
    return " ".join(found.split())


def kind_of_call(call: ast.Call) -> str | None:
    """None: what is handed over here is nothing that a person reads."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    if re.search(r"\b_?log(ger)?\b", owner):
        return "log" if name in LOGS else None
    if name in QUIET:
        return None
    if name.endswith(("Error", "Failure", "Exception", "Refused")):
        return "error"
    return "output" if name in PRINTS else "text"


class Reader(ast.NodeVisitor):
    """Of one file; a literal has the kind of the innermost call that it is handed to."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.texts: list[Text] = []
        self._kind: str | None = "text"

    def within(self, kind: str | None, *nodes: ast.AST) -> None:
        outer, self._kind = self._kind, kind
        for node in nodes:
            self.visit(node)
        self._kind = outer

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else it is a docstring
            self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        """For developers."""

    def visit_Raise(self, node: ast.Raise) -> None:
        self.within("error", *ast.iter_child_nodes(node))

    def visit_Call(self, node: ast.Call) -> None:
        kind = kind_of_call(node)
        self.visit(node.func)
        inner = "error" if self._kind == "error" and kind == "text" else kind
        self.within(inner, *node.args)
        for keyword in node.keywords:
            self.within("help" if keyword.arg in HELP else inner, keyword.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if self._kind and isinstance(node.value, str):
            self._keep(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        if self._kind:
            self._keep(node)
        values = (it.value for it in node.values if isinstance(it, ast.FormattedValue))
        self.within(self._kind, *values)

    def _keep(self, node: ast.Constant | ast.JoinedStr) -> None:
        if is_sentence(text := written(node)):
            self.texts.append(Text(self.file, node.lineno, self._kind or "", text))


def of_python(file: str, text: str) -> list[Text]:
    """All of one file, in its order."""
    reader = Reader(file)
    reader.visit(ast.parse(text))
    return sorted(reader.texts, key=lambda it: it.line)


def of_other(file: str, text: str, kind: str) -> Iterator[Text]:
    """Lines that a person reads: those with words."""
    for number, line in enumerate(text.splitlines(), 1):
        if file.endswith(".js"):
            literals = re.findall(r"`[^`]*`|\"[^\"]*\"|'[^']*'", line)
            found = [literal[1:-1] for literal in literals]
        else:
            found = [" ".join(re.sub(r"<[^>]*>", " ", line).split())]
        yield from (Text(file, number, kind, it) for it in found if is_sentence(it))


def texts() -> list[Text]:
    """All, by file and line."""
    found: list[Text] = []
    for folder in PYTHON:
        for path in sorted((ROOT / folder).rglob("*.py")):
            file = str(path.relative_to(ROOT))
            if not file.startswith(LEFT_OUT) and "node_modules" not in path.parts:
                found += of_python(file, path.read_text())
    for pattern, kind in OTHER.items():
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file() and path.suffix != ".txt":
                found += of_other(str(path.relative_to(ROOT)), path.read_text(), kind)
    return found


def table(found: Sequence[Text]) -> str:
    """Columns that a terminal shows and a program can cut."""
    places = [f"{it.file}:{it.line}" for it in found]
    width = max(map(len, places), default=0)
    rows = zip(places, found, strict=True)
    return "\n".join(f"{place:<{width}}  {it.kind:<6}  {it.text}" for place, it in rows)


def main(arguments: Sequence[str]) -> int:
    """Print those of files and folders that are named, or all."""
    found = texts()
    chosen = [it for it in found if not arguments or it.file.startswith(tuple(arguments))]
    print(table(chosen))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
