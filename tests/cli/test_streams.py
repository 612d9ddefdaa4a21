"""Where a command's output goes: a reader that leaves, a full disk, nowhere; a terminal; and stdin."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main
from tests.host.processes import clean_environment
from waguard.cli.qr import Screen

MANY: Final = [
    {"session_id": f"s{it}", "workspace_id": 1, "status": "connected"} for it in range(5000)
]
FULL: Final = "waguard: the output is not complete: No space left on device\n"
LIST: Final = ("sessions", "list")


def outcome(
    folder: Path, *arguments: str, script: str = '"$@"', unbuffered: str = ""
) -> tuple[int, str]:
    """The exit code, and stderr, of a command that a shell starts."""
    done = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "waguard", *arguments],
        cwd=folder,
        env=clean_environment({"PYTHONUNBUFFERED": unbuffered}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("sessions", [MANY, []], ids=["much", "little"])
def test_a_reader_that_has_seen_enough_is_no_error(
    api: Api, short_path: Path, sessions: list[Any]
) -> None:
    """``| head``; little is written only at the end. The pid file names this process."""
    api.says("GET /api/sessions", Answer(200, {"sessions": sessions}))
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [sys.executable, "-m", "waguard", *LIST],
        cwd=short_path,
        env=clean_environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
    ) as asking:
        os.close(writer)
        _, err = asking.communicate(timeout=45)
    assert (asking.returncode, err) == (0, b"")


@pytest.mark.parametrize("sessions", [MANY, []], ids=["much", "little"])
def test_a_full_disk(api: Api, short_path: Path, sessions: list[Any]) -> None:
    api.says("GET /api/sessions", Answer(200, {"sessions": sessions}))
    assert outcome(short_path, *LIST, script='"$@" >/dev/full') == (1, FULL)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "ascii:strict"])
def test_a_terminal_that_is_not_utf_8_shows_all_the_rest(
    api: Api, short_path: Path, encoding: str
) -> None:
    """A remedy begins with an arrow; the name of a number may hold anything."""
    condition = {"session_id": None, "severity": "warning", "message": "é 👋", "remedy": "do it"}
    answer = {**HEALTH, "conditions": [condition], "details": []}
    api.says("GET /health/detailed", Answer(200, answer))
    for more in ((), ("--json",)):
        script = f'PYTHONIOENCODING={encoding} "$@" >shown'
        assert outcome(short_path, "status", *more, script=script) == (5, "")
        assert b"do it" in (short_path / "shown").read_bytes()
    assert "é 👋" in json.dumps(json.loads((short_path / "shown").read_text()), ensure_ascii=False)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [("--version",), ("status", "--help")])
def test_a_full_disk_and_a_help(
    short_path: Path, arguments: tuple[str, ...], unbuffered: str
) -> None:
    found = outcome(short_path, *arguments, script='"$@" >/dev/full', unbuffered=unbuffered)
    assert found == (1, FULL)


def test_a_full_disk_for_both_streams(api: Api, short_path: Path) -> None:
    api.says("GET /api/sessions", Answer(200, {"sessions": MANY}))
    assert outcome(short_path, *LIST, script='"$@" >/dev/full 2>&1; [ $? != 0 ]') == (0, "")


NAMES: Final = [f"s{it}" for it in range(30)]
STOPS: Final = {f"POST /api/sessions/{it}/stop" for it in NAMES}


def stopping(api: Api) -> None:
    """Sessions of which each can be stopped, but the last one."""
    listed = [{"session_id": it, "workspace_id": 1} for it in NAMES]
    api.says("GET /api/sessions", Answer(200, {"sessions": listed}))
    for request in STOPS:
        api.says(request, Answer(200, {"status": "disconnected"}))
    api.says(f"POST /api/sessions/{NAMES[-1]}/stop", Answer(503, {"error": "busy"}))


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize(
    ("to", "err"),
    [
        (">&$left", f"waguard: {NAMES[-1]}: busy\n"),
        (">&$left 2>&1", ""),
        (">/dev/full", f"waguard: {NAMES[-1]}: busy\n{FULL}"),
        (">/dev/full 2>&1", ""),
    ],
)
def test_all_are_changed_whoever_reads_it(
    api: Api, short_path: Path, to: str, err: str, more: tuple[str, ...], unbuffered: str
) -> None:
    """``sessions stop --all | head``: all are stopped, and the exit code says that one was not."""
    stopping(api)
    # a pipe whose reader has left; the shell itself must not be the one that reads
    script = f'exec {{left}}> >(:); wait $!; "$@" {to}'
    arguments = ("sessions", "stop", "--all", *more)
    found = outcome(short_path, *arguments, script=script, unbuffered=unbuffered)
    assert {request for request, _ in api.asked} - {"GET /api/sessions"} == STOPS
    assert found == (1, err)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [(), ("--json",), ("a",)], ids=" ".join)
def test_the_exit_code_is_that_of_the_command_also_where_its_reader_left(
    api: Api, short_path: Path, arguments: tuple[str, ...], unbuffered: str
) -> None:
    condition = {"session_id": "a", "severity": "error", "message": "it failed", "remedy": "see"}
    unwell = {
        **FAILED,
        "conditions": [condition | {"degrades": True, "since": None}],
    }
    details = [unwell] if "a" in arguments else []
    api.says("GET /health/detailed", Answer(200, {**HEALTH, "details": details}))
    script = 'exec {left}> >(:); wait $!; "$@" >&$left'
    found = outcome(short_path, "status", *arguments, script=script, unbuffered=unbuffered)
    assert found == (5, "")


def test_an_error_that_nobody_can_read_keeps_its_exit_code(api: Api, short_path: Path) -> None:
    script = 'exec {left}> >(:); wait $!; "$@" 2>&$left'
    assert outcome(short_path, "sessions", "show", "x", script=script) == (1, "")
    assert outcome(short_path, "sessions", "show", "x", "--all", script=script) == (2, "")


def test_closed_streams_change_no_exit_code(api: Api, short_path: Path) -> None:
    api.says("GET /api/sessions", Answer(200, {"sessions": MANY}))
    assert outcome(short_path, *LIST, script='"$@" >&-') == (0, "")
    assert outcome(short_path, *LIST, script='"$@" >&- 2>&- <&-') == (0, "")
    assert outcome(short_path, "sessions", "show", "x", script='"$@" 2>&-')[0] == 1


def test_an_error_of_the_system_that_is_not_stdouts_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: object) -> None:
        raise OSError(28, "No space left on device", "/var/lib/x")

    monkeypatch.setattr("waguard.cli.sessions.connect", broken)
    with pytest.raises(OSError, match="/var/lib/x"):
        main(LIST)


# ---- a terminal ----


class Terminal(io.StringIO):
    """Keeps what it is told."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """From now on, in the test itself: pytest sets a stdout of its own before each."""
    found = Terminal()
    monkeypatch.setattr(sys, "stdout", found)
    for name, value in {"COLUMNS": "100", "LINES": "60", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return found


HEALTH: Final = {"status": "degraded", "sessions": {"total": 1, "connected": 0}, "conditions": []}
FAILED: Final = {"session_id": "a", "workspace_id": 1, "status": "failed", "phone_number": None}


def test_colours_are_for_terminals(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    api.says("GET /health/detailed", Answer(200, {**HEALTH, "details": [FAILED]}))
    main(["status"])
    assert "\x1b[31mfailed" in terminal.getvalue()
    stopped = FAILED | {"status": "disconnected", "disconnect_reason": "user_initiated"}
    api.says("GET /health/detailed", Answer(200, {**HEALTH, "details": [stopped]}))
    main(["status"])
    assert "\x1b[2mdisconnected" in terminal.getvalue(), "what was meant is no alarm"
    api.says("GET /health/detailed", Answer(200, {**HEALTH, "details": [FAILED]}))
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        terminal.truncate(0)
        with monkeypatch.context() as context:
            context.setenv(name, value)
            main(["status"])
        assert "failed" in terminal.getvalue()
        assert "\x1b" not in terminal.getvalue()


def test_no_colours_for_files(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /health/detailed", Answer(200, {**HEALTH, "details": [FAILED]}))
    main(["status"])
    assert "\x1b" not in capsys.readouterr().out


def test_a_newer_code_takes_the_place_of_the_last_one(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_a_terminal(monkeypatch)
    codes = [Answer(200, {"raw": f"2@{it}", "expires_in": 0}) for it in range(2)]
    linked = Answer(409, {"error": "the session is already linked"})
    api.says("GET /api/sessions/a/qr?wait=20", *codes, linked)
    api.says("GET /api/sessions/a/status", Answer(200, {"status": "connected"}))
    assert main(["qr", "a"]) == 0
    first, second, rest = terminal.getvalue().split("\x1b[J")
    lines = first.removesuffix(f"\x1b[{first.count(chr(10))}F")
    assert lines != first
    assert lines.splitlines()[-1].endswith("Valid for 0 s.")
    assert second.endswith(f"\x1b[{second.count(chr(10))}F")
    assert rest == "a: scanned\n"


def test_a_code_that_does_not_fit_is_not_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setenv("LINES", "5")
    screen = Screen()
    for text in ("1\n" * 5, "2\n" * 5):
        screen.show(text, of=text)
        screen.show(text, of=text)
    screen.leave()
    assert terminal.getvalue() == "1\n" * 5 + "\n" + "2\n" * 5 + "\n"


# ---- stdin ----


def typed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_text_from_stdin(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.says("POST /api/messages/send", Answer(200, {"success": True, "message_id": "true_x"}))
    typed(monkeypatch, "two\nlines 👋\n\n".encode())
    assert main(["send", "a", "6281", "-"]) == 0
    assert api.asked[0][1]["message"] == "two\nlines 👋\n"
    assert said(capsys)[0] == ["sent: true_x"]


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "empty"), (b" \n", "empty"), (b"\xff", "not UTF-8")]
)
def test_a_stdin_without_a_text(
    api: Api,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    why: str,
) -> None:
    typed(monkeypatch, content)
    assert main(["send", "a", "6281", "-"]) == 2
    assert why in said(capsys)[1][0]
    assert api.asked == []


def test_a_closed_stdin(api: Api, short_path: Path) -> None:
    code, err = outcome(short_path, "send", "a", "6281", "-", script='"$@" <&-')
    assert (code, err.splitlines()) == (
        2,
        ["waguard: text: stdin is closed (pipe the text in, or name it)"],
    )
