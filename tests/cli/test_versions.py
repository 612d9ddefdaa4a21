"""``waguard versions``: what is printed, and what is asked before a session is loaded anew."""

import json
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main

PATH: Final = "/api/versions"
LISTED: Final[dict[str, Any]] = {
    "success": True,
    "mode": "react",
    "newest": 1023,
    "pinned": None,
    "held_from": 1023,
    "trying": "b",
    "versions": [
        {
            "revision": 1023,
            "status": "held",
            "since": "2026-11-26T03:00:00Z",
            "why": "2 sessions were unhealthy with it",
            "sessions": ["a", "b"],
            "wajs": [],
            "stored": True,
            "latest": True,
            "served": False,
        }
    ],
}


def test_the_list_says_what_sessions_get(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(f"GET {PATH}", Answer(200, LISTED))
    assert main(["versions", "list"]) == 0
    assert said(capsys)[0] == [
        "mode react; sessions get an older version: those from 1023 on are held back",
        "  session b tries a version now",
        "REVISION  STATUS  SINCE                 SESSIONS  STORED  SERVED  WHY",
        "1023      held    2026-11-26T03:00:00Z  2         yes     no      2 sessions were unhealthy with it",
    ]
    assert main(["versions", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == LISTED


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"mode": "off"}, "versions.mode is off: every session gets what WhatsApp serves"),
        ({"pinned": 1022}, "mode react; sessions get version 1022, which is pinned"),
        ({"held_from": None}, "mode react; sessions get what WhatsApp serves"),
    ],
)
def test_the_first_line(
    api: Api, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], line: str
) -> None:
    api.says(f"GET {PATH}", Answer(200, LISTED | {"versions": [], "trying": None} | changes))
    assert main(["versions", "list"]) == 0
    first, last = said(capsys)[0]
    assert (first, last) == (
        line,
        "no version is known yet: no session has loaded its page",
    )


@pytest.mark.parametrize(
    ("arguments", "asked", "body"),
    [
        (["pin", "1022"], "pin", {"revision": 1022}),
        (["unpin"], "unpin", {}),
        (["try"], "try", {"revision": None, "session_id": None}),
        (["try", "1023", "--session", "a"], "try", {"revision": 1023, "session_id": "a"}),
    ],
)
def test_a_change_needs_a_yes(
    api: Api,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    asked: str,
    body: dict[str, Any],
) -> None:
    api.says(f"POST {PATH}/{asked}", Answer(200, LISTED))
    assert main(["versions", *arguments]) == 2
    assert "--yes" in said(capsys)[1][0]
    assert api.asked == []
    assert main(["versions", *arguments, "--yes"]) == 0
    assert api.asked == [(f"POST {PATH}/{asked}", body)]
    assert main(["versions", *arguments, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.split("\n", 1)[1]) == LISTED


def test_an_unknown_version_names_the_known_ones(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = {"error": "version 7 is not stored here", "remedy": "stored are 1023, 1022"}
    api.says(f"POST {PATH}/pin", Answer(404, refused))
    assert main(["versions", "pin", "7", "--yes"]) == 1
    [line] = said(capsys)[1]
    assert "stored are 1023, 1022" in line


def test_all_hosts_of_a_cluster_are_listed(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    other = LISTED | {"mode": "off", "versions": []}
    listed = LISTED | {"host": "h1", "hosts": {"h2": other, "h3": None}}
    api.says(f"GET {PATH}", Answer(200, listed))
    assert main(["versions", "list"]) == 0
    lines = said(capsys)[0]
    assert (lines[0], lines[1][:10]) == ("host h1", "mode react")
    assert lines[lines.index("host h2") :] == [
        "host h2",
        "versions.mode is off: every session gets what WhatsApp serves",
        "no version is known yet: no session has loaded its page",
        "",
        "host h3",
        "! it does not answer: its versions are unknown",
    ]
