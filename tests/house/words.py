"""``make words``: names against docs/glossary.md.

FILES="…" lists only what is found in these files.
"""

import ast
import functools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.house import glossary
from tests.house.glossary import ROOT
from tests.house.trees import walk

NAMED: Final = ("waguard", "tests", "bench", "systemd", ".ci")
LEFT_OUT: Final = frozenset({"node_modules", "__pycache__", ".venv"})
# a name that others read: (file, name) and why it stays
ALLOWED: Final[dict[tuple[str, str], str]] = {
    (f"waguard/wire/{file}.py", name): "a field on the wire: workers of other versions send it"
    for file, names in {
        "calls": ("CatchUp", "standing"),
        "events": ("aside", "grave"),
        "reports": ("hopeless", "silence"),
    }.items()
    for name in names
} | {
    ("waguard/cli/profile_commands.py", "aside"): "a field of the JSON of `profile restore`",
    ("waguard/backup/encryption.py", "tell"): "what tarfile asks of a file",
    (
        "waguard/store/migrations/versions/v0004_held_webhooks_and_numbers.py",
        "LANE",
    ): "a column of the database: migrations stay as they were released",
}


class Finding(NamedTuple):
    """``found`` is what stands there, ``write`` what should."""

    file: str
    line: int
    found: str
    write: str


def parts(name: str) -> list[str]:
    """``_ownerMark_2`` is owner, mark."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


@functools.cache
def wrong_name(name: str, *, verb: bool = False) -> str | None:
    """The term that belongs in its place; ``verb``: it is a function's."""
    rules = glossary.names()
    if name in rules.whole:
        return rules.whole[name]
    words = parts(name)
    if verb and words and words[0] in rules.verbs:
        return rules.verbs[words[0]]
    runs = (tuple(words[i : i + n]) for n in (1, 2) for i in range(len(words) - n + 1))
    return next((rules.words[run] for run in runs if run in rules.words), None)


def defined(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Line and name of each class, function, parameter, attribute and variable; is it a function's?"""
    for node in walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name, True
            case ast.ClassDef(name=name):
                yield node.lineno, name, False
            case ast.arg(arg=name):
                yield node.lineno, name, False
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name, False
            case ast.alias(asname=str(name)):
                yield node.lineno, name, False
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield node.lineno, name, False
            case _:
                pass


def name_findings(file: str, text: str) -> Iterator[Finding]:
    """Names that a Python file defines, and its own and its folders' (by the file that makes them one)."""
    module = Path(file).parent.name if file.endswith("__init__.py") else Path(file).stem
    # most files have no such word at all, and need not be parsed
    met = any(wrong_name(name, verb=True) for name in set(re.findall(r"\w+", text)))
    for line, name, verb in [(0, module, False), *(defined(ast.parse(text)) if met else ())]:
        term = wrong_name(name, verb=verb)
        if term and (file, name) not in ALLOWED:
            yield Finding(file, line, name, term)


def findings() -> list[Finding]:
    """All that stands in the tree."""
    return [
        finding
        for folder in NAMED
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not LEFT_OUT & set(path.parts)
        for finding in name_findings(str(path.relative_to(ROOT)), path.read_text())
    ]


def show(found: Sequence[Finding]) -> str:
    """One line each, for a terminal that opens what it names."""
    return "\n".join(
        f"{it.file}:{it.line}: {it.found!r}: write {it.write}"
        for it in sorted(found, key=lambda it: (it.file, it.line))
    )


def main(arguments: Sequence[str]) -> int:
    """List what is found, below these paths where some are named; the exit code."""
    found = [it for it in findings() if not arguments or it.file.startswith(tuple(arguments))]
    if found:
        print(show(found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
