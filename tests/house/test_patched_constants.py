"""Times and limits are passed as values: no test patches a constant of a module of waguard's."""

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.house.glossary import ROOT
from tests.house.trees import walk

CONSTANT: Final = re.compile(r"_*[A-Z][A-Z0-9_]+")
PATCHES: Final = re.compile(r"setattr|patch|\.[A-Z0-9_]+ = ")  # what is to be parsed
UNKNOWN: Final = "?"


def imported(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for, dotted."""
    found: dict[str, str] = {}
    for node in walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {it.asname or it.name: f"{node.module}.{it.name}" for it in node.names}
        elif isinstance(node, ast.Import):
            for it in node.names:
                name = it.asname or it.name.partition(".")[0]
                found[name] = it.name if it.asname else name
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """What an expression stands for, by the imports."""
    match node:
        case ast.Name(id=name):
            return names.get(name, UNKNOWN)
        case ast.Attribute(value=value, attr=name):
            return f"{dotted(value, names)}.{name}"
        case _:
            return UNKNOWN


def targets(tree: ast.AST, names: dict[str, str]) -> Iterator[str]:
    """Everything that is patched: by ``setattr``, by mock's ``patch``, by an assignment."""
    for node in walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="setattr" | "patch") | ast.Name(id="patch"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name
            case ast.Call(
                func=ast.Attribute(attr="setattr" | "object") | ast.Name(id="setattr"),
                args=[target, ast.Constant(value=str(name)), *_],
            ):
                yield f"{dotted(target, names)}.{name}"
            case ast.Assign(targets=assigned):
                yield from (dotted(it, names) for it in assigned if isinstance(it, ast.Attribute))
            case _:
                pass


def patched(text: str) -> set[str]:
    """The constants among them that are waguard's, or may be."""
    if not PATCHES.search(text):
        return set()
    tree = ast.parse(text)
    found = set(targets(tree, imported(tree)))
    ours = (it for it in found if it.startswith(("waguard.", UNKNOWN)))
    return {it for it in ours if CONSTANT.fullmatch(it.rpartition(".")[2])}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from waguard.api import door\nm.setattr(door, 'AHEAD', 1)", {"waguard.api.door.AHEAD"}),
        ("from waguard import api as it\nm.setattr(it.door, '_A1', 1)", {"waguard.api.door._A1"}),
        ("import waguard.api\nsetattr(waguard.api, 'AHEAD', 1)", {"waguard.api.AHEAD"}),
        ("import waguard.api as it\nit.AHEAD = 1", {"waguard.api.AHEAD"}),
        ("m.setattr('waguard.api.door.AHEAD', 1)", {"waguard.api.door.AHEAD"}),
        ("with patch('waguard.api.door.AHEAD', 1): ...", {"waguard.api.door.AHEAD"}),
        ("@mock.patch('waguard.api.door.AHEAD', 1)\ndef f(): ...", {"waguard.api.door.AHEAD"}),
        ("from waguard import a\npatch.object(a, 'AHEAD', 1)", {"waguard.a.AHEAD"}),
        ("m.setattr(self.module, 'AHEAD', 1)", {"?.module.AHEAD"}),
        ("import zipfile\nm.setattr(zipfile, 'AHEAD', 1)", set()),
        ("from tests import mutants\nm.setattr(mutants, 'FOLDER', 1)", set()),
        ("from waguard import a\nm.setattr(a, 'ahead', 1); m.setattr(a, 'Ahead', 1)", set()),
        ("m.setenv('AHEAD', '1'); a.ahead = 1; AHEAD = 1", set()),
    ],
)
def test_what_is_patched_is_found(code: str, found: set[str]) -> None:
    assert patched(code) == found


def test_no_test_patches_a_constant() -> None:
    files = {str(it.relative_to(ROOT)): it.read_text() for it in (ROOT / "tests").rglob("*.py")}
    assert len(files) > 100
    found = {(file, name) for file, text in files.items() for name in patched(text)}
    assert found == set(), "pass these, as `Timings` or `Limits`"
