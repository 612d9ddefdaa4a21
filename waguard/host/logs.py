"""Logs for a person at 3 a.m., for the journal, or as JSON for a machine."""

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

from loguru import logger

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
        )
    else:
        journal = form == "auto" and "JOURNAL_STREAM" in os.environ
        logger.add(
            stream, level=level, format=_journal if journal else _text, catch=True, diagnose=False
        )
    logging.basicConfig(handlers=[InterceptHandler()], level=logging.WARNING, force=True)


def _identity(record: "Record") -> str:
    return "".join(f" {key}={value}" for key, value in record["extra"].items())


def _text(record: "Record") -> str:
    return (
        "{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} {message}"
        + _escape(_identity(record))
        + "\n{exception}"
    )


def _journal(record: "Record") -> str:
    prefix = f"\\<{_PRIORITIES.get(record['level'].name, 6)}>"
    return prefix + "{message}" + _escape(_identity(record)) + "\n{exception}"


def _escape(text: str) -> str:
    # what a format function returns is a template: braces and tags in values are text
    return text.replace("{", "{{").replace("}", "}}").replace("<", "\\<")


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


def _write(stream: TextIO, line: str) -> None:
    stream.write(line)
    stream.flush()
