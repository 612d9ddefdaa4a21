"""``waguard hosts``, ``drain`` and ``sessions move``."""

import json
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import CONTEXT, main
from waguard.cli import main as program
from waguard.cli import output
from waguard.core.replace import replace

ALONE: Final = {
    "error": "there is one host alone",
    "field": "cluster.engine",
    "remedy": "docs/cluster.md says how to make a cluster",
}


def host(name: str, **more: Any) -> dict[str, Any]:
    return {
        "host": name,
        "address": f"http://{name}:3001",
        "version": "1.0",
        "alive": True,
        "renewed_ago": 1.2,
        "owned": 3,
        "room": 7,
        "drain": False,
        **more,
    }


def hosts(*them: dict[str, Any], without_owner: int | None = 0) -> Answer:
    body = {"success": True, "host": "h1", "hosts": list(them), "without_owner": without_owner}
    return Answer(200, body)


def test_the_hosts_are_a_table(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    answer = hosts(host("h1"), host("h2", drain=True), host("h3", alive=False, renewed_ago=700.0))
    api.says("GET /api/hosts", answer)
    assert main(["hosts"]) == 0
    out, _ = said(capsys)
    assert out[0].split() == ["HOST", "STATE", "OWNED", "ROOM", "RENEWED", "VERSION", "ADDRESS"]
    assert [line.split("  ")[0] for line in out[1:]] == ["h1 (here)", "h2", "h3"]
    assert ["alive" in out[1], "drains" in out[2], "dead" in out[3]] == [True, True, True]
    assert "11m ago" in out[3]
    assert main(["hosts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer.body


@pytest.mark.parametrize(
    ("count", "words"),
    [(1, "! 1 session without a host"), (2, "! 2 sessions without"), (None, "is unknown")],
)
def test_sessions_without_a_host(
    api: Api, capsys: pytest.CaptureFixture[str], count: int | None, words: str
) -> None:
    api.says("GET /api/hosts", hosts(host("h1"), without_owner=count))
    assert main(["hosts"]) == 0
    assert words in said(capsys)[0][2]


def test_why_sessions_have_none(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    answer = hosts(host("h1"), without_owner=8)
    whys = ["no host has room for it"] * 7 + ["it is on its way to b"]
    answer.body["waiting"] = [
        {"session_id": f"s{number}", "seconds": 3.0, "why": why} for number, why in enumerate(whys)
    ]
    api.says("GET /api/hosts", answer)
    assert main(["hosts"]) == 0
    assert said(capsys)[0][3:] == [
        "    s0, s1, s2, s3, s4 and 2 more: no host has room for it",
        "    s7: it is on its way to b",
    ]


@pytest.mark.parametrize(
    "argv",
    [
        ["hosts"],
        ["hosts", "forget", "h1"],
        ["drain"],
        ["drain", "h1"],
        ["drain", "--end", "h1"],
        ["sessions", "move", "a", "h1"],
    ],
)
def test_one_host_alone(api: Api, capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    for request in (
        "GET /api/hosts",
        "POST /api/hosts/h1/drain",
        "DELETE /api/hosts/h1",
        "DELETE /api/hosts/h1/drain",
        "POST /api/sessions/a/move",
    ):
        api.says(request, Answer(409, ALONE))
    assert main(argv) == 1
    _, err = said(capsys)
    assert "there is one host alone" in err[0]
    assert "docs/cluster.md" in err[0]


def test_a_drain_of_this_host(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/hosts", hosts(host("h1")))
    done = {"success": True, "host": "h1", "drain": True}
    api.says("POST /api/hosts/h1/drain", Answer(200, done))
    assert main(["drain"]) == 0
    assert said(capsys)[0] == ["h1 takes no session any more, and its own move: waguard hosts"]
    assert main(["drain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == done


def test_a_host_is_forgotten(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    done = {"success": True, "host": "h 2"}
    api.says("DELETE /api/hosts/h%202", Answer(200, done))
    assert main(["hosts", "forget", "h 2"]) == 0
    assert said(capsys)[0] == [
        "h 2 is forgotten: it is a host again when a waguard of this name starts"
    ]
    assert main(["hosts", "forget", "h 2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == done


def test_a_drain_is_ended(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("DELETE /api/hosts/h%202/drain", Answer(200, {"success": True}))
    assert main(["drain", "--end", "h 2"]) == 0
    assert said(capsys)[0] == ["h 2 takes sessions again"]
    with pytest.raises(SystemExit):
        main(["drain", "--end", "--wait"])


def test_a_drain_that_is_waited_for(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """What the host said before it drained counts for nothing."""
    api.says(
        "GET /api/hosts",
        hosts(host("h2", owned=0)),
        hosts(host("h2", owned=2, drain=True)),
        Answer(503, {"error": "the database is down"}),
        hosts(host("h2", owned=0, drain=True)),
    )
    api.says("POST /api/hosts/h2/drain", Answer(200, {"success": True}))
    assert main(["drain", "--wait", "h2"]) == 0
    assert said(capsys)[0] == ["h2 has no session any more"]
    assert len(api.asked) == 5


@pytest.mark.parametrize(
    ("other", "where_to"),
    [
        ({}, ""),
        (
            {"drain": True},
            ", and no host takes sessions: start another one, or `waguard drain --end` where one is drained",
        ),
    ],
)
def test_a_drain_says_where_nobody_takes_the_sessions(
    api: Api, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], where_to: str
) -> None:
    expected, lines = f"2 are still there{where_to}\n", list[str]()
    monkeypatch.setattr(output, "say", lines.append)

    def listed(request: str) -> Answer:
        is_said = any(line.endswith(expected) for line in lines)
        return hosts(host("h1", **other), host("h2", owned=0 if is_said else 2, drain=True))

    api.compute["GET /api/hosts"] = listed
    api.says("POST /api/hosts/h2/drain", Answer(200, {"success": True}))
    assert program(["drain", "--wait", "h2"], replace(CONTEXT, says_after=0.0)) == 0
    assert f"waiting for the sessions of h2: {expected}" in lines


@pytest.mark.parametrize("left", [[], [host("h2", alive=False, drain=True, owned=0)]])
def test_a_host_that_ends_while_it_is_waited_for(
    api: Api, capsys: pytest.CaptureFixture[str], left: list[dict[str, Any]]
) -> None:
    api.says("GET /api/hosts", hosts(*left))
    api.says("POST /api/hosts/h2/drain", Answer(200, {"success": True}))
    assert main(["drain", "--wait", "h2"]) == 1
    assert "h2 does not run any more" in said(capsys)[1][0]


def test_a_move(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    done = {"success": True, "session_id": "a", "to": "h2"}
    api.says("POST /api/sessions/a/move", Answer(200, done))
    assert main(["sessions", "move", "a", "h2"]) == 0
    assert said(capsys)[0] == ["a: moves to h2; see `waguard hosts`"]
    assert api.asked[-1] == ("POST /api/sessions/a/move", {"to": "h2"})
    assert main(["sessions", "move", "a", "h2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == done
