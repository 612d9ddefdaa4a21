"""The log: its formats, repetitions, and a reader that is gone or stands still."""

import io
import json
import logging
import os
import re
import socket
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
from loguru import logger

from tests.host.log_lines import Clock, configured, lines, read
from tests.host.test_journald import Journald, listen
from waguard.core.text.log_fold import WINDOW
from waguard.errors import printable
from waguard.host.system import logs
from waguard.wire import protocol

pytestmark = pytest.mark.usefixtures("logging_restored")

# each is text, whatever it means to the formatter, the terminal's colours or a template
ODD: Final = [
    *("{x}", "{}", "{", "}", "{{}}", "{0}", "{level}", "{extra[session]}", "{message!r:>9}"),
    *("<red>a</red>", "<red>", "</>", "<b", "<level>", "\\<red>", "\\\\<red>", "\\", "<<>>"),
    *(
        "%s %(x)s",
        "é 👋",
        "\x1b[31m",
        "a\tb",
        'say "a=b"',
        "a=b",
        "two\nlines\r\n",
        "\u202e\x9b",
        "",
    ),
]


# ---- the formats ----


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("value", ODD)
def test_a_line_is_read_back_as_it_was_said(form: str, value: str) -> None:
    out = configured(form)
    logger.bind(session=value).warning("a worker said {}", value, event="page_odd", why=value)
    (line,) = lines(out)
    assert line.isprintable()
    found = read(line)
    assert datetime.fromisoformat(found.pop("at")).utcoffset() is not None
    assert found == {
        "level": "warning",
        "event": "page_odd",
        "message": f"a worker said {value}",
        "session": value,
        "why": value,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_warning_of_python_is_a_line_of_the_log(
    form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Libraries warn with what came from outside."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        out = configured(form)
        warnings.warn("a header: \x1b[2J\r\n", RuntimeWarning, stacklevel=1)
    (line,) = lines(out)
    assert line.isprintable()
    found = read(line)
    assert (found["level"], found["event"], found["logger"], found["message"]) == (
        *("warning", "library", "RuntimeWarning"),
        "a header: \x1b[2J\r\n",
    )
    assert capfd.readouterr() == ("", "")


def test_a_line_begins_with_time_level_and_event() -> None:
    out = configured("text")
    logger.info("worker started", worker=7, event="worker_started")
    assert re.fullmatch(
        r"at=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d level=info event=worker_started"
        r' message="worker started" worker=7\n',
        out.getvalue(),
    )


def test_json_has_types() -> None:
    out = configured("json")
    given = {"a": 7, "b": 1.5, "c": True, "d": None, "e": "7", "f": ["x", 1], "g": float("nan")}
    logger.info(
        "x",
        **given,
        h=Path("/x"),
        i=frozenset({1}),
        j=protocol.Stored(seq=1),
        file=Path("/f"),
        k=1 << 70,
    )
    (line,) = [json.loads(line) for line in lines(out)]
    del line["at"]
    odd = {"g": None, "h": "/x", "i": [1], "j": "Stored(seq=1)", "file": "/f", "k": 1 << 70}
    assert line == {"level": "info", "message": "x", **given, **odd}


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_below_the_level_is_left_out(form: str) -> None:
    out = configured(form, "WARNING")
    logger.info("small")
    logger.warning("large")
    assert "small" not in out.getvalue()
    assert "large" in out.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_a_part_of_its_line_without_local_values(form: str) -> None:
    out = configured(form)
    secret = "sesame"
    try:
        int(secret.replace("sesame", "{x}<red>"))
    except ValueError:
        logger.bind(session="a").exception("a bug", event="bug")
    (line,) = map(read, lines(out))
    said = "ValueError: invalid literal for int() with base 10: '{x}<red>'"
    assert (line["message"], line["level"], line["exception"]) == ("a bug", "error", said)
    assert line["traceback"].startswith("Traceback")
    assert line["traceback"].endswith(said)
    assert "sesame'" not in out.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_library_is_heard_with_its_name(form: str) -> None:
    out = configured(form)
    logging.getLogger("aiohttp.access").warning("%s {x} <red>", "GET /")
    logging.getLogger("aiohttp.access").info("too small")
    (line,) = map(read, lines(out))
    assert (line["message"], line["event"]) == ("GET / {x} <red>", "library")
    assert line["logger"] == "aiohttp.access"


def test_a_library_with_levels_of_its_own_and_an_exception() -> None:
    out = configured("text")
    logging.getLogger("lib").log(35, "odd")
    try:
        raise KeyError("k")  # noqa: TRY301  # something to log
    except KeyError:
        logging.getLogger("lib").exception("failed")
    odd, failed = map(read, lines(out))
    assert (odd["message"], odd["level"], odd["logger"]) == ("odd", "level 35", "lib")
    assert failed["exception"] == "KeyError: 'k'"


def test_configuring_again_does_not_say_things_twice() -> None:
    configured("text")
    out = configured("text", "INFO")
    logger.info("once")
    logging.getLogger("lib").warning("once")
    assert len(lines(out)) == 2


# ---- repetitions ----


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_storm_is_one_line_and_then_a_count(form: str) -> None:
    clock = Clock()
    out = configured(form, clock=clock)
    for number in range(38):
        logger.error("webhook not taken", event="webhook_failed", session="a", id=number)
        clock.now += 1
    logs.tick()
    assert len(lines(out)) == 1
    clock.now = 100 + WINDOW
    logs.tick()
    first, last = map(read, lines(out))
    assert (first["message"], int(first["id"])) == ("webhook not taken", 0)
    assert last["message"] == "webhook not taken (37 more in 60 s)"
    assert (int(last["repeated"]), int(last["seconds"]), int(last["id"])) == (37, 60, 37)
    assert (last["event"], last["session"], last["level"]) == ("webhook_failed", "a", "error")


def test_a_line_of_another_kind_says_what_is_due() -> None:
    clock = Clock()
    out = configured("text", clock=clock)
    logger.error("down")
    logger.error("down")
    clock.now += WINDOW
    logger.info("something else")
    assert [read(line)["message"] for line in lines(out)] == [
        *("down", "down (1 more in 60 s)", "something else"),
    ]


def test_errors_of_different_text_do_not_fold_into_one() -> None:
    out = configured("text")
    for why in ("HTTP 500", "HTTP 404", "HTTP 500"):
        logger.error("webhook not taken", event="webhook_failed", why=why)
        logger.opt(exception=ValueError(why)).error("a bug", event="bug")
    said = [(line.get("why") or line["exception"]) for line in map(read, lines(out))]
    assert said == ["HTTP 500", "ValueError: HTTP 500", "HTTP 404", "ValueError: HTTP 404"]


def test_what_is_news_each_time_is_not_folded() -> None:
    out = configured("text")
    for _ in range(2):
        logger.error("configuration kept as it was", event="config_rejected", every=True)
    assert [read(line)["event"] for line in lines(out)] == ["config_rejected"] * 2
    assert "every" not in out.getvalue()


def test_details_are_not_folded() -> None:
    out = configured("text")
    logger.debug("a request")
    logger.debug("a request")
    assert len(lines(out)) == 2


@pytest.mark.parametrize(
    "again", [logs.flush, lambda: logs.configure("INFO", "text", io.StringIO())]
)
def test_nothing_is_lost_at_the_end_or_at_a_reload(again: Any) -> None:
    clock = Clock()
    out = configured("text", clock=clock)
    for _ in range(3):
        logger.warning("slow")
    clock.now += 5
    again()
    again()
    assert [read(line)["message"] for line in lines(out)] == ["slow", "slow (2 more in 5 s)"]


# ---- a log that nobody reads ----


def test_a_log_that_nobody_reads_stops_nobody_and_says_what_is_lost() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as writer:
        logs.configure("INFO", "text", writer)
        try:
            for number in range(2_000):
                logger.info("line {} {}", number, "x" * 100)
            logger.info("long {}", "y" * 100_000)
            first = reader.read(1 << 20)
            for number in range(1_000):
                logger.info("at last {}", number)
                first += reader.read(1 << 20)
                if b"at last" in first:
                    break
        finally:
            logs.configure("INFO", "text")
    text = first.decode()
    assert "line 0 " in text
    assert re.search(
        r'\nat=\S+ level=warning event=log_lines_lost message="\d+ lines of the log are lost: nobody'
        r' read it" count=\d+\n',
        text,
    )
    assert re.search(r'message="at last \d+"\n\Z', text)


def test_a_journal_that_does_not_read_hears_how_many_lines_it_lost(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "is_journal", lambda _: True)
    path = short_path / "j"
    with listen(path) as listener:
        logs.configure("INFO", "auto", journal_socket=path)
        for number in range(1_000):
            logger.info("line {}", number)
        listener.settimeout(0)
        read_until_empty(listener)
        logger.info("at last")
        journald = Journald(path, listener)
        lost, last = journald.entry(), journald.entry()
        logs.configure("INFO", "text")
    assert (lost["EVENT"], last["MESSAGE"]) == ("log_lines_lost", "at last")
    assert 0 < json.loads(lost["WAGUARD_FIELDS"])["count"] < 1_000


def read_until_empty(listener: socket.socket) -> None:
    try:
        while True:
            listener.recv(1 << 20)
    except BlockingIOError:
        return


def test_a_log_whose_reader_is_gone_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as writer:
        logs.configure("INFO", "text", writer)
        try:
            logger.info("nobody hears this")
        finally:
            logs.configure("INFO", "text")


def test_escapes_are_those_of_a_terminal_line() -> None:
    """The journal's own lines, too."""
    value = "\x1b[2J\x9b\x07\u202e"
    out = configured("text")
    logger.error("a page said {}", value)
    assert printable(value) not in out.getvalue()
    assert out.getvalue()[:-1].isprintable()
