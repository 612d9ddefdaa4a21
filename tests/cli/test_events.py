"""``waguard events``: the stream over the socket, also over its breaks."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api
from tests.cli.program import main
from waguard.cli import event_stream
from waguard.cli.client import ApiCallError, ApiClient
from waguard.config.sections import Config, Paths

PHONE: Final = "6281234567801"


def event(
    number: int, name: str = "lifecycle", session: str | None = "a", **data: Any
) -> dict[str, Any]:
    return {
        "id": number,
        "event": name,
        "session_id": session,
        "at": "2026-11-26T10:00:00Z",
        "data": {"workspace_id": 1, **data},
    }


def stream(*events: dict[str, Any]) -> Answer:
    blocks = [f"id: {it['id']}\nevent: {it['event']}\ndata: {json.dumps(it)}\n\n" for it in events]
    return Answer(
        200,
        f"retry: 2000\n: waguard\n\n{''.join(blocks)}: that is all so far\n\n".encode(),
        "text/event-stream",
    )


EVENTS: Final = (
    event(1, **{"from": "starting", "to": "running", "because": "reported"}),
    event(2, "message_received", body="hello", message={"body": "hello"}, phone=PHONE, n=1.5),
    event(3, "incident", None, kind="database_down", reason="x" * 200, none=None),
)
HUMAN: Final = [
    "2026-11-26T10:00:00Z a lifecycle workspace_id=1 from=starting to=running because=reported",
    '2026-11-26T10:00:00Z a message_received workspace_id=1 phone="62812…801" n=1.5',
    f'2026-11-26T10:00:00Z - incident workspace_id=1 kind=database_down reason="{"x" * 80}…"',
]


def test_what_is_remembered(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/events", stream(*EVENTS))
    assert main(["events"]) == 0
    assert capsys.readouterr().out.splitlines() == HUMAN
    assert api.headers["Last-Event-ID"] == "0"
    assert main(["events", "--session", "a"]) == 0
    assert capsys.readouterr().out.splitlines() == HUMAN[:2]


def test_for_a_machine(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/events", stream(*EVENTS))
    assert main(["events", "--json"]) == 0
    assert list(map(json.loads, capsys.readouterr().out.splitlines())) == list(EVENTS)


class Enough(Exception):  # noqa: N818 - no error
    """The test has seen what it wanted."""


def followed(breaks: int) -> tuple[list[int | str], list[str], list[float]]:
    """Ids of what was shown, what was said of so many breaks, and how many seconds each had."""
    shown: list[int | str] = []
    said: list[str] = []
    paused: list[float] = []
    left = iter(range(breaks - 1))

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if next(left, None) is None:
            raise Enough

    def events() -> Iterator[dict[str, Any]]:
        return event_stream.follow(client, broken=said.append, noted=said.append, pause=pause)

    with pytest.raises(Enough):
        shown.extend(it["id"] for it in events())
    return shown, said, paused


def client() -> ApiClient:
    return ApiClient.of(Config(paths=Paths(runtime=runtime())))


def runtime() -> Path:
    return Path.cwd() / "run"


CLUSTER: Final = (
    b"retry: 2000\n: waguard\n\n"
    b": host h2: away\n\n"
    b"id: h1:5\n\n"
    b'id: h1:6\nevent: link\ndata: {"id": "h1:6", "event": "link", "session_id": null, '
    b'"at": "2026-11-26T10:00:00Z", "data": {}}\n\n'
    b": host h2: back\nid: h1:6,h2:9\n\n"
)


def test_a_cluster_says_which_host_is_away(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(
        "GET /api/events",
        Answer(200, CLUSTER + b": that is all so far\n\n", "text/event-stream"),
    )
    assert main(["events"]) == 0
    out, err = capsys.readouterr()
    assert out == "2026-11-26T10:00:00Z - link\n"
    assert err == "waguard: host h2: away\nwaguard: host h2: back\n"


def test_a_stream_of_a_cluster_goes_on_where_it_was(api: Api) -> None:
    """Also after an id without an event; an event that is cut off is asked for again."""
    cut = CLUSTER + b'id: h1:7,h2:9\nevent: link\ndata: {"id": "h1'
    api.says("GET /api/events", Answer(200, cut, "text/event-stream"), stream())
    shown, *_ = followed(2)
    assert shown == ["h1:6"]
    assert api.headers["Last-Event-ID"] == "h1:6,h2:9"


def test_a_stream_that_breaks_off_goes_on_where_it_was(api: Api) -> None:
    api.says("GET /api/events", stream(*EVENTS[:2]), stream(), stream(EVENTS[2]))
    shown, said, _ = followed(3)
    assert shown == [1, 2, 3]
    assert api.headers["Last-Event-ID"] == "2"
    assert said == ["the daemon ended the stream"] * 3


def test_a_daemon_that_is_started_again_is_waited_for(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says("GET /api/events", stream(EVENTS[0]))
    (socket,) = runtime().glob("*.sock")
    away = socket.with_suffix(".away")
    shown: list[int] = []
    said: list[str] = []
    steps: list[Callable[[], object]] = [
        lambda: socket.rename(away),
        lambda: None,
        lambda: away.rename(socket),
    ]

    def pause(_: float) -> None:
        if not steps:
            raise Enough
        steps.pop(0)()

    with pytest.raises(Enough):
        shown.extend(
            it["id"] for it in event_stream.follow(client, broken=said.append, pause=pause)
        )
    assert shown == [1, 1]
    ended, gone, again = said
    assert ended == again == "the daemon ended the stream"
    assert "has no socket" in gone


def test_without_a_daemon_it_ends_with_the_reason(api: Api) -> None:
    next(iter(runtime().glob("*.sock"))).unlink()
    with pytest.raises(ApiCallError):
        next(event_stream.follow(client, broken=lambda _: None))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_stream_goes_on_after_a_daemon_that_is_busy_for_a_moment(api: Api, status: int) -> None:
    """That is said once; a daemon that names a longer pause gets it."""
    busy = Answer(status, {"error": "waguard is busy"}, headers={"Retry-After": "7"})
    api.says("GET /api/events", stream(EVENTS[0]), busy, busy, stream(EVENTS[1]))
    shown, said, paused = followed(4)
    assert shown == [1, 2]
    assert said == ["the daemon ended the stream", "waguard is busy", "the daemon ended the stream"]
    assert paused == [2.0, 7.0, 7.0, 2.0]


def test_a_stream_whose_place_is_unknown_goes_on_from_now(api: Api) -> None:
    """As after the update of a daemon, whose ids were others."""
    refused = Answer(400, {"error": "invalid event id"})
    api.says("GET /api/events", stream(EVENTS[1]), refused, stream(EVENTS[2]))
    shown, said, _ = followed(3)
    assert shown == [2, 3]
    assert said[1:3] == ["some events may be missing", "invalid event id"]
    assert "Last-Event-ID" not in api.headers


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_stream_that_is_refused_later_ends(api: Api, status: int) -> None:
    refused = Answer(status, {"error": "no"})
    api.says("GET /api/events", stream(EVENTS[0]), refused, refused)
    events = event_stream.follow(client, broken=lambda _: None, pause=lambda _: None)
    with pytest.raises(ApiCallError, match="no"):
        list(events)


def test_a_refusal_is_shown(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/events", Answer(503, {"error": "too much at once", "remedy": "wait"}))
    assert main(["events", "-f"]) == 1
    assert capsys.readouterr().err == "waguard: too much at once (wait)\n"
