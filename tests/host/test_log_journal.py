"""The log under systemd: entries of the journal, or lines with priorities."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from loguru import logger

from tests.host.log_lines import read
from tests.host.processes import clean_environment
from tests.host.test_journald import Journald, listen
from waguard.host.system import logs

pytestmark = pytest.mark.usefixtures("logging_restored")


LINES: Final = """
from loguru import logger
from pathlib import Path
from waguard.host.system import logs
logs.configure("DEBUG", "{form}", journal_socket=Path("{socket}"))
logger.bind(session="<red>{{}}").info("up", event="daemon_up")
logger.warning("slow")
logger.critical("down", condition="disk_low", why="two\\nlines")
"""


def said_to(
    folder: Path, form: str, journal_stream: str | None, socket: Path | str = "/none"
) -> list[str]:
    """On standard error, which is a file; the variable may name it, as under systemd."""
    with (folder / "err").open("w+") as err:
        stat = os.fstat(err.fileno())
        named = {"this": f"{stat.st_dev}:{stat.st_ino}", "another": f"{stat.st_dev}:1"}
        environ = {"JOURNAL_STREAM": named[journal_stream]} if journal_stream else {}
        subprocess.run(
            [sys.executable, "-c", LINES.format(form=form, socket=socket)],
            stderr=err,
            env=clean_environment(environ),
            check=True,
        )
        err.seek(0)
        return err.read().splitlines()


def test_the_journal_gets_entries_with_fields(tmp_path: Path, short_path: Path) -> None:
    path = short_path / "j"
    with listen(path) as listener:
        assert said_to(tmp_path, "auto", "this", path) == []
        journald = Journald(path, listener)
        up, slow, down = journald.entry(), journald.entry(), journald.entry()
    assert up.pop("WAGUARD_FIELDS").startswith('{"at":"')
    assert up == {
        "MESSAGE": "up session=<red>{}",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "waguard",
        "EVENT": "daemon_up",
        "SESSION": "<red>{}",
    }
    assert (slow["PRIORITY"], slow["MESSAGE"]) == ("4", "slow")
    assert down["MESSAGE"] == r'down condition=disk_low why="two\nlines"'
    assert (down["CONDITION"], down["PRIORITY"]) == ("disk_low", "2")
    assert json.loads(down["WAGUARD_FIELDS"])["why"] == "two\nlines"


def test_a_traceback_is_a_part_of_its_entry(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "is_journal", lambda _: True)
    path = short_path / "j"
    with listen(path) as listener:
        logs.configure("INFO", "auto", journal_socket=path)
        try:
            raise ValueError("x" * 300_000)  # noqa: TRY301  # something to log
        except ValueError:
            logger.exception("a bug", event="bug")
        entry = Journald(path, listener).entry()
        logs.configure("INFO", "text")
    assert entry["MESSAGE"].startswith("a bug exception=")
    assert "\nTraceback (most recent call last):\n" in entry["MESSAGE"]
    assert len(entry["MESSAGE"]) > 300_000


def test_without_its_socket_the_journal_gets_priorities(tmp_path: Path) -> None:
    assert said_to(tmp_path, "auto", "this") == [
        *("<6>up session=<red>{}", "<4>slow", r'<2>down condition=disk_low why="two\nlines"'),
    ]


@pytest.mark.parametrize(
    ("form", "journal_stream"), [("auto", None), ("auto", "another"), ("text", "this")]
)
def test_only_the_journal_gets_entries(
    tmp_path: Path, form: str, journal_stream: str | None
) -> None:
    """The variable is inherited by everything that a service starts, with output elsewhere too."""
    lines = [read(line) for line in said_to(tmp_path, form, journal_stream)]
    assert [(line["level"], line["message"]) for line in lines] == [
        *(("info", "up"), ("warning", "slow"), ("critical", "down")),
    ]


def test_json_goes_to_standard_error_under_systemd_too(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in said_to(tmp_path, "json", "this")]
    assert [line["level"] for line in lines] == ["info", "warning", "critical"]
