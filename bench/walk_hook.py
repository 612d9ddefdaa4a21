"""Copied as ``sitecustomize.py`` to where a traced process finds it: writes down which functions are handed a mark."""

import json
import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any, Final

DEPTH: Final = 9  # a text of a message of an event of a record of a put of a batch
WIDTH: Final = 50  # entries of a list or dictionary that are looked at
SCALARS: Final = (int, float, bool, type(None))
FOLDER: Final = os.environ.get("WALK_STEPS", "")
MARKS: Final[list[str]] = (
    json.loads((Path(__file__).parent / "marks.json").read_text()) if FOLDER else []
)
PACKAGE: Final = f"{os.sep}waguard{os.sep}"
# Chromium's files are copied there, and hold the page's own copy of a message
COPIES: Final = "waguard/profile/"
seen: set[tuple[str, str, str]] = set()


def held(value: Any, mark: str, forms: set[str], depth: int = DEPTH) -> bool:
    """Whether the mark is in ``value``; the types on the way to it are added to ``forms``."""
    if isinstance(value, str):
        found = mark in value
    elif isinstance(value, (bytes, bytearray, memoryview)):
        found = mark.encode() in bytes(value)
    elif depth == 0 or isinstance(value, (*SCALARS, type)):  # a class holds nothing
        return False
    else:
        # all of them: each may be another form
        holding = [held(part, mark, forms, depth - 1) for part in parts(value)]
        found = any(holding)
    if found and not isinstance(value, (list, tuple)):
        forms.add(type(value).__name__)
    return found


def parts(value: Any) -> list[Any]:
    """What a container or a value consists of; other objects are not looked into."""
    if isinstance(value, dict):
        return list(value.values())[:WIDTH]
    if isinstance(value, (list, tuple)):
        return list(value)[:WIDTH]
    kind = type(value)
    names: Iterable[str] = getattr(kind, "__struct_fields__", ()) or getattr(
        kind, "__dataclass_fields__", ()
    )
    return [getattr(value, name, None) for name in names]


def on_event(frame: FrameType, event: str, _argument: object) -> None:
    """Look at the arguments of each call of waguard's own functions."""
    code = frame.f_code
    at = code.co_filename.rfind(PACKAGE)
    if event != "call" or at < 0 or code.co_filename.startswith(COPIES, at + 1):
        return
    name = code.co_qualname if hasattr(code, "co_qualname") else code.co_name
    count = code.co_argcount + code.co_kwonlyargcount
    for mark in MARKS:
        key = (mark, code.co_filename, name)
        if key in seen:
            continue
        forms: set[str] = set()
        values = [frame.f_locals.get(argument) for argument in code.co_varnames[:count]]
        holding = [held(value, mark, forms) for value in values]
        if any(holding):
            seen.add(key)
            write(
                {
                    "mark": mark,
                    "file": code.co_filename[at + 1 :],
                    "function": name,
                    "forms": sorted(forms),
                }
            )


def write(step: dict[str, Any]) -> None:
    """One line, whole, in the file of this process: it may be killed at any time."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = os.open(Path(FOLDER) / str(os.getpid()), flags, 0o600)
    try:
        os.write(file, json.dumps(step).encode() + b"\n")
    finally:
        os.close(file)


if FOLDER:
    threading.setprofile(on_event)
    sys.setprofile(on_event)
