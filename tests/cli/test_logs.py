"""``waguard logs``: where the log is, and what of it is shown."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.fake_api import write_pid_file
from tests.cli.program import main
from waguard.cli import log_reading
from waguard.cli.log_reading import FileSource, JournalSource, NoLogError, Wanted
from waguard.host.process import procfs
from waguard.host.system.log_names import FIELDS

TEXT: Final = (
    'at=2026-11-26T10:00:00.000+00:00 level=info event=status message=status session=a after="x y"\n'
    "at=2026-11-26T10:00:01.000+00:00 level=error event=bug message=oops session=b"
    r' traceback="Traceback:\n  line\nValueError: 1"'
    "\nsomebody else's line\n"
    '{"at": "2026-11-26T10:00:02.000+00:00", "level": "warning", "message": "json", "session": "a",'
    ' "count": 7, "why": null}\n'
)
HUMAN: Final = [
    '2026-11-26T10:00:00.000+00:00 INFO    status session=a after="x y" event=status',
    "2026-11-26T10:00:01.000+00:00 ERROR   oops session=b event=bug",
    *("    Traceback:", "      line", "    ValueError: 1"),
    "somebody else's line",
    "2026-11-26T10:00:02.000+00:00 WARNING json session=a count=7",
]


@pytest.fixture
def here(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a runtime folder; no unit is installed."""
    (short_path / "run").mkdir()
    monkeypatch.chdir(short_path)
    return short_path


@pytest.fixture
def running(here: Path) -> Iterator[Path]:
    """A process that logs to a file, and holds the pid file."""
    log = here / "waguard.log"
    with log.open("w") as err, subprocess.Popen(["sleep", "1000"], stderr=err) as process:
        write_pid_file(here, "http://127.0.0.1:1", pid=process.pid)
        yield log
        process.kill()


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    reported = capsys.readouterr()
    assert reported.err == ""
    return reported.out.splitlines()


# ---- a file ----


def test_the_file_that_the_daemon_logs_to(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running.write_text(TEXT)
    assert main(["logs"]) == 0
    assert said(capsys) == HUMAN


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--session", "a"], [HUMAN[0], HUMAN[-1]]),
        (["--session", "none"], []),
        (["--level", "warning"], [*HUMAN[1:5], HUMAN[-1]]),
        (["--level", "ERROR"], HUMAN[1:5]),
        (["-n", "1"], HUMAN[-1:]),
        (["-n", "1", "--session", "b"], HUMAN[1:5]),
    ],
    ids=" ".join,
)
def test_a_part_of_it(
    running: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], shown: list[str]
) -> None:
    running.write_text(TEXT)
    assert main(["logs", *arguments]) == 0
    assert said(capsys) == shown


def test_for_a_machine(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running.write_text(TEXT)
    assert main(["logs", "--json"]) == 0
    status, bug, foreign, last = map(json.loads, said(capsys))
    assert (status["after"], bug["traceback"]) == ("x y", "Traceback:\n  line\nValueError: 1")
    assert foreign == {"message": "somebody else's line"}
    assert (last["count"], last["why"]) == (7, None)


def test_a_file_that_was_removed_is_read_where_it_is_still_written(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running.write_text(TEXT)
    running.unlink()
    assert main(["logs"]) == 0
    assert said(capsys) == HUMAN


def follow(path: Path, *steps: Any, **wanted: Any) -> list[str]:
    """What is shown while each step is taken when there is nothing more to read."""
    waiting = list(steps)

    def pause(_: float) -> None:
        if not waiting:
            raise KeyboardInterrupt
        waiting.pop(0)()

    shown: list[str] = []
    lines = log_reading._file(path, Wanted(lines=100, **wanted), follow=True, pause=pause)
    try:
        shown.extend(entry.fields["message"] for entry in lines)
    except KeyboardInterrupt:
        assert not waiting
        return shown
    raise AssertionError("it ended")


def append(path: Path, text: str) -> Any:
    def write() -> None:
        with path.open("a") as file:
            file.write(text)

    return write


def test_what_comes_is_shown_when_its_line_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n")
    steps = (append(log, "half"), append(log, " a line\nthird\n"))
    assert follow(log, *steps) == ["first", "half a line", "third"]


def test_a_log_that_is_rotated_is_followed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a long first line\n")

    def renamed() -> None:
        log.rename(tmp_path / "log.1")
        log.write_text("in a new file\n")

    def cut() -> None:
        log.write_text("cut\n")

    shown = follow(log, renamed, (tmp_path / "log.1").unlink, cut)
    assert shown == ["a long first line", "in a new file", "cut"]


def test_a_level_is_followed_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    assert follow(log, append(log, TEXT), level="ERROR") == ["oops"]


# ---- the journal ----

JOURNALCTL: Final = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/asked
cat {folder}/journal
cat {folder}/why >&2
exit {code}
"""


@pytest.fixture
def journal(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journalctl that says what lies in a file, and an installed unit."""
    (here / "etc/systemd/system").mkdir(parents=True)
    (here / "etc/systemd/system/waguard.service").touch()
    (here / "bin").mkdir()
    for name in ("journal", "why"):
        (here / name).touch()
    install(here, code=0)
    monkeypatch.setenv("PATH", f"{here / 'bin'}:{os.environ['PATH']}")
    return here


def install(here: Path, *, code: int) -> None:
    program = here / "bin/journalctl"
    program.write_text(JOURNALCTL.format(folder=here, code=code))
    program.chmod(0o755)


OURS: Final = {"at": "2026-11-26T10:00:00.000+00:00", "level": "info", "message": "up", "pid": 7}
ENTRIES: Final = [
    {"MESSAGE": "up pid=7", "PRIORITY": "6", "EVENT": "daemon_up", FIELDS: json.dumps(OURS)},
    {
        "MESSAGE": "Main process exited",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "systemd",
        "__REALTIME_TIMESTAMP": "1790000000000000",
        "SESSION": None,
    },
    {"MESSAGE": json.dumps(OURS), "PRIORITY": "6"},
    {"MESSAGE": [0x63, 0xFF], "PRIORITY": "3", "__REALTIME_TIMESTAMP": "odd"},
    {"MESSAGE": None},
]


def test_the_journal_of_the_unit_where_no_daemon_runs(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what says why none does."""
    (journal / "journal").write_text("\n".join(map(json.dumps, ENTRIES)))
    assert (
        main(["logs", "--session", "a", "--level", "warning", "-n", "7", "-f"], root=journal) == 0
    )
    assert (journal / "asked").read_text().split() == [
        *("--no-pager", "--quiet", "--all", "--output=json"),
        *("--unit", "waguard.service", "--lines", "7"),
        *("--priority", "4", "SESSION=a", "--follow"),
    ]
    assert said(capsys) == []
    assert main(["logs"], root=journal) == 0
    ours, systemd, again, odd, empty = said(capsys)
    assert ours == again == "2026-11-26T10:00:00.000+00:00 INFO    up pid=7"
    assert systemd.endswith(" WARNING Main process exited program=systemd")
    assert "2026-09-2" in systemd
    assert odd == "ERROR   c\ufffd"
    assert empty == ""


def test_a_journal_that_may_not_be_read(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (journal / "why").write_text("No journal files were opened due to insufficient permissions.\n")
    install(journal, code=1)
    assert main(["logs"], root=journal) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("waguard: No journal files were opened due to insufficient permissions.")
    assert "systemd-journal" in line


def test_logs_without_journalctl_say_what_is_missing(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["logs"], root=journal) == 1
    assert "journalctl is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/waguard.service\n", JournalSource(unit="waguard.service")),
        (
            "4:memory:/system.slice/x.service\n1:name=systemd:/system.slice/waguard.service\n0::/\n",
            JournalSource(unit="waguard.service"),
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/w.service\n",
            JournalSource(unit="w.service", of_user=True),
        ),
        ("0::/user.slice/user-0.slice/session-1.scope\n", None),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_the_unit_of_a_process(cgroup: str, unit: JournalSource | None) -> None:
    assert log_reading.unit_of(cgroup) == unit


# ---- which of them ----


def test_a_daemon_of_a_unit_that_logs_to_a_file(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reading, "unit_of", lambda _: JournalSource(unit="w.service"))
    assert log_reading.find(running.parent / "run") == FileSource(path=running)


def test_a_daemon_of_a_unit_that_logs_to_the_journal(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = JournalSource(unit="w.service")
    monkeypatch.setattr(log_reading, "unit_of", lambda _: unit)
    reading, writing = socket.socketpair()
    with reading, writing, subprocess.Popen(["sleep", "1000"], stderr=writing.fileno()) as process:
        inode = os.fstat(writing.fileno()).st_ino
        monkeypatch.setattr(procfs, "environment", lambda _: {"JOURNAL_STREAM": f"9:{inode}"})
        write_pid_file(here, "http://127.0.0.1:1", pid=process.pid)
        assert log_reading.find(here / "run") == unit
        process.kill()


def test_a_daemon_whose_output_goes_to_another_program(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen(["sleep", "1000"], stderr=subprocess.PIPE) as process:
        write_pid_file(here, "http://127.0.0.1:1", pid=process.pid)
        assert main(["logs"]) == 1
        process.kill()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"pid {process.pid}, and its standard error is pipe:[" in line
    assert "read the log of whatever started it" in line


def test_neither_a_daemon_nor_a_unit(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoLogError):
        log_reading.find(here / "run", here)
    assert main(["logs"], root=here) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"waguard: no waguard runs with {here / 'run'}, and no waguard.service")


def test_a_terminal_gets_colours_unless_it_wants_none(
    running: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running.write_text(TEXT)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["logs"]) == 0
    shown = said(capsys)
    assert shown[0] == HUMAN[0]
    assert shown[1:5] == [f"\x1b[31m{HUMAN[1]}", *HUMAN[2:4], f"{HUMAN[4]}\x1b[0m"]
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["logs"]) == 0
    assert said(capsys) == HUMAN
