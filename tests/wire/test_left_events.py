"""What hosts write for each other is read as it was, and nothing else is read."""

import msgspec
import pytest

from tests.supervision.reports import message
from waguard.core.cluster.left_events import PART_BYTES
from waguard.core.messages.inbox import EventPayload, File, InboxRecord, Kind
from waguard.wire.events import Ack, Event, LoggedOut
from waguard.wire.left_events import LeftEvents, decoded, encoded, parts_of

EVENTS = (
    Event(seq=1, at=1.0, body=message(1)),
    Event(seq=2, at=2.0, body=message(2, media=b"\x00\xff", mimetype="image/png")),
    Event(seq=3, at=3.0, body=Ack(ids=("a",), chat="c", ack=3)),
    Event(seq=4, at=4.0, body=LoggedOut(reason="r")),
)
RECORDS = (
    InboxRecord(
        session_id="s",
        workspace_id=1,
        key="k",
        kind=Kind.MESSAGE,
        at=5.5,
        events=(EventPayload("message_received", {"message": {"id": "k", "more": [1, None]}}),),
        file=File(b"\x00", "image/png"),
        ref=("", "k"),
        pairs=(("l", "n"),),
    ),
)


def test_what_is_written_is_read() -> None:
    left = LeftEvents(events=EVENTS, records=RECORDS)
    assert decoded(encoded(left)) == left


@pytest.mark.parametrize(
    "content",
    [b"", b"\xc1", b"{}", b"\x91" * 100_000, msgspec.msgpack.encode({"events": [{"seq": 1}]})],
    ids=["empty", "garbage", "JSON", "nested", "no event"],
)
def test_what_is_not_written_so_is_not_read(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of msgspec
        decoded(content)


def test_a_file_has_a_request_of_its_own() -> None:
    large = Event(seq=9, at=1.0, body=message(9, media=bytes(PART_BYTES), mimetype="image/png"))
    parts = [decoded(it) for it in parts_of([*EVENTS, large, *EVENTS], RECORDS)]
    assert [len(it.events) for it in parts] == [4, 1, 4, 0]
    assert parts[-1].records == RECORDS
    assert list(parts_of([], [])) == []


def test_nothing_of_it_is_shown() -> None:
    assert "text 1" not in repr(LeftEvents(events=EVENTS))
