"""docs/glossary.md as the lint reads it."""

import functools
import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
GLOSSARY: Final = ROOT / "docs" / "glossary.md"
PHRASES: Final = "## Phrases"


class NameRules(NamedTuple):
    """What no name has."""

    words: dict[tuple[str, ...], str]  # parts in a row, lower case: the term to write
    whole: dict[str, str]
    verbs: dict[str, str]  # the first part of a function's name


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set(row[0]) <= set("-") and row[-1] != "not"]


def name_rules(text: str) -> NameRules:
    """Of the tables of terms: the last column has what a term replaces, in backticks."""
    rules = NameRules({}, {}, {})
    for term, _, replaced in rows(text.partition(PHRASES)[0]):
        for name in re.findall(r"`([^`]+)`", replaced):
            if name.endswith("()"):
                rules.verbs[name[:-2]] = term
            elif name[0].isupper():
                rules.whole[name] = term
            else:
                rules.words[tuple(name.split("_"))] = term
    return rules


@functools.cache
def names() -> NameRules:
    """As the glossary has them now."""
    return name_rules(GLOSSARY.read_text())
