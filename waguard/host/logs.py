"""Logs for a person at 3 a.m., for the journal, or as JSON for a machine."""

import json
import logging
import os
import select
import sys
from typing import TYPE_CHECKING, Final, TextIO

from loguru import logger

from waguard.errors import printable
from waguard.host.systemd import is_journal

if TYPE_CHECKING:
    from loguru import Message, Record

AT_ONCE: Final = 4_096  # bytes; a pipe or socket that can be written takes so many without waiting
PATIENCE: Final = 0.05  # s for a reader that is slow
# sd-daemon(3): the journal takes the priority from a prefix
_PRIORITIES: Final = {"DEBUG": 7, "INFO": 6, "SUCCESS": 5, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class InterceptHandler(logging.Handler):
    """Sends what libraries log by the standard library to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep level, text and exception."""
        level = record.levelname if record.levelname in _PRIORITIES else record.levelno
        logger.bind(logger=record.name).opt(exception=record.exc_info).log(
            level, "{}", record.getMessage()
        )


def configure(level: str, form: str, out: TextIO | None = None) -> None:
    """``form`` is auto, text or json; auto means the journal's prefix under systemd."""
    stream = out or sys.stderr
    lines = _Lines(stream)
    logger.remove()
    if form == "json":
        logger.add(
            lambda message: lines.write(_json(message)),
            level=level,
            format="{message}",
            catch=True,
            diagnose=False,
        )
    else:
        journal = form == "auto" and is_journal(stream)
        logger.add(
            lambda message: lines.write(_harmless(message)),
            level=level,
            format=_journal if journal else _text,
            catch=True,
            diagnose=False,
        )
    logging.basicConfig(handlers=[InterceptHandler()], level=logging.WARNING, force=True)


# what a format function returns is a template: values reach it as arguments, so that braces and
# tags in them stay text
_IDENTITY: Final = "identity of the line"
_TAIL: Final = f"{{message}}{{extra[{_IDENTITY}]}}\n{{exception}}"


def _identify(record: "Record") -> None:
    extra = record["extra"]
    extra[_IDENTITY] = "".join(f" {key}={printable(str(value))}" for key, value in extra.items())


def _text(record: "Record") -> str:
    _identify(record)
    return "{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} " + _TAIL


def _journal(record: "Record") -> str:
    _identify(record)
    return f"\\<{_PRIORITIES.get(record['level'].name, 6)}>" + _TAIL


def _json(message: "Message") -> str:
    record = message.record
    line = {
        "at": record["time"].isoformat(),
        "level": record["level"].name.lower(),
        "message": record["message"],
        **{key: str(value) for key, value in record["extra"].items()},
    }
    if record["exception"]:
        line["exception"] = repr(record["exception"].value)
    return json.dumps(line) + "\n"


def _harmless(text: str) -> str:
    """Its lines, with nothing in them that a terminal obeys: they quote what pages and peers say."""
    return "\n".join(map(printable, text.split("\n")))


class _Lines:
    """Writes lines where somebody reads them: a journal that stands still, or a terminal that was
    stopped, costs lines and stops nobody. What is lost meanwhile is counted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0
        self._is_cut = False
        try:
            self._descriptor = stream.fileno()
        except (OSError, ValueError):
            self._descriptor = -1

    def write(self, line: str) -> None:
        """Wait for a reader, but not for long, and not again before there is one."""
        if self._descriptor < 0:
            self._stream.write(line)
            self._stream.flush()
            return
        if self._lost:
            lost = f"{self._lost} lines of the log are lost: nobody read it\n"
            line = "\n" * self._is_cut + lost + line
        content = line.encode(errors="replace")
        for start in range(0, len(content), AT_ONCE):
            patience = 0.0 if self._lost else PATIENCE
            if not self._put(content[start : start + AT_ONCE], patience):
                self._is_cut = self._is_cut or start > 0
                self._lost += 1
                return
        self._lost, self._is_cut = 0, False

    def _put(self, content: bytes, patience: float) -> bool:
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        try:
            return bool(ready.poll(patience * 1000)) and bool(os.write(self._descriptor, content))
        except OSError:  # the reader is gone
            return False
