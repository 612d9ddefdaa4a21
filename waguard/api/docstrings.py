"""Docstrings, where the interpreter was started without them: the service's unit sets PYTHONOPTIMIZE=2."""

import ast
import contextlib
import inspect
from collections.abc import Iterable
from types import ModuleType
from typing import Any


def restore(modules: Iterable[ModuleType]) -> None:
    """Read those of their classes and functions from their sources again, where these are there. Blocks: call it in a
    thread."""
    for module in modules:
        with contextlib.suppress(OSError):
            _restore(module, ast.parse(inspect.getsource(module)))


def _restore(module: ModuleType, tree: ast.Module) -> None:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            of: Any = inspect.unwrap(vars(module).get(node.name, _restore))
            # that of a base class is not its own
            if of.__module__ == module.__name__ and vars(of).get("__doc__", of.__doc__) is None:
                of.__doc__ = ast.get_docstring(node)
