"""What a worker says that none says: a report ends the line, an event is kept as an error."""

from typing import Any

import msgspec
import pytest

from tests.supervision.line import Line
from tests.supervision.reports import message, qr
from tests.waiting import wait_until
from waguard.wire.events import Event, MessageError
from waguard.wire.reports import QrCode


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"link": "odd"}, "odd"),
        ({"phase": "odd"}, "odd"),
        ({"session": "another"}, "another worker: 'another', 3"),
        ({"generation": 2}, "another worker: 's', 2"),
        ({"phone": "+49 151"}, "phone"),
        ({"phone": "49151\n"}, "phone"),
        ({"browser_pid": 1}, "browser_pid"),
        ({"browser_pid": -1}, "browser_pid"),
        ({"details": "x" * 5_000}, "details"),
        pytest.param({"qr": qr("x" * 1_001)}, "raw", id="a long code"),
        pytest.param({"qr": qr("\x1b[2J")}, "raw", id="an odd code"),
        pytest.param(
            {"qr": QrCode(raw="a", count=1, expires_at=float("nan"))}, "expires_at", id="not a time"
        ),
    ],
    ids=str,
)
async def test_a_report_that_no_worker_gives_ends_the_line(
    line: Line, fields: dict[str, Any], words: str
) -> None:
    line.process.report(**fields)
    await line.listening
    assert line.reported == []
    assert words in str(line.link.nonsense)


async def test_what_is_wrong_is_reported_in_a_few_printable_words(line: Line) -> None:
    line.process.report("\x1b[2J" * 10_000)
    await line.listening
    assert line.link.nonsense
    assert line.link.nonsense.isprintable()
    assert len(line.link.nonsense) < 1_000


@pytest.mark.parametrize(
    "fields",
    [
        {"body": "x" * 70_000},
        {"id": "i" * 257},
        {"timestamp": -1},
        {"timestamp": 1 << 60},
        {"size": -1},
        {"chat": 7},
        {"body": "a\0b", "kind": ["no", "word"]},
    ],
    ids=str,
)
async def test_an_event_that_cannot_be_read_is_kept_and_those_after_it_are_taken(
    line: Line, fields: dict[str, Any]
) -> None:
    """A worker says an event again until it is stored: it would be in the way for ever."""
    line.process.event(message(1, **fields))
    line.process.event(message(2))
    await wait_until(lambda: len(line.reported) == 2, "both were taken")
    odd, after = line.reported
    assert isinstance(odd, Event)
    assert isinstance(after, Event)
    assert (odd.seq, after.seq, after.body) == (1, 2, message(2))
    assert isinstance(odd.body, MessageError)
    assert next(iter(fields)) in odd.body.error
    assert odd.body.raw.isprintable()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(odd), type=Event) == odd
    assert line.link.nonsense is None
