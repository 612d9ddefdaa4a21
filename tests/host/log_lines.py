"""The log as a test configures and reads it."""

import io
import json
from typing import Any

from waguard.core.text import logfmt
from waguard.host.system import logs


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def configured(form: str, level: str = "DEBUG", clock: Clock | None = None) -> io.StringIO:
    out = io.StringIO()
    logs.configure(level, form, out, clock=clock or Clock())
    return out


def lines(out: io.StringIO) -> list[str]:
    return out.getvalue().splitlines()


def read(line: str) -> dict[str, Any]:
    """A line of either format, as a program reads it; never None."""
    fields: dict[str, Any] | None = json.loads(line) if line[0] == "{" else logfmt.parse(line)
    assert fields is not None, line
    return fields
