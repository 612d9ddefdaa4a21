"""The commands that talk to a daemon, against an API of the test's own."""

import http.server
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.host.processes import (
    BECOME_NOBODY,
    OTHERS_CANNOT,
    clean_environment,
    others_can_run_this_python,
    waguard,
)
from waguard.cli import main, qr
from waguard.host import procfs
from waguard.host.configuration import VARIABLE
from waguard.host.listen import LOCAL_SOCKET

HEALTH: Final = {
    "status": "degraded",
    "sessions": {"total": 2, "connected": 1, "disconnected": 1},
    "problems": ["b is failed: TOS_BLOCK"],
}
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


@dataclass
class Answer:
    """What the API says to one request, or to every one of its kind."""

    status: int
    body: Any
    kind: str = "application/json; charset=utf-8"


@dataclass
class Api:
    """Answers by method and path; what it was asked is kept."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    headers: dict[str, str] = field(default_factory=dict)
    """Of the newest request."""
    url: str = ""

    def says(self, request: str, *answers: Answer) -> None:
        """In this order; the last one repeats."""
        self.answers[request] = list(answers)

    def answer(self, request: str, body: Any) -> Answer:
        self.asked.append((request, body))
        known = self.answers.get(request, [Answer(404, {"error": "Session not found"})])
        return known.pop(0) if len(known) > 1 else known[0]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        return super().get_request()[0], ("local", 0)  # the handler shows it as an address


@pytest.fixture
def api(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A daemon as its clients see it: a pid file, a key file and an API. This process is it."""
    told = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        def respond(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            told.keys.add(self.headers.get("X-Api-Key"))
            told.headers = dict(self.headers)
            answer = told.answer(f"{self.command} {self.path}", body)
            content = (
                answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            )
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if content:  # without any the client may be gone already
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815  # the base's names

        def log_message(self, *_: object) -> None:
            pass

    (short_path / "run").mkdir()
    with _Server(str(short_path / "run" / LOCAL_SOCKET), Handler) as server:
        told.url = "http://127.0.0.1:9"  # where nobody is to ask
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        write_pid_file(short_path, told.url)
        monkeypatch.chdir(short_path)
        yield told
        server.shutdown()
        thread.join()


def write_pid_file(folder: Path, url: str, pid: int | None = None) -> None:
    me = pid or os.getpid()
    content = {
        "pid": me,
        "start_time": procfs.start_time(me),
        "boot_id": procfs.boot_id(),
        "api": url,
        "instance": "f00d",
    }
    (folder / "run" / "waguard.pid").write_text(json.dumps(content))


def said(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    told = capsys.readouterr()
    return told.out.splitlines(), told.err.splitlines()


USES: Final[dict[str, dict[str, object]]] = {
    "a": {"cpu_percent": 0.5, "memory_mb": 172.4, "waiting": None},
    "b": {"cpu_percent": None, "memory_mb": None, "waiting": "2 are starting, at most 2 may"},
}


def is_well(api: Api) -> None:
    api.says("GET /health/detailed", Answer(200, HEALTH))
    api.says("GET /api/sessions", Answer(200, {"sessions": LISTED}))
    for row in LISTED:
        api.says(
            f"GET /api/sessions/{row['session_id']}/status",
            Answer(
                200, {**row, "lifecycle": "running", "restarts": 0} | USES[str(row["session_id"])]
            ),
        )


def test_status_shows_what_runs_and_what_is_wrong(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    is_well(api)
    assert main(["status"]) == 0
    out, err = said(capsys)
    assert err == []
    assert out[0] == f"waguard at {api.url}: degraded, 1 of 2 connected"
    assert out[1] == "  ! b is failed: TOS_BLOCK"
    assert out[2].split()[:2] == ["SESSION_ID", "STATUS"]
    assert out[3].split()[:3] == ["a", "connected", "62811"]
    assert out[4].split()[:3] == ["b", "failed", "-"]
    assert {"0.5", "172.4"} < set(out[3].split())
    assert out[2].endswith("WAITING")
    assert out[4].endswith("2 are starting, at most 2 may")
    assert api.keys == {None}


def test_status_and_why_say_how_many_messages_cannot_be_decrypted(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    is_well(api)
    path = "/api/sessions/a"
    condition = {"message": "2 messages cannot be read", "remedy": "Open WhatsApp"}
    sealed = {"count": 2, "since": "2026-11-25T09:00:00Z"}
    told = {**LISTED[0], "undecryptable": sealed, "conditions": [condition]}
    api.says(f"GET {path}/status", Answer(200, told))
    line = "a: 2 messages cannot be decrypted yet, the oldest since 2026-11-25T09:00:00Z"
    assert main(["status"]) == 0
    assert said(capsys)[0][2] == f"  {line}"
    answer = {"session_id": "a", "status": "connected", "incidents": []}
    api.says(f"GET {path}/incidents", Answer(200, answer))
    assert main(["why", "a"]) == 0
    assert said(capsys)[0] == [
        "a is connected",
        line,
        "2 messages cannot be read. Open WhatsApp",
        "nothing has gone wrong with it",
    ]


def test_status_for_a_machine(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    is_well(api)
    assert main(["status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["health"] == HEALTH
    assert [row["session_id"] for row in told["sessions"]] == ["a", "b"]


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
    "findings": [{"session": "old", "kind": "profile_without_row", "about": "there is no row"}],
}


def test_a_dry_run_shows_the_plan_as_a_table(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/reconcile", Answer(200, DIFFERENCE))
    assert main(["reconcile", "--dry-run"]) == 0
    out, _ = said(capsys)
    assert out[0].split() == ["SESSION", "ACTION", "BEFORE", "AFTER", "REASON"]
    assert out[1].split("  ")[:1] == ["a"]
    assert "the row lied" in out[1]
    assert out[2] == "  ! old: there is no row"
    assert main(["reconcile", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == DIFFERENCE


OBEYED: Final = "\x1b[2J\x9bA\u202ea"


@pytest.mark.parametrize(
    ("call", "answer", "command"),
    [
        (
            "GET /api/reconcile",
            {"corrections": [], "findings": [{"session": OBEYED, "about": OBEYED}]},
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
def test_the_terminal_obeys_nothing_that_is_told(
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


def test_a_reconcile_tells_what_it_did(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    done = {"corrections": DIFFERENCE["corrections"]}
    api.says("POST /api/reconcile", Answer(200, done), Answer(200, {"corrections": []}))
    assert main(["reconcile"]) == 0
    assert "correct row" in said(capsys)[0][1]
    assert main(["reconcile"]) == 0
    assert said(capsys)[0] == ["database, memory and host agree"]


def test_no_sessions_and_what_to_do(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/sessions", Answer(200, {"sessions": []}))
    assert main(["sessions", "list"]) == 0
    assert said(capsys)[0] == ["no sessions: create one with `waguard sessions create NAME`"]


def test_sessions_are_made_and_ended(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("POST /api/sessions", Answer(201, {"session_id": "c", "status": "qr_scanning"}))
    api.says("POST /api/sessions/c/logout", Answer(200, {"success": True}))
    api.says("DELETE /api/sessions/c", Answer(200, {"success": True}))
    api.says("DELETE /api/sessions/c?purge=1", Answer(200, {"success": True}))
    assert main(["sessions", "create", "c", "--workspace", "7"]) == 0
    assert main(["sessions", "logout", "c"]) == 0
    assert main(["sessions", "delete", "c"]) == 0
    assert main(["sessions", "delete", "c", "--purge"]) == 0
    assert api.asked == [
        ("POST /api/sessions", {"session_id": "c", "workspace_id": 7}),
        ("POST /api/sessions/c/logout", {}),
        ("DELETE /api/sessions/c", None),
        ("DELETE /api/sessions/c?purge=1", None),
    ]
    assert said(capsys)[0][0] == "c: qr_scanning; next: waguard qr c"


def test_a_session_is_stopped_and_started(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("POST /api/sessions/c/stop", Answer(200, {"success": True, "status": "disconnected"}))
    api.says("POST /api/sessions/c/start", Answer(200, {"success": True, "status": "connected"}))
    assert main(["sessions", "stop", "c"]) == 0
    assert main(["sessions", "start", "c"]) == 0
    assert said(capsys)[0] == ["c: stopped; its pairing stays", "c: connected"]


def test_deleted_sessions_are_shown_where_asked_for(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = LISTED[0] | {"status": "disconnected", "removed_at": "2026-11-25T09:00:00Z"}
    is_well(api)
    api.says("GET /api/sessions?removed=1", Answer(200, {"sessions": [gone, LISTED[1]]}))
    api.says("GET /api/sessions/a/status", Answer(200, gone))
    for command in (["status", "--all"], ["sessions", "list", "--all"]):
        assert main(command) == 0
        *_, head, first, second = said(capsys)[0]
        assert head.endswith("REMOVED_AT")
        assert first.endswith("2026-11-25T09:00:00Z")
        assert second.endswith("-")


def test_a_name_cannot_lead_to_another_address(api: Api) -> None:
    assert main(["sessions", "delete", "../x?y#z/é"]) == 1
    assert api.asked[0][0] == "DELETE /api/sessions/..%2Fx%3Fy%23z%2F%C3%A9"


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
def test_another_user_is_told_who_to_be(api: Api, short_path: Path, *, open_folder: bool) -> None:
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


# ---- the QR code ----

CODE: Final = Answer(200, {"raw": "2@abc", "qr_code": "data:", "expires_in": 0})
TOO_EARLY: Final = Answer(425, {"error": "no QR code yet"})
GONE: Final = Answer(409, {"error": "the session is parked: no one scanned"})
QR: Final = "GET /api/sessions/a/qr?wait=20"
STATUS: Final = "GET /api/sessions/a/status"


def test_a_code_once(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(QR, TOO_EARLY, TOO_EARLY, CODE)
    assert main(["qr", "a", "--once"]) == 0
    out, _ = said(capsys)
    assert len([line for line in out if set(line) <= set("█▀▄ ") and line]) > 10
    assert out[-1].endswith("Valid for 0 s.")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qr, "LINK_POLL", 0.0)


@pytest.mark.usefixtures("at_once")
def test_a_code_until_it_was_scanned(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(QR, CODE, GONE)
    linking = Answer(200, {"status": "authenticated"})
    api.says(STATUS, linking, linking, Answer(200, {"status": "connected"}))
    assert main(["qr", "a"]) == 0
    assert said(capsys)[0][-2:] == ["a: scanned; it is being linked", "a: scanned"]


PASSKEY: Final = {
    "type": "passkey_required",
    "message": "WhatsApp asks for the account's passkey until 10:10:00 UTC",
    "remedy": "Only the account's owner can go on.",
}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("begins", [(CODE, GONE), (Answer(409, {"error": "passkey_required: x"}),)])
def test_a_passkey_is_said_once_and_waited_for(
    api: Api, capsys: pytest.CaptureFixture[str], begins: tuple[Answer, ...]
) -> None:
    api.says(QR, *begins, begins[-1], CODE, GONE)
    waits = [
        Answer(200, {"status": "qr_scanning", "conditions": [{**PASSKEY, "expires_in": left}]})
        for left in (599, 598)
    ]
    api.says(STATUS, *waits, Answer(200, {"status": "connected", "conditions": []}))
    assert main(["qr", "a"]) == 0
    told = [line for line in said(capsys)[0] if line.startswith("a: ")]
    text = f"a: {PASSKEY['message']} (599 s left). {PASSKEY['remedy']}"
    assert told == [text, "a: scanned"]


def test_a_passkey_and_only_one_look(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(QR, Answer(409, {"error": "passkey_required: until 10:10", "remedy": "Wait."}))
    assert main(["qr", "a", "--once"]) == 1
    assert "passkey_required: until 10:10" in said(capsys)[1][0]


def test_a_code_that_nobody_scanned_is_no_success(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says(QR, CODE, GONE)
    api.says(STATUS, Answer(200, {"status": "disconnected"}))
    assert main(["qr", "a"]) == 1
    out, err = said(capsys)
    assert "scanned" not in out[-1]
    assert err == ["waguard: the session is parked: no one scanned"]


def test_a_session_that_is_linked_already_has_no_code(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says(QR, Answer(409, {"error": "the session is already linked"}))
    assert main(["qr", "a"]) == 1
    assert said(capsys) == ([], ["waguard: the session is already linked"])


# ---- a reader that goes away ----


def test_a_reader_that_has_seen_enough_is_no_error(api: Api, short_path: Path) -> None:
    """``waguard sessions list | head``. The pid file names this process: the API is its own."""
    api.says("GET /api/sessions", Answer(200, {"sessions": LISTED * 5000}))
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [sys.executable, "-m", "waguard", "sessions", "list"],
        cwd=short_path,
        env=clean_environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
    ) as asking:
        os.close(writer)
        _, err = asking.communicate(timeout=45)
    assert (asking.returncode, err) == (0, b"")


def test_also_when_what_it_says_is_short(api: Api, short_path: Path) -> None:
    """So short that it is written only at the end."""
    api.says("GET /api/sessions", Answer(200, {"sessions": []}))
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [sys.executable, "-m", "waguard", "sessions", "list"],
        cwd=short_path,
        env=clean_environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
    ) as asking:
        os.close(writer)
        _, err = asking.communicate(timeout=45)
    assert (asking.returncode, err) == (0, b"")


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
    assert main(["webhooks", "discard", "7"]) == 0


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
    assert main(["webhooks", "discard", "--chat", "a", "7@lid"]) == 0
    assert said(capsys)[0] == ["queued again: 12", "webhooks of 7@lid are deleted: 12"]
    assert [body for _, body in api.asked[-2:]] == [{"session_id": "a", "chat_id": "7@lid"}] * 2
    api.says("GET /api/webhooks/unidentified", Answer(200, {"unidentified": []}))
    assert main(["webhooks", "unidentified"]) == 0
    assert said(capsys)[0] == ["no chat waits for somebody's number"]
    for wrong in (["discard"], ["discard", "7", "--chat", "a", "7@lid"]):
        with pytest.raises(SystemExit):
            main(["webhooks", *wrong])


FLEET: Final = {
    "incidents": [
        {"began": "2026-11-25T09:00:00Z", "sentences": ["Cause: no default route.", "It goes on."]}
    ]
}


@pytest.mark.parametrize("arguments", [("why",), ("why", "--fleet")])
def test_what_concerned_all_sessions(
    api: Api, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    api.says("GET /api/incidents", Answer(200, FLEET), Answer(200, {"incidents": []}))
    assert main(arguments) == 0
    assert capsys.readouterr().out == (
        "\n2026-11-25T09:00:00Z\n  Cause: no default route.\n  It goes on.\n"
    )
    assert main(arguments) == 0
    assert capsys.readouterr().out == "nothing has gone wrong with all sessions at once\n"


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
