"""A docstring has a subject: what stands in another line, or is the name above it, is no subject."""

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.house.glossary import ROOT
from tests.house.trees import walk

WITHOUT: Final = re.compile(r"(?:It|Its|Of|The same)\b")
MAYBE: Final = re.compile(rf"[\"']{WITHOUT.pattern}")  # what is to be parsed


def docstrings(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring of a file: of the module, classes, functions and fields."""
    for node in walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for it in body if isinstance(body, list) else []:
            match it:
                case ast.Expr(value=ast.Constant(value=str(said))):
                    yield it.lineno, said
                case _:
                    pass


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('"""It is a module."""', [1]),
        ('class A:\n    """Of one session."""\n    x: int\n    """Its number."""', [2, 4]),
        ('async def f() -> None:\n    """The same, again."""', [2]),
        (
            'class A:\n    """Italian, official, the same."""\n    x: int\n    """Once: it is."""',
            [],
        ),
        ('def f() -> str:\n    return "It is a value."', []),
    ],
)
def test_a_docstring_without_a_subject_is_found_by_its_first_word(
    text: str, lines: list[int]
) -> None:
    assert [line for line, said in docstrings(text) if WITHOUT.match(said)] == lines


def test_every_docstring_has_a_subject() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {said.splitlines()[0]}"
        for path in sorted((ROOT / "waguard").rglob("*.py"))
        if "node_modules" not in path.parts
        if MAYBE.search(text := path.read_text())
        for line, said in docstrings(text)
        if WITHOUT.match(said)
    ]
    assert found == [], "say who or what it is, or what is done: `Start the idle timer.`"
