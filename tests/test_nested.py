"""JSON of others that is nested without an end is no JSON, wherever it is read."""

from collections.abc import Callable

import pytest

from waguard.api import host_events
from waguard.api.audit import CutOffError
from waguard.cli import client, event_stream, log_reading
from waguard.cluster import etcd, etcd_gateway
from waguard.daemon import host_alerts
from waguard.errors import EngineUnavailableError
from waguard.host.system.log_names import FIELDS
from waguard.supervision.session import passkeys

DEPTH = 100_000
NESTED = '{"a":' + "[" * DEPTH + "]" * DEPTH + "}"


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda: client._json(200, NESTED.encode()), client.ApiCallError),
        (lambda: event_stream._event(NESTED), client.ApiCallError),
        (lambda: host_events._data(b"data: " + NESTED.encode()), CutOffError),
        (lambda: etcd._watched(NESTED.encode()), EngineUnavailableError),
        (lambda: etcd_gateway._decoded(200, NESTED.encode(), dict), etcd_gateway.MemberError),
    ],
    ids=[
        "an answer of the API",
        "an event of a stream",
        "an event of a host",
        "a watch of etcd",
        "an answer of etcd",
    ],
)
def test_an_answer_is_refused_as_any_other_garbage(
    read: Callable[[], object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        read()


def test_what_is_kept_is_as_good_as_none() -> None:
    assert host_alerts._reported(NESTED) is None
    assert passkeys._read(NESTED) is None
    assert etcd_gateway._message(NESTED.encode()).startswith("b'{")


def test_a_line_of_the_log_is_a_message() -> None:
    assert log_reading.of_line(NESTED).fields == {"message": NESTED}
    entry = log_reading.of_journal({FIELDS: NESTED, "MESSAGE": "x"})
    assert entry.fields["message"] == "x"
