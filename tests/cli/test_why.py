"""``waguard why``."""

from typing import Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main

SESSION: Final = {
    "session_id": "a",
    "workspace_id": 1,
    "status": "connected",
    "phone_number": "62811",
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
    shown = {**SESSION, "undecryptable": sealed, "version": version}
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


def test_why_says_how_far_a_linking_is(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/sessions/a/status", Answer(200, SESSION))
    linking = {"session_id": "a", "message": "WhatsApp asks for the passkey", "remedy": "Sign it."}
    found = {**linking, "stage": "asked", "expires_in": 590, "unattended_expires_in": 290}
    late = {**linking, "stage": "confirm", "expires_in": 100, "unattended_expires_in": None}
    answer = {"session_id": "a", "status": "qr_scanning", "conditions": [found, late]}
    api.says("GET /api/sessions/a/incidents", Answer(200, {**answer, "incidents": []}))
    assert main(["why", "a"]) == 0
    assert said(capsys)[0][1:-1] == [
        "  ! WhatsApp asks for the passkey",
        "    stage asked, 590 s left, 290 s without a code to compare",
        "    → Sign it.",
        "  ! WhatsApp asks for the passkey",
        "    stage confirm, 100 s left",
        "    → Sign it.",
    ]


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


def test_what_another_host_supervises_is_unknown_here(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    condition = {"session_id": None, "type": "standby", "message": "standby", "remedy": "Wait."}
    api.says("GET /api/incidents", Answer(200, {"conditions": [condition], "incidents": None}))
    assert main(["why"]) == 0
    *_, last = said(capsys)[0]
    assert last == "incidents are unknown while another host supervises"
