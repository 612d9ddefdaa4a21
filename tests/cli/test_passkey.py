"""`waguard passkey`: what it asks the daemon and says, and why it does not begin. The window: test_passkey_desk.py."""

import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main
from tests.waiting import DEADLINE
from waguard.cli import passkey_desk
from waguard.cli.context import Desk
from waguard.lab.standin.certificate import make_certificate

ONE: Final = "/api/sessions/s1"
STATUS, PASSKEY = f"GET {ONE}/status", f"GET {ONE}/passkey"
CONFIRM, CANCEL = f"POST {ONE}/passkey/confirm", f"DELETE {ONE}/passkey"
WAITS: Final = Answer(200, {"status": "qr_scanning", "link": "passkey_required"})
PAIRS: Final = Answer(200, {"status": "authenticated", "link": "pairing"})
LINKED: Final = Answer(200, {"status": "connected", "link": "connected"})
CODE: Final = "ABCD-1234"
HEADLESS: Final = Desk(visible=False, sandbox=False)


def stage(name: str, **more: Any) -> Answer:
    return Answer(
        200, {"stage": name, "until": None, "unattended_until": None, "code": None} | more
    )


def test_a_code_is_confirmed_only_by_the_one_who_names_it(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says(CONFIRM, Answer(202, {}))
    api.says(STATUS, WAITS, PAIRS, LINKED)
    api.says(PASSKEY, stage("answered"))
    assert main(["passkey", "s1", "--confirm", CODE]) == 0
    assert (CONFIRM, {"code": CODE}) in api.asked
    assert said(capsys)[0] == [
        "s1: the passkey was accepted here; keep WhatsApp open on the phone, it goes on there",
        "s1: linked",
    ]


def test_a_restart_of_the_daemon_ends_no_linking(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    away = Answer(503, {"error": "sessions are being restored"})
    api.says(CONFIRM, Answer(202, {}))
    api.says(STATUS, away, WAITS, PAIRS, away, LINKED)
    api.says(PASSKEY, away, stage("answered"))
    assert main(["passkey", "s1", "--confirm", CODE]) == 0
    assert said(capsys)[0][-1] == "s1: linked"


def test_another_code_than_the_pages_is_refused(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says(CONFIRM, Answer(422, {"error": "the page shows another code", "remedy": "Compare."}))
    assert main(["passkey", "s1", "--confirm", CODE]) == 1
    assert "the page shows another code" in said(capsys)[1][0]
    assert [request for request, _ in api.asked] == [CONFIRM]


def test_without_a_terminal_a_code_is_shown_and_not_confirmed(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says(CONFIRM, Answer(202, {}))
    api.says(STATUS, WAITS, WAITS, LINKED)
    api.says(PASSKEY, stage("confirm", code=CODE))
    assert main(["passkey", "s1", "--confirm", "WXYZ-9876"]) == 0
    out = said(capsys)[0]
    assert f"    {CODE}" in out
    assert out.count(f"Where the phone shows the same: waguard passkey s1 --confirm {CODE}") == 1
    assert [body for request, body in api.asked if request == CONFIRM] == [{"code": "WXYZ-9876"}]


@pytest.mark.parametrize(("typed", "confirmed"), [("yes", 2), ("no", 1), ("", 1)])
def test_on_a_terminal_only_yes_confirms(
    api: Api, monkeypatch: pytest.MonkeyPatch, typed: str, confirmed: int
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return f"{typed}\n"

    monkeypatch.setattr("sys.stdin", Terminal())
    api.says(CONFIRM, Answer(202, {}))
    api.says(STATUS, WAITS, LINKED)
    api.says(PASSKEY, stage("confirm", code=CODE))
    assert main(["passkey", "s1", "--confirm", CODE]) == 0
    assert sum(request == CONFIRM for request, _ in api.asked) == confirmed


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (WAITS.body | {"disconnect_details": "it failed"}, "the session is qr_scanning: it failed"),
        (
            {"status": "qr_scanning", "link": "qr_pending"},
            "the session is qr_scanning: it was not linked",
        ),
        (
            {"status": "disconnected", "link": "unknown", "disconnect_reason": "stopped"},
            "is disconnected: stopped",
        ),
    ],
)
def test_a_linking_that_fails_says_why(
    api: Api, capsys: pytest.CaptureFixture[str], status: dict[str, Any], why: str
) -> None:
    api.says(CONFIRM, Answer(202, {}))
    api.says(STATUS, Answer(200, status))
    api.says(PASSKEY, stage("failed", error="timeout"))
    assert main(["passkey", "s1", "--confirm", CODE]) == 1
    assert why in said(capsys)[1][0]


def test_a_request_is_refused_on_demand(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(CANCEL, Answer(200, {}))
    assert main(["passkey", "s1", "--cancel"]) == 0
    assert "the request is refused" in said(capsys)[0][0]
    api.says(CANCEL, Answer(409, {"error": "nothing is open", "remedy": "Start."}))
    assert main(["passkey", "s1", "--cancel"]) == 1


NOBODY: Final = "/nowhere/chrome"


@pytest.mark.parametrize(
    ("desk", "why"),
    [
        (HEADLESS, f"{NOBODY} does not exist"),
        (Desk(sandbox=False), "there is no display here"),
        pytest.param(
            Desk(),
            "as root Chrome has no sandbox",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="this user is not root"),
        ),
    ],
)
def test_what_keeps_chrome_from_opening_starts_nothing(
    api: Api,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    desk: Desk,
    why: str,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    api.says(PASSKEY, stage("offered"))
    assert main(["passkey", "s1", "--chrome", NOBODY], desk=desk) in {1, 2}
    assert why in said(capsys)[1][0]
    assert api.asked == [(PASSKEY, None)]


def test_who_refuses_on_the_card_refuses_the_request_that_it_shows(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Window:
        async def ask(self, *_: object, **__: object) -> None:
            raise passkey_desk.DeclinedToSignError("nothing was signed: cancelled")

    @contextlib.asynccontextmanager
    async def window(*_: object) -> AsyncIterator[Window]:
        yield Window()

    monkeypatch.setattr(passkey_desk, "window", window)
    api.says(PASSKEY, stage("offered"))
    api.says(
        f"POST {ONE}/passkey/start", Answer(200, {"request": "r", "options": {}, "expires_in": 9})
    )
    api.says(CANCEL, Answer(200, {}))
    assert main(["passkey", "s1"], desk=HEADLESS) == 1
    assert api.asked[-1] == (CANCEL, {"request": "r"})
    assert "nothing was signed: cancelled" in said(capsys)[1][0]


def test_where_no_passkey_is_asked_for_nothing_is_opened(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says(PASSKEY, Answer(200, {"stage": None}))
    assert main(["passkey", "s1", "--chrome", NOBODY], desk=HEADLESS) == 1
    assert "WhatsApp does not ask for a passkey of session s1 now" in said(capsys)[1][0]


def test_what_was_signed_already_is_followed(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(PASSKEY, stage("answered"))
    api.says(STATUS, WAITS, LINKED)
    assert main(["passkey", "s1", "--chrome", NOBODY], desk=HEADLESS) == 0
    assert said(capsys)[0][-1] == "s1: linked"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--key-file", "key"], "it goes with --daemon"),
        (["--daemon", "nonsense", "--key-file", "key"], "it is not an address"),
        (["--daemon", "http://waguard.example.org", "--key-file", "key"], "readable on the way"),
        (["--daemon", "https://host/path", "--key-file", "key"], "more than an origin"),
        (["--daemon", "https://user@host", "--key-file", "key"], "more than an origin"),
        (["--daemon", "https://host"], "needs a key"),
        (["--daemon", "https://host", "--key-file", "gone"], "gone cannot be read"),
        (["--daemon", "https://host", "--key-file", "empty"], "holds no key"),
    ],
)
def test_a_daemon_elsewhere_is_called_safely_or_not_at_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("key").write_text("a key that nobody is to see\n")
    Path("empty").write_text("# none yet\n\n")
    assert main(["passkey", "s1", "--cancel", *arguments]) == 2
    said_ = said(capsys)[1][0]
    assert why in said_
    assert "nobody is to see" not in said_


def test_a_certificate_that_nobody_vouches_for_gets_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("key").write_text("a key that nobody is to see\n")
    context, _ = make_certificate("127.0.0.1")
    got: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            got.append(context.wrap_socket(connection, server_side=True).recv(1))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        code = main(["passkey", "s1", "--cancel", "--daemon", url, "--key-file", "key"])
        thread.join()
    assert (code, got) == (1, [])
    assert "CERTIFICATE_VERIFY_FAILED" in said(capsys)[1][0]
