"""The log: logfmt for a person at 3 a.m., JSON for a machine, entries with fields for the journal.

Every line from INFO on has an ``event``: docs/events.md lists them. What a library logs is ``library``.
"""

import json
import logging
import os
import select
import stat
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

import msgspec
from loguru import logger

from waguard.core.text import log_fold, logfmt
from waguard.core.text.redaction import HIDDEN, Redaction
from waguard.errors import printable
from waguard.host.system import journald
from waguard.host.system.journald import Journal
from waguard.host.system.log_names import FIELDS, PRIORITIES
from waguard.host.system.systemd import is_journal

if TYPE_CHECKING:
    from loguru import Message, Record

AT_ONCE: Final = 4_096  # bytes; a pipe or socket that can be written takes so many without waiting
PATIENCE: Final = 0.05  # s for a reader that is slow
# texts by which a person finds it again, and no phone numbers: shown as they are
_EXACT: Final = frozenset({"session", "file", "folder", "event"})
# fields of the journal under their own names; all others are in FIELDS
_OF_JOURNAL: Final = {name: name.upper() for name in ("event", "session", "condition", "worker")}
_FIELDS: Final = FIELDS.encode()
_PRIORITIES: Final = {level.lower(): str(number) for level, number in PRIORITIES.items()}

EVERY: Final = "every"
"""Field of a line that is news each time it is written; it is not shown."""

_redaction: Final = Redaction()
_output: "Output | None" = None


class Line(NamedTuple):
    """What is said at once. ``at`` is ISO 8601 with an offset from UTC; ``fields`` are of JSON's types."""

    at: str
    level: str
    text: str
    fields: dict[str, Any]
    traceback: str = ""


Write = Callable[[bytes, float], bool]
"""Whether it was taken within so many seconds."""


class InterceptHandler(logging.Handler):
    """Sends what libraries log by the standard library to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep level, text and exception."""
        level = record.levelname if record.levelname in PRIORITIES else record.levelno
        logger.bind(event="library", logger=record.name).opt(exception=record.exc_info).log(
            level, "{}", record.getMessage()
        )


def hide(*secrets: str | bytes) -> None:
    """Never log these, whatever quotes them."""
    _redaction.hide(
        one if isinstance(one, str) else one.decode(errors="replace") for one in secrets
    )


def configure(
    level: str,
    form: str,
    out: TextIO | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    journal_socket: Path = journald.SOCKET,
) -> None:
    """``form`` is auto, text or json; auto is the journal's own under systemd, else text."""
    global _output  # noqa: PLW0603 - loguru's logger is one for the process, and so is its output
    flush()
    if _output:
        _output.close()
    _output = _opened(form, out or sys.stderr, clock, journal_socket)
    logger.remove()
    # what the format returns is a template: only the traceback is left to loguru
    logger.add(_output.write, level=level, format=_traceback, catch=True, diagnose=False)
    logging.basicConfig(handlers=[InterceptHandler()], level=logging.WARNING, force=True)
    warnings.showwarning = _warning


def _warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Python's warnings, which hold what came from outside, as lines of the log."""
    logger.bind(event="library", logger=category.__name__).warning("{}", message)


def _traceback(record: "Record") -> str:
    return "{exception}" if record["exception"] else ""


def tick() -> None:
    """Say how often lines were repeated whose time has come; to be called each second or so."""
    if _output:
        _output.tick()


def flush() -> None:
    """Say it now, at the end."""
    if _output:
        _output.flush()


def _opened(
    form: str, stream: TextIO, clock: Callable[[], float], journal_socket: Path
) -> "Output":
    if form == "auto" and is_journal(stream):
        try:
            native = Journal(journal_socket)
        except OSError:
            return Output(_as_prefixed, _Stream(stream).put, clock)
        return Output(_as_entry, native.send, clock, native.close)
    return Output(_as_json if form == "json" else _as_text, _Stream(stream).put, clock)


# ---- one line in each format ----


def _as_text(line: Line) -> bytes:
    return f"{logfmt.encode(_all(line))}\n".encode()


_encode: Final = msgspec.json.Encoder().encode


def _as_json(line: Line) -> bytes:
    return _json(line) + b"\n"


def _json(line: Line) -> bytes:
    """ASCII, so that nothing in it moves a terminal."""
    fields = _all(line)
    try:
        quick = _encode(fields)
    except (
        UnicodeEncodeError,
        TypeError,
        OverflowError,
    ):  # half a character, a path, a large number
        quick = b"\xff"
    return quick if quick.isascii() else json.dumps(fields, default=str).encode()


def _all(line: Line) -> dict[str, Any]:
    """In the order in which they are read."""
    fields = {"at": line.at, "level": line.level}
    if event := line.fields.get("event"):
        fields["event"] = event
    fields["message"] = line.text
    fields.update(line.fields)
    if line.traceback:
        fields["traceback"] = line.traceback
    return fields


def _sentence(line: Line) -> str:
    """As ``journalctl`` shows it: time, level and event are beside it."""
    fields = line.fields
    if "event" in fields:
        fields = fields.copy()
        del fields["event"]
    text = printable(line.text)
    said = f"{text} {logfmt.encode(fields)}" if fields else text
    return f"{said}\n{_lines(line.traceback)}" if line.traceback else said


def _as_prefixed(line: Line) -> bytes:
    """Where the journal reads standard error: each of its lines is an entry."""
    prefix = f"<{_PRIORITIES.get(line.level, '6')}>"
    return "".join(f"{prefix}{one}\n" for one in _sentence(line).split("\n")).encode()


def _as_entry(line: Line) -> bytes:
    fields = [
        ("MESSAGE", _sentence(line)),
        ("PRIORITY", _PRIORITIES.get(line.level, "6")),
        ("SYSLOG_IDENTIFIER", "waguard"),
    ]
    for name, of_journal in _OF_JOURNAL.items():
        if (value := line.fields.get(name)) is not None:
            fields.append((of_journal, str(value)))
    return b"%b%b=%b\n" % (journald.entry(fields), _FIELDS, _json(line))


def _lines(text: str) -> str:
    """The text's lines, with nothing in them that a terminal obeys: they quote what pages and peers say."""
    return "\n".join(map(printable, text.split("\n")))


# ---- from loguru's record to a line ----


def _line(record: "Record", trace: str) -> Line:
    fields = {
        key: value if type(value) is int or key in _EXACT else _shown(value)
        for key, value in record["extra"].items()
        if key != EVERY
    }
    if (found := record["exception"]) and found.value:
        fields["exception"] = f"{type(found.value).__name__}: {_words(found.value)}"
        for error in _all_of(found.value):
            if (words := _words(error)) != (said := str(error)):
                trace = trace.replace(said, words)
                for one in said.splitlines():  # in a group each has a prefix
                    if one not in words:
                        trace = trace.replace(f"| {one}", f"| {HIDDEN}")
        trace = _redaction.of(trace.strip())
    level = record["level"].name.lower()
    return Line(_now(), level, _redaction.of(record["message"]), fields, trace)


_second = (0, "", "")


def _now() -> str:
    """ISO 8601; what is the same for a second is made once."""
    global _second  # noqa: PLW0603 - one for the process
    now = time.time()
    if (seconds := int(now)) != _second[0]:
        at = datetime.fromtimestamp(seconds).astimezone().isoformat()
        _second = seconds, at[:19], at[19:]
    return f"{_second[1]}.{int((now - seconds) * 1000):03}{_second[2]}"


def _words(error: BaseException) -> str:
    # the system's errors quote nothing but names of files
    clean = _redaction.of if isinstance(error, OSError) else _redaction.of_exception
    return clean(str(error))


def _all_of(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came of, and what it consists of."""
    seen, waiting = set[int](), [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [found for found in (one.__cause__, one.__context__) if found]
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()


def _shown(value: Any) -> Any:
    """As JSON has it."""
    kind = type(value)
    if kind is str:
        return _redaction.of(value)
    if value is None or kind is int or kind is bool:
        return value
    if kind is float:
        return round(value, 3) if isfinite(value) else None
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(one) for one in value]
    return _redaction.of(str(value))


class Output:
    """Where lines go, folded. ``close`` ends what ``write`` uses."""

    def __init__(
        self,
        render: Callable[[Line], bytes],
        write: Write,
        clock: Callable[[], float],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._render = render
        self._write = write
        self._clock = clock
        self.close = close
        self._fold = log_fold.Fold[Line]()
        self._lost = 0
        self._guard = threading.RLock()  # what is collected meanwhile may log, too

    def write(self, message: "Message") -> None:
        """A line of loguru's; ``message`` is its traceback."""
        line = _line(message.record, str(message))
        with self._guard:
            if self._fold.ends <= (now := self._clock()):
                self._say_repeated(self._fold.due(now))
            record = message.record
            if record["level"].no >= logging.INFO and EVERY not in record["extra"]:
                what = log_fold.signature(line.level, line.text, line.fields)
                if what is not None and not self._fold.accept(what, line, now):
                    return
            self._say(line)

    def tick(self) -> None:
        """See the function."""
        with self._guard:
            self._say_repeated(self._fold.due(self._clock()))

    def flush(self) -> None:
        """See the function."""
        with self._guard:
            self._say_repeated(self._fold.flush(self._clock()))

    def _say_repeated(self, due: Iterable[log_fold.Repeated[Line]]) -> None:
        for it in due:
            seconds = round(it.seconds)
            fields = it.line.fields | {"repeated": it.times, "seconds": seconds}
            text = f"{it.line.text} ({it.times} more in {seconds} s)"
            self._say(it.line._replace(at=_now(), text=text, fields=fields))

    def _say(self, line: Line) -> None:
        """What nobody reads costs lines and stops nobody; they are counted, and reported when
        somebody reads again."""
        content = self._render(line)
        if not self._lost:
            if not self._write(content, PATIENCE):
                self._lost = 1
            return
        text = f"{self._lost} lines of the log are lost: nobody read it"
        fields = {"event": "log_lines_lost", "count": self._lost}
        lost = Line(_now(), "warning", text, fields)
        if self._write(self._render(lost), 0.0):
            self._lost = 0
        self._lost += not self._write(content, 0.0)


class _Stream:
    """Writes to a file, a terminal or a pipe; one that stands still is not waited for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_cut = False
        self._ready = select.poll()
        self._waits = True
        try:
            self._descriptor = stream.fileno()
            self._ready.register(self._descriptor, select.POLLOUT)
            self._waits = not stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        except (OSError, ValueError):
            self._descriptor = -1

    def put(self, content: bytes, patience: float) -> bool:
        """See ``Write``."""
        if self._descriptor < 0:
            self._stream.write(content.decode())
            self._stream.flush()
            return True
        if self._is_cut:
            content = b"\n" + content
        for start in range(0, len(content), AT_ONCE):
            if not self._put(content[start : start + AT_ONCE], patience):
                self._is_cut = self._is_cut or start > 0
                return False
        self._is_cut = False
        return True

    def _put(self, content: bytes, patience: float) -> bool:
        try:
            if self._waits and not self._ready.poll(patience * 1000):
                return False
            return os.write(self._descriptor, content) > 0
        except OSError:  # the reader is gone
            return False
