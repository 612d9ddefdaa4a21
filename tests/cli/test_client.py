"""The commands that talk to a daemon, against an API of the test's own."""

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main
from tests.host.processes import (
    BECOME_NOBODY,
    OTHERS_CANNOT,
    others_can_run_this_python,
    waguard,
)
from waguard.cli import send
from waguard.config.sections import Send
from waguard.host.configuration_file import VARIABLE
from waguard.host.system.listen import LOCAL_SOCKET

OBEYED: Final = "\x1b[2J\x9bA\u202ea"


@pytest.mark.parametrize(
    ("call", "answer", "command"),
    [
        (
            "GET /api/reconcile",
            {
                "corrections": [],
                "findings": [{"session": OBEYED, "about": OBEYED, "remedy": OBEYED}],
            },
            ["reconcile", "--dry-run"],
        ),
        (
            "GET /api/reconcile",
            {
                "corrections": [
                    {
                        "session": "a",
                        "action": "correct row",
                        "before": "error",
                        "after": "connected",
                        "reason": OBEYED,
                    }
                ]
            },
            ["reconcile", "--dry-run"],
        ),
        (
            "GET /api/incidents",
            {"incidents": [{"began": "2026-11-25T09:00:00Z", "sentences": [OBEYED]}]},
            ["why"],
        ),
    ],
)
def test_the_terminal_obeys_nothing_that_is_reported(
    api: Api,
    capsys: pytest.CaptureFixture[str],
    call: str,
    answer: dict[str, Any],
    command: list[str],
) -> None:
    api.says(call, Answer(200, answer))
    assert main(command) == 0
    out = capsys.readouterr().out
    assert r"\x1b[2J\x9bA\u202ea" in out
    assert all(line.isprintable() for line in out.split("\n"))


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            Answer(404, {"error": "Session not found"}),
            "waguard: Session not found",
        ),
        (
            Answer(401, {"error": "Invalid API key", "remedy": "see api.key_file"}),
            "waguard: Invalid API key (see api.key_file)",
        ),
        (
            Answer(400, {"error": "it is empty", "field": "message", "remedy": "write something"}),
            "waguard: message: it is empty (write something)",
        ),
        (Answer(500, {}), "waguard: HTTP 500"),
        (Answer(502, b"<h1>Bad\nGateway</h1>", "text/html"), "waguard: HTTP 502"),
        (Answer(500, ["odd"]), "waguard: HTTP 500"),
        (Answer(302, b"", "text/plain"), "waguard: HTTP 302"),
        (Answer(503, {"error": "two\nlines"}), r"waguard: two\nlines"),
        (
            Answer(200, b"<html>", "application/json"),
            (
                "waguard: HTTP 200 with an answer that is not JSON"
                " (is something between this machine and waguard?)"
            ),
        ),
    ],
)
def test_an_error_of_the_api_is_one_line(
    api: Api, capsys: pytest.CaptureFixture[str], answer: Answer, line: str
) -> None:
    api.says("POST /api/messages/send", answer)
    assert main(["send", "a", "6281", "hello"]) == 1
    assert said(capsys) == ([], [line])


def test_what_is_sent(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(
        "POST /api/messages/send",
        Answer(200, {"success": True, "message_id": "true_6281@c.us_3EB0", "timestamp": 1}),
    )
    assert main(["send", "a", "+6281", "hé\n👋"]) == 0
    assert said(capsys)[0] == ["sent: true_6281@c.us_3EB0"]
    assert api.asked[0][1] == {
        "session_id": "a",
        "recipient_phone": "+6281",
        "message": "hé\n👋",
        "type": "text",
    }


def test_an_uncertain_send_is_no_success(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(
        "POST /api/messages/send",
        Answer(202, {"success": False, "outcome": "uncertain", "message_id": "true_x"}),
    )
    assert main(["send", "a", "6281", "hello"]) == 1
    (line,) = said(capsys)[0]
    assert line.startswith("uncertain: ")
    assert "true_x" in line


def _hang_up(_: str) -> Answer:
    raise ConnectionAbortedError


@pytest.mark.parametrize("how", ["the daemon ended", "the time was over"])
def test_a_send_whose_answer_is_lost_is_uncertain(
    api: Api, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    command = ["send", "a", "6281", "hello"]
    if how == "the daemon ended":
        api.compute["POST /api/messages/send"] = _hang_up
    else:
        api.held = threading.Event()
        command += ["--timeout", "0.2"]
    assert main(command) == 1
    out, err = said(capsys)
    assert err == []
    (line,) = out
    assert line.startswith("uncertain: waguard did not answer; check the chat")
    assert "`waguard messages list --session a`" in line
    assert main([*command, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["success"], answer["outcome"]) == (False, "uncertain")
    if api.held:
        api.held.set()


def test_a_send_that_was_never_requested_is_a_plain_failure(
    api: Api, short_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_time(*_: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket.socket, "connect", no_time)
    assert main(["send", "a", "6281", "hello"]) == 1
    out, err = said(capsys)
    assert out == []
    assert err[0].startswith("waguard: http://127.0.0.1:9 does not answer: timed out")


def test_a_send_is_waited_for_as_long_as_it_may_take() -> None:
    assert send.deadline(Send()) == 90.0
    assert send.deadline(Send(wait=60.0, timeout=120.0)) == 220.0


def test_a_daemon_that_does_not_answer(
    api: Api, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = short_path / "run" / LOCAL_SOCKET
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def hang_up() -> None:
            listener.accept()[0].close()

        hangs_up = threading.Thread(target=hang_up)
        hangs_up.start()
        assert main(["status"]) == 1
        hangs_up.join()
    (line,) = said(capsys)[1]
    assert line.startswith("waguard: http://127.0.0.1:9 does not answer: ")


def test_a_socket_on_which_nobody_listens(
    api: Api, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = short_path / "run" / LOCAL_SOCKET
    path.unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    (short_path / "run" / "waguard.pid").unlink()
    assert main(["status"]) == 1
    (line,) = said(capsys)[1]
    assert line.startswith(f"waguard: no waguard runs here ({path}: nobody listens there)")


def test_a_daemon_that_has_no_socket_yet(
    api: Api, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (short_path / "run" / LOCAL_SOCKET).unlink()
    assert main(["status"]) == 1
    (line,) = said(capsys)[1]
    assert line.startswith(f"waguard: waguard runs, pid {os.getpid()}, and has no socket ")


@pytest.mark.skipif(not others_can_run_this_python(), reason=OTHERS_CANNOT)
@pytest.mark.parametrize("open_folder", [False, True], ids=["the folder", "the socket"])
def test_another_user_hears_who_to_be(api: Api, short_path: Path, *, open_folder: bool) -> None:
    short_path.chmod(0o755)
    (short_path / "run").chmod(0o755 if open_folder else 0o700)
    (short_path / "run" / LOCAL_SOCKET).chmod(0o600)
    done = waguard("status", folder=short_path, prefix=BECOME_NOBODY)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        f"waguard: {short_path}/run/{LOCAL_SOCKET}: permission denied (run this as root)"
    )
    assert api.asked == []


def test_the_daemon_of_another_folder(
    api: Api, short_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says("GET /api/sessions", Answer(200, {"sessions": []}))
    config = short_path / "w.toml"
    config.touch()  # its paths are beside it
    (short_path / "elsewhere").mkdir()
    monkeypatch.chdir(short_path / "elsewhere")
    assert main(["sessions", "list"]) == 1
    assert main(["sessions", "list", "--config", str(config)]) == 0
    monkeypatch.setenv(VARIABLE, str(config))
    assert main(["sessions", "list"]) == 0


MESSAGE: Final = {
    "id": 12,
    "session_id": "a",
    "to": "49170@c.us",
    "type": "text",
    "status": "uncertain",
    "attempts": 1,
    "created_at": "2026-11-25T09:00:00Z",
    "error": None,
}


def test_messages_are_listed_by_session_and_state(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says(
        "GET /api/messages", Answer(200, {"messages": [MESSAGE]}), Answer(200, {"messages": []})
    )
    api.says(
        "GET /api/messages?session_id=a+b&state=uncertain", Answer(200, {"messages": [MESSAGE]})
    )
    api.says("GET /api/messages/true_1%40c.us_3", Answer(200, MESSAGE))
    api.says("POST /api/messages/12/cancel", Answer(200, {"id": 12}))
    assert main(["messages", "list"]) == 0
    assert "uncertain" in capsys.readouterr().out
    assert main(["messages", "list"]) == 0
    assert capsys.readouterr().out == "no messages\n"
    assert main(["messages", "list", "--session", "a b", "--state", "uncertain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"messages": [MESSAGE]}
    assert main(["messages", "show", "true_1@c.us_3"]) == 0
    assert json.loads(capsys.readouterr().out) == MESSAGE
    with pytest.raises(SystemExit):
        main(["messages", "show", "nope"])
    assert "'nope' is neither waguard's number nor WhatsApp's id" in capsys.readouterr().err
    assert main(["messages", "cancel", "12"]) == 0
    assert capsys.readouterr().out == "message 12 is cancelled\n"
    assert main(["messages", "cancel", "12", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": 12}
