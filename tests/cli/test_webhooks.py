"""``waguard webhooks``."""

import json
from typing import Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main

LETTER: Final = {
    "id": 7,
    "session_id": "a",
    "event": "message_received",
    "endpoint": "global",
    "attempts": 3,
    "died_at": "2026-11-25T09:00:00Z",
    "error": "the receiver answered 404",
}


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
