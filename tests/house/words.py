"""``make words``: names and texts against docs/glossary.md.

FILES="…" lists only what is found in these files.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.house import glossary
from tests.house.glossary import ROOT

# folders and files, and whether their texts are read too: those of tests are nobody's but ours
NAMED: Final = ("waguard", "tests", "bench", "systemd", ".ci")
PROSE: Final = ("waguard", "docs", "systemd", "etc", "README.md", "CONTRIBUTING.md", "Makefile")
SUFFIXES: Final = frozenset({".py", ".js", ".html", ".css", ".md", ".toml", ".service", ".conf"})
LEFT_OUT: Final = frozenset({"node_modules", "__pycache__", ".venv"})
EXCEPT: Final = {
    "docs/glossary.md": "it names the words",
    "docs/configuration.md": "generated from config/sections.py, which is linted",
}
# a name or a text that others read: (file, name or text) and why it stays
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
    (
        "waguard/store/migrations/versions/v0004_held_webhooks_and_numbers.py",
        "LANE",
    ): "a column of the database: migrations stay as they were released",
}


class Finding(NamedTuple):
    """``kind``: name or prose; ``found`` is what stands there, ``write`` what should."""

    file: str
    line: int
    kind: str
    found: str
    write: str


def parts(name: str) -> list[str]:
    """``_ownerMark_2`` is owner, mark."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


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
    for node in ast.walk(tree):
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
    for line, name, verb in [(0, module, False), *defined(ast.parse(text))]:
        term = wrong_name(name, verb=verb)
        if term and (file, name) not in ALLOWED:
            yield Finding(file, line, "name", name, term)


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each literal; of an f-string its literal parts, with … between them."""
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            texts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield node.lineno, "".join(str(text) for text in texts)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner
        ):
            yield node.lineno, node.value


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each comment; lines in a row are one."""
    line, first, gathered = -1, 0, ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        if token.start[0] == line + 1 and not token.line[: token.start[1]].strip():
            gathered += "\n" + token.string.lstrip("# ")
        else:
            if gathered:
                yield first, gathered
            first, gathered = token.start[0], token.string
        line = token.start[0]
    if gathered:
        yield first, gathered


def texts(file: str, text: str) -> Iterator[tuple[int, str]]:
    """What a person reads of a file; what is in backticks is a name, and linted where it is defined."""
    if file.endswith(".py"):
        found = [*strings(ast.parse(text)), *comments(text)]
        # one word is a value, not a sentence
        found = [(line, it) for line, it in found if " " in it.strip()]
    else:
        found = [(1, text)]
    for line, it in found:
        yield (
            line,
            re.sub(
                r"```.*?```|``[^`]*``|`[^`\n]*`",
                lambda m: re.sub(r"[^\n]", "·", m[0]),
                it,
                flags=re.DOTALL,
            ),
        )


def prose_findings(file: str, text: str) -> Iterator[Finding]:
    """Phrases of the glossary's last table."""
    for line, it in texts(file, text):
        for match in glossary.any_phrase().finditer(it):
            if not any(file == allowed and phrase in it for allowed, phrase in ALLOWED):
                at = line + it.count("\n", 0, match.start())
                found = " ".join(match[0].split())
                yield Finding(file, at, "prose", found, glossary.phrases()[found.lower()])


def paths(folders: Sequence[str]) -> Iterator[Path]:
    """Files of ours below these."""
    for folder in folders:
        top = ROOT / folder
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            ours = path.suffix in SUFFIXES or path.name == "Makefile"
            if ours and path.is_file() and not LEFT_OUT & set(path.parts):
                yield path


def findings() -> list[Finding]:
    """All that stands in the tree."""
    found: list[Finding] = []
    for path in paths(NAMED):
        if path.suffix == ".py":
            found += name_findings(str(path.relative_to(ROOT)), path.read_text())
    for path in paths(PROSE):
        if (file := str(path.relative_to(ROOT))) not in EXCEPT:
            found += prose_findings(file, path.read_text())
    return found


def show(found: Sequence[Finding]) -> str:
    """One line each, for a terminal that opens what it names."""
    return "\n".join(
        f"{it.file}:{it.line}: {it.kind} {it.found!r}: write {it.write}"
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
