"""What is understood of a worker of any protocol."""

from typing import Any

import msgspec
import pytest

from waguard.core.link import Link
from waguard.wire.events import Event, LoggedOut
from waguard.wire.reports import Heartbeat, Report
from waguard.wire.stable import StableHeartbeat, StableReport, understood


def said(message: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(message))


def test_this_versions_own_words_are_understood() -> None:
    report = Report(session="s", generation=1, phase="ready", link=Link.CONNECTED, phone="49151")
    assert understood(said(report)) == StableReport(
        phase="ready", link=Link.CONNECTED, phone="49151"
    )
    beat = Heartbeat(devtools=0.1, page=None)
    assert understood(said(beat)) == StableHeartbeat(page=None)


def test_fields_of_another_version_do_no_harm() -> None:
    later = {"type": "report", "phase": "ready", "link": "offline", "mood": ["fine"], "session": 7}
    assert understood(later) == StableReport(phase="ready", link=Link.OFFLINE)
    assert understood({"type": "heartbeat", "page": 0.5, "soul": 1}) == StableHeartbeat(page=0.5)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "report", "phase": "ready", "link": "a state of tomorrow"},
        {"type": "report", "phase": 1, "link": "connected"},
        {"type": "heartbeat", "page": "soon"},
        {"type": ["report"]},
        {},
        [],
        None,
        "report",
        said(Event(seq=1, at=1.0, body=LoggedOut(reason="r"))),
    ],
)
def test_all_else_is_left_alone(message: Any) -> None:
    assert understood(message) is None
