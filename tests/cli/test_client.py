"""The commands that talk to a daemon, against an API of the test's own."""

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.host.processes import (
    BECOME_NOBODY,
    OTHERS_CANNOT,
    others_can_run_this_python,
    waguard,
)
from waguard.cli import main
from waguard.host.configuration import VARIABLE
from waguard.host.listen import LOCAL_SOCKET

LISTED: Final = [
    {"session_id": "a", "workspace_id": 1, "status": "connected", "phone_number": "62811"},
    {"session_id": "b", "workspace_id": 1, "status": "failed", "phone_number": None},
]


LETTER: Final = {
    "id": 7,
    "session_id": "a",
    "event": "message_received",
    "endpoint": "global",
    "attempts": 3,
    "died_at": "2026-11-25T09:00:00Z",
    "error": "the receiver answered 404",
}


def test_why_says_what_is_wrong_now(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    path = "/api/sessions/a"
    condition = {"session_id": "a", "message": "2 messages cannot be read", "remedy": "Open it."}
    sealed = {"count": 2, "since": "2026-11-25T09:00:00Z"}
    version = {
        "page": 1023,
        "document": 1022,
        "served_by": "store",
        "missing": [],
        "wajs": "5bfb88027f14" + "0" * 52,
        "wajs_version": "4.6.0",
    }
    shown = {**LISTED[0], "undecryptable": sealed, "version": version}
    api.says(f"GET {path}/status", Answer(200, shown))
    answer = {"session_id": "a", "status": "connected", "conditions": [condition], "incidents": []}
    api.says(
        f"GET {path}/incidents", Answer(200, answer), Answer(200, answer | {"incidents": None})
    )
    reported = [
        "a is connected",
        "  WhatsApp Web 1023 (store, document 1022), wa-js 4.6.0 5bfb88027f14",
        "  2 messages cannot be decrypted yet, the oldest since 2026-11-25T09:00:00Z",
        "  ! 2 messages cannot be read",
        "    → Open it.",
    ]
    assert main(["why", "a"]) == 0
    assert said(capsys)[0] == [*reported, "no incidents recorded"]
    assert main(["why", "a"]) == 0
    assert said(capsys)[0] == [
        *reported,
        "incidents are unknown while the database does not answer",
    ]
    api.says("GET /api/incidents", Answer(200, {"conditions": [condition], "incidents": []}))
    assert main(["why"]) == 0
    assert said(capsys)[0][0] == "  ! a: 2 messages cannot be read"


DIFFERENCE: Final = {
    "corrections": [
        {
            "session": "a",
            "action": "correct row",
            "before": "error",
            "after": "connected",
            "reason": "the row lied",
        }
    ],
    "findings": [
        {
            "session": "old",
            "kind": "profile_without_row",
            "about": "there is no row",
            "remedy": "`waguard sessions create old`",
        }
    ],
}


def test_a_dry_run_shows_the_plan_as_a_table(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/reconcile", Answer(200, DIFFERENCE))
    assert main(["reconcile", "--dry-run"]) == 0
    out, _ = said(capsys)
    assert out[0].split() == ["SESSION", "ACTION", "BEFORE", "AFTER", "REASON"]
    assert out[1].split("  ")[:1] == ["a"]
    assert "the row lied" in out[1]
    assert out[2:] == ["  ! old: there is no row", "    → `waguard sessions create old`"]
    assert main(["reconcile", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == DIFFERENCE


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
            {"corrections": [DIFFERENCE["corrections"][0] | {"reason": OBEYED}]},
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


def test_a_reconcile_says_what_it_did(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    done = {"corrections": DIFFERENCE["corrections"]}
    api.says("POST /api/reconcile", Answer(200, done), Answer(200, {"corrections": []}))
    assert main(["reconcile"]) == 0
    assert "correct row" in said(capsys)[0][1]
    assert main(["reconcile"]) == 0
    assert said(capsys)[0] == ["database, memory and host agree"]


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


def test_dead_letters_are_listed_shown_replayed_and_discarded(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says("GET /api/webhooks/dead", Answer(200, {"dead": [LETTER], "before": 7}))
    api.says("GET /api/webhooks/dead/7", Answer(200, {**LETTER, "body": {"event": "x"}}))
    api.says("POST /api/webhooks/dead/7/replay", Answer(200, {"replayed": 1}))
    api.says("POST /api/webhooks/dead/replay", Answer(200, {"replayed": 12}))
    api.says("DELETE /api/webhooks/dead/7", Answer(200, {"success": True}))
    assert main(["webhooks", "list"]) == 0
    out, _ = said(capsys)
    assert out[1].split()[:3] == ["7", "a", "message_received"]
    assert "the receiver answered 404" in out[1]
    assert "before=7" in out[2]
    assert main(["webhooks", "show", "7"]) == 0
    assert json.loads(capsys.readouterr().out)["body"] == {"event": "x"}
    assert main(["webhooks", "replay", "7"]) == 0
    assert main(["webhooks", "replay", "--all"]) == 0
    assert said(capsys)[0] == ["queued again: 1", "queued again: 12"]
    assert main(["webhooks", "replay", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"replayed": 1}
    assert main(["webhooks", "discard", "7"]) == 2
    assert "--yes" in said(capsys)[1][0]
    assert "DELETE /api/webhooks/dead/7" not in [request for request, _ in api.asked]
    assert main(["webhooks", "discard", "7", "--yes"]) == 0


def test_no_dead_letters(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/webhooks/dead", Answer(200, {"dead": [], "before": None}))
    assert main(["webhooks", "list"]) == 0
    assert said(capsys)[0] == ["no dead letters"]
    assert main(["webhooks", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dead"] == []
    with pytest.raises(SystemExit):
        main(["webhooks", "replay"])


def test_chats_of_nobody_are_listed_replayed_and_discarded(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = {"session_id": "a", "chat_id": "7@lid", "since": "2026-11-25T09:00:00Z", "count": 12}
    api.says("GET /api/webhooks/unidentified", Answer(200, {"unidentified": [chat]}))
    api.says("POST /api/webhooks/unidentified/replay", Answer(200, {"replayed": 12}))
    api.says("POST /api/webhooks/unidentified/discard", Answer(200, {"discarded": 12}))
    assert main(["webhooks", "unidentified"]) == 0
    out, _ = said(capsys)
    assert out[1].split()[:2] == ["a", "7@lid"]
    assert out[1].split()[-1] == "12"
    assert main(["webhooks", "unidentified", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unidentified"] == [chat]
    assert main(["webhooks", "replay", "--chat", "a", "7@lid"]) == 0
    assert main(["webhooks", "discard", "--chat", "a", "7@lid", "--yes"]) == 0
    assert said(capsys)[0] == ["queued again: 12", "webhooks of 7@lid are deleted: 12"]
    assert [body for _, body in api.asked[-2:]] == [{"session_id": "a", "chat_id": "7@lid"}] * 2
    api.says("GET /api/webhooks/unidentified", Answer(200, {"unidentified": []}))
    assert main(["webhooks", "unidentified"]) == 0
    assert said(capsys)[0] == ["no chat waits for somebody's number"]
    for wrong in (["discard"], ["discard", "7", "--chat", "a", "7@lid"]):
        with pytest.raises(SystemExit):
            main(["webhooks", *wrong])


def test_why_of_a_purged_session(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    reported = {"session_id": "a", "status": "purged", **FLEET}
    api.says("GET /api/sessions/a/incidents", Answer(200, reported))
    assert main(["why", "a"]) == 0
    out, err = said(capsys)
    assert (out[0], out[-1], err) == ("a is purged", "  It is still open.", [])


FLEET: Final = {
    "incidents": [
        {
            "began": "2026-11-25T09:00:00Z",
            "sentences": ["Cause: no default route.", "It is still open."],
        }
    ]
}


@pytest.mark.parametrize("arguments", [("why",), ("why", "--fleet")])
def test_what_concerned_all_sessions(
    api: Api, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    api.says("GET /api/incidents", Answer(200, FLEET), Answer(200, {"incidents": []}))
    assert main(arguments) == 0
    assert capsys.readouterr().out == (
        "\n2026-11-25T09:00:00Z\n  Cause: no default route.\n  It is still open.\n"
    )
    assert main(arguments) == 0
    assert capsys.readouterr().out == "no incidents recorded\n"


def test_a_session_or_the_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["why", "a", "--fleet"])
    assert ended.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


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


def test_messages(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert main(["messages", "cancel", "12"]) == 0
    assert capsys.readouterr().out == "message 12 is cancelled\n"
    assert main(["messages", "cancel", "12", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": 12}
