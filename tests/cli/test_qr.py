"""``waguard qr`` and what else links a session."""

import json
from pathlib import Path
from typing import Final

import pytest
import zxingcpp
from PIL import Image

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main

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
    "stage": "offered",
    "unattended_expires_in": 300,
}


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
    reported = [line for line in said(capsys)[0] if line.startswith("a: ")]
    stage = "stage offered, 599 s left, 300 s without a code to compare"
    text = f"a: {PASSKEY['message']} ({stage}). {PASSKEY['remedy']}"
    assert reported == [text, "a: scanned"]


def test_a_passkey_and_only_one_check(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_code_for_a_program(
    api: Api, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says(QR, TOO_EARLY, CODE)
    assert main(["sessions", "qr", "a", "--raw"]) == 0
    assert capsys.readouterr().out == "2@abc\n"
    assert main(["qr", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == CODE.body
    assert main(["qr", "a", "--png", "a.png"]) == 0
    picture = short_path / "a.png"
    assert picture.stat().st_mode & 0o777 == 0o600
    with Image.open(picture) as image:
        assert zxingcpp.read_barcode(image).text == "2@abc"  # type: ignore[union-attr]


@pytest.mark.parametrize("answer", [CODE, Answer(503, {"error": "no QR code yet"})])
def test_a_new_code(api: Api, capsys: pytest.CaptureFixture[str], answer: Answer) -> None:
    api.says("POST /api/sessions/a/regenerate-qr", answer)
    api.says(QR, CODE)
    assert main(["sessions", "qr", "a", "--new", "--raw"]) == 0
    assert [request for request, _ in api.asked] == ["POST /api/sessions/a/regenerate-qr", QR]
    assert capsys.readouterr().out == "2@abc\n"


def test_no_new_code_for_a_session_that_is_linked(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = Answer(409, {"error": "the session is already linked"})
    api.says("POST /api/sessions/a/regenerate-qr", refusal)
    assert main(["qr", "a", "--new"]) == 1
    assert said(capsys) == ([], ["waguard: the session is already linked"])


def test_a_code_to_type(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("POST /api/sessions/a/pairing-code", Answer(200, {"code": "ABCD-1234"}))
    linking = [Answer(200, {"status": it}) for it in ("qr_scanning", "authenticated", "connected")]
    api.says(STATUS, *linking)
    assert main(["sessions", "pair", "a", "+6281"]) == 0
    assert api.asked[0] == ("POST /api/sessions/a/pairing-code", {"phone_number": "+6281"})
    out, _ = said(capsys)
    assert out[0] == "a: the code is ABCD-1234"
    assert out[-1] == "a: linked"
    assert main(["sessions", "pair", "a", "6281", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"code": "ABCD-1234"}


AWAY: Final = Answer(503, {"error": "sessions are being restored"})


def test_a_restart_of_the_daemon_ends_no_pairing(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says("POST /api/sessions/a/pairing-code", Answer(200, {"code": "ABCD-1234"}))
    api.says(
        STATUS, Answer(200, {"status": "qr_scanning"}), AWAY, Answer(200, {"status": "connected"})
    )
    assert main(["sessions", "pair", "a", "+6281"]) == 0
    assert said(capsys)[0][-1] == "a: linked"


def test_a_restart_of_the_daemon_ends_no_scan(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(QR, CODE, AWAY, CODE, GONE)
    api.says(STATUS, AWAY, Answer(200, {"status": "connected"}))
    assert main(["qr", "a"]) == 0
    assert said(capsys)[0][-1] == "a: scanned"
    api.says(QR, AWAY)
    assert main(["qr", "a"]) == 1, "nothing was shown yet"


def test_a_daemon_that_does_not_come_back_is_waited_for_as_long_as_was_said(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says("POST /api/sessions/a/pairing-code", Answer(200, {"code": "ABCD-1234"}))
    api.says(STATUS, AWAY)
    assert main(["sessions", "pair", "a", "+6281", "--timeout", "1"]) == 1
    assert len(said(capsys)[1]) == 1


def test_a_code_that_nobody_typed(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("POST /api/sessions/a/pairing-code", Answer(200, {"code": "ABCD-1234"}))
    api.says(
        STATUS,
        Answer(200, {"status": "qr_scanning"}),
        Answer(200, {"status": "disconnected", "disconnect_reason": "qr_expired"}),
    )
    assert main(["sessions", "pair", "a", "6281"]) == 1
    assert said(capsys)[1][0].startswith("waguard: the session is disconnected: qr_expired (")
