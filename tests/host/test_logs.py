import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from loguru import logger

from tests.host.processes import clean_environment
from waguard.errors import printable
from waguard.host import logs

# each is text, whatever it means to the formatter, the terminal's colours or a template
ODD: Final = [
    *("{x}", "{}", "{", "}", "{{}}", "{0}", "{level}", "{extra[session]}", "{message!r:>9}"),
    *("<red>a</red>", "<red>", "</>", "<b", "<level>", "\\<red>", "\\\\<red>", "\\", "<<>>"),
    *("%s %(x)s", "é 👋", "\x1b[31m", "a\tb"),
]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Everything that logs in this process is again as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []  # `configure` closes what it finds there
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logger.remove()
    logger.add(sys.stderr)


def configured(form: str, level: str = "DEBUG") -> io.StringIO:
    out = io.StringIO()
    logs.configure(level, form, out)
    return out


def told(out: io.StringIO) -> list[str]:
    return out.getvalue().splitlines()


@pytest.mark.parametrize("value", ODD)
def test_text_shows_values_as_they_are_but_for_control_characters(value: str) -> None:
    out = configured("text")
    logger.bind(session=value, code=7).info("a worker said {}", value)
    (line,) = told(out)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO    ", line)
    shown = printable(value)
    assert line.endswith(f" a worker said {shown} session={shown} code=7")


@pytest.mark.parametrize("value", ODD)
def test_json_shows_values_as_they_are(value: str) -> None:
    out = configured("json")
    logger.bind(session=value, code=7).warning("a worker said {}", value)
    (line,) = [json.loads(line) for line in told(out)]
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "level": "warning",
        "message": f"a worker said {value}",
        "session": value,
        "code": "7",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_value_with_line_ends_stays_in_its_line(form: str) -> None:
    """Or else what comes from outside could write lines of its own."""
    out = configured(form)
    logger.bind(session="a\nERROR forged\r\n").info("said")
    (line,) = told(out)
    assert r"session=a\nERROR forged\r\n" in line or r'"a\nERROR forged\r\n"' in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_below_the_level_is_left_out(form: str) -> None:
    out = configured(form, "WARNING")
    logger.info("small")
    logger.warning("large")
    assert "small" not in out.getvalue()
    assert "large" in out.getvalue()


def test_an_exception_is_shown_without_the_values_around_it() -> None:
    out = configured("text")
    secret = "sesame"
    try:
        int(secret.replace("sesame", "{x}<red>"))
    except ValueError:
        logger.bind(session="a").exception("a bug")
    lines = told(out)
    assert lines[0].endswith("a bug session=a")
    assert lines[1].startswith("Traceback")
    assert lines[-1] == "ValueError: invalid literal for int() with base 10: '{x}<red>'"
    assert "sesame'" not in out.getvalue()


def test_no_part_of_a_line_moves_the_terminal() -> None:
    value = "\x1b[2J\x9b\x07\r\u202e"
    out = configured("text")
    logger.bind(why=value).opt(exception=ValueError(value)).error("a page said {}", value)
    assert all(line.isprintable() for line in out.getvalue().split("\n"))
    assert r"ValueError: \x1b[2J\x9b\x07\r\u202e" in out.getvalue()


def test_an_exception_as_json_is_one_line() -> None:
    out = configured("json")
    try:
        raise ValueError("a\nb")  # noqa: TRY301  # something to log
    except ValueError:
        logger.exception("a bug")
    (line,) = [json.loads(line) for line in told(out)]
    assert line["exception"] == r"ValueError('a\nb')"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_library_is_heard_with_its_name(form: str) -> None:
    out = configured(form)
    logging.getLogger("aiohttp.access").warning("%s {x} <red>", "GET /")
    logging.getLogger("aiohttp.access").info("too small")
    (line,) = told(out)
    if form == "text":
        assert line.endswith("WARNING GET / {x} <red> logger=aiohttp.access")
    else:
        assert json.loads(line)["message"] == "GET / {x} <red>"
        assert json.loads(line)["logger"] == "aiohttp.access"


def test_a_library_with_levels_of_its_own_and_an_exception() -> None:
    out = configured("text")
    logging.getLogger("lib").log(35, "odd")
    try:
        raise KeyError("k")  # noqa: TRY301  # something to log
    except KeyError:
        logging.getLogger("lib").exception("failed")
    assert "odd logger=lib" in out.getvalue()
    assert out.getvalue().rstrip().endswith("KeyError: 'k'")


def test_configuring_again_does_not_say_things_twice() -> None:
    configured("text")
    out = configured("text", "INFO")
    logger.info("once")
    logging.getLogger("lib").warning("once")
    assert len(told(out)) == 2


LINES: Final = """
from loguru import logger
from waguard.host import logs
logs.configure("DEBUG", "{form}")
logger.bind(session="<red>{{}}").info("up")
logger.warning("slow")
logger.critical("down")
"""


def said_to(folder: Path, form: str, journal_stream: str | None) -> list[str]:
    """On standard error, which is a file; the variable may name it, as under systemd."""
    with (folder / "err").open("w+") as err:
        stat = os.fstat(err.fileno())
        named = {"this": f"{stat.st_dev}:{stat.st_ino}", "another": f"{stat.st_dev}:1"}
        environ = {"JOURNAL_STREAM": named[journal_stream]} if journal_stream else {}
        subprocess.run(
            [sys.executable, "-c", LINES.format(form=form)],
            stderr=err,
            env=clean_environment(environ),
            check=True,
        )
        err.seek(0)
        return err.read().splitlines()


def test_the_journal_gets_priorities(tmp_path: Path) -> None:
    assert said_to(tmp_path, "auto", "this") == ["<6>up session=<red>{}", "<4>slow", "<2>down"]


@pytest.mark.parametrize(
    ("form", "journal_stream"), [("auto", None), ("auto", "another"), ("text", "this")]
)
def test_only_the_journal_gets_them(tmp_path: Path, form: str, journal_stream: str | None) -> None:
    """The variable is inherited by everything that a service starts, with output elsewhere too."""
    lines = said_to(tmp_path, form, journal_stream)
    assert [line[24:] for line in lines] == [
        *("INFO    up session=<red>{}", "WARNING slow", "CRITICAL down"),
    ]


def test_json_has_no_priorities(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in said_to(tmp_path, "json", "this")]
    assert [line["level"] for line in lines] == ["info", "warning", "critical"]


def test_a_log_that_nobody_reads_stops_nobody_and_says_what_is_lost() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as writer:
        logs.configure("INFO", "text", writer)
        try:
            for number in range(2_000):
                logger.info("line {} {}", number, "x" * 100)
            logger.info("long {}", "y" * 100_000)
            first = reader.read(1 << 20)
            while b"at last" not in first:
                logger.info("at last")
                first += reader.read(1 << 20)
        finally:
            logs.configure("INFO", "text")
    text = first.decode()
    assert "line 0 " in text
    assert re.search(r"\n\d+ lines of the log are lost: nobody read it\n", text)
    assert text.endswith("at last\n")


def test_a_log_whose_reader_is_gone_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as writer:
        logs.configure("INFO", "text", writer)
        try:
            logger.info("nobody hears this")
        finally:
            logs.configure("INFO", "text")
