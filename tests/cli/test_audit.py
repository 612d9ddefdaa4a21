"""``waguard audit``."""

import json
import time
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main

STOPPED: Final[dict[str, Any]] = {
    "at": "2026-11-25T09:00:00.25Z",
    "by": 'key "ani"',
    "outcome": "done",
    "status": 200,
    "session_id": "a",
    "route": "POST /api/sessions/{session_id}/stop",
    "path": "/api/sessions/a/stop",
}
CREATED: Final = STOPPED | {
    "by": "the application",
    "outcome": "refused",
    "status": 409,
    "route": "POST /api/sessions",
    "path": "/api/sessions",
    "session_id": "b",
}
CUT_OFF: Final = STOPPED | {"outcome": "unknown", "status": None, "session_id": None}
ASKED: Final = "GET /api/audit?since=1970-01-03T00%3A00%3A00%2B00%3A00"


@pytest.fixture
def asked(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """The newest first, in two pages."""
    monkeypatch.setattr(time, "time", lambda: 86400.0 * 3)
    api.says(ASKED, Answer(200, {"success": True, "changes": [CUT_OFF, CREATED], "before": 7}))
    rest = Answer(200, {"success": True, "changes": [STOPPED], "before": None})
    api.says(f"{ASKED}&before=7", rest)
    return api


def test_who_did_what_and_what_came_of_it(asked: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 0
    head, *lines = said(capsys)[0]
    assert head.split() == ["AT", "BY", "OUTCOME", "CHANGE"]
    at = "2026-11-25T09:00:00Z"
    assert [" ".join(line.split()) for line in lines] == [
        f'{at} key "ani" done POST /api/sessions/a/stop',
        f"{at} the application refused: 409 POST /api/sessions (b)",
        f'{at} key "ani" unknown POST /api/sessions/a/stop',
    ]


def test_all_pages_are_one_answer_for_a_machine(
    asked: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "--since", "24h", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "success": True,
        "changes": [STOPPED, CREATED, CUT_OFF],
        "before": None,
    }


def test_without_changes_a_line_says_so(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    path = "GET /api/audit?since=2026-11-25T00%3A00%3A00%2B00%3A00"
    api.says(path, Answer(200, {"success": True, "changes": [], "before": None}))
    assert main(["audit", "--since", "2026-11-25"]) == 0
    assert said(capsys)[0] == ["no changes recorded"]


def test_in_a_cluster_the_host_is_shown(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "time", lambda: 86400.0 * 3)
    changes = [STOPPED | {"host": "h2"}, STOPPED | {"host": None}]
    api.says(ASKED, Answer(200, {"success": True, "changes": changes, "before": None}))
    assert main(["audit"]) == 0
    head, *lines = said(capsys)[0]
    assert head.split() == ["HOST", "AT", "BY", "OUTCOME", "CHANGE"]
    assert [line.split()[0] for line in lines] == ["-", "h2"]
