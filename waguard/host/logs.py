"""Logs for a person at 3 a.m., for the journal, or as JSON for a machine."""

import json
import logging
import sys
from typing import TYPE_CHECKING, Final, TextIO

from loguru import logger

from waguard.errors import printable
from waguard.host.systemd import is_journal

if TYPE_CHECKING:
    from loguru import Message, Record

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
    logger.remove()
    if form == "json":
        logger.add(
            lambda message: _write(stream, _json(message)),
            level=level,
            format="{message}",
            catch=True,
            diagnose=False,
        )
    else:
        journal = form == "auto" and is_journal(stream)
        logger.add(
            lambda message: _write(stream, _harmless(message)),
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


def _write(stream: TextIO, line: str) -> None:
    stream.write(line)
    stream.flush()
