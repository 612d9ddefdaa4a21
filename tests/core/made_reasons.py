"""The reasons of conditions as the code makes them: read off its calls, so that a new one is found without a list."""

import ast
import importlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

import waguard
from waguard.core import blame
from waguard.core.host.admission import Cause
from waguard.core.link import Link
from waguard.core.row_status import ParkCause

PACKAGE: Final = Path(waguard.__file__).parent
PARKED: Final = "str(cause)"
_NO_TEXT: Final[Mapping[str, Collection[str]]] = {
    PARKED: ParkCause,
    "str(wait.cause)": Cause,
    "str(worker.link)": set(Link) - {Link.CONNECTED},
    "wait.why.reason": (),  # of a failure, which is found where it is made
    "why.reason": (),
}
"""What is no text in the code, in its own words."""


def made_reasons() -> dict[str, set[str]]:
    """By type of condition, every reason that the code makes."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text()
        if "Failure(" not in source and "Condition(" not in source:
            continue
        module = importlib.import_module(
            ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        )
        for kind, reason in _of_module(module, ast.parse(source)):
            found.setdefault(kind, set()).add(reason)
    return found


def _of_module(module: ModuleType, tree: ast.Module) -> Iterator[tuple[str, str]]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and (it := _reason(module, function.name, call)):
                kind, reason = it
                for text in _texts(module, function, reason):
                    yield kind, text


def _reason(module: ModuleType, function: str, call: ast.Call) -> tuple[str, ast.expr] | None:
    """The type of condition that this call makes, and where its reason stands; None: it makes none."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    makes, given = getattr(module, name, None), {it.arg: it.value for it in call.keywords}
    if makes is blame.Failure and function != "_host":  # which hands on what it was given
        reason = call.args[1]
        return "parked" if ast.unparse(reason) == PARKED else "start", reason
    if name == "_host" and getattr(module, "Failure", None) is blame.Failure:
        return "start", call.args[0]
    if makes is blame.Condition and isinstance(kind := given["type"], ast.Constant):
        return str(kind.value), given["reason"]
    if makes is blame.Condition and isinstance(reason := given["reason"], ast.IfExp):
        return "start", reason.body  # the others have their type as reason, or another's
    return None


def _texts(module: ModuleType, function: ast.AST, node: ast.expr) -> Iterator[str]:
    """What the reason may be. Fails where that does not show."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(module, function, one)
            yield from _texts(module, function, other)
        case ast.Name(id=name) if isinstance(known := getattr(module, name, None), str):
            yield known
        case ast.Name(id=name) if values := list(_assigned(function, name)):
            for value in values:
                yield from _texts(module, function, value)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="_OF_EXIT"))):
            yield from (reason for _, reason in blame._OF_EXIT.values())
            yield from (str(it.value) for it in ast.walk(node) if isinstance(it, ast.Constant))
        case _ if (known := _NO_TEXT.get(ast.unparse(node))) is not None:
            yield from map(str, known)
        case _:
            where = f"{module.__name__}:{node.lineno}"
            raise AssertionError(f"{where}: which reasons are {ast.unparse(node)}?")


def _assigned(function: ast.AST, name: str) -> Iterator[ast.expr]:
    """What is assigned to a local name."""
    for node in (it for it in ast.walk(function) if isinstance(it, ast.Assign)):
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            parts = node.value.elts if isinstance(node.value, ast.Tuple) else []
            values = parts if isinstance(target, ast.Tuple) and parts else [node.value] * len(names)
            for one, value in zip(names, values, strict=True):
                if isinstance(one, ast.Name) and one.id == name:
                    yield value
