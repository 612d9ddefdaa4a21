"""When a session's messages may be delivered: where the application would hear that it is connected."""

from typing import Any

import pytest

from tests.core.session.test_views import session, worker
from waguard.core.link import Link
from waguard.core.row_status import DerivedStatus, Status
from waguard.core.session.facts import Moment
from waguard.core.session.state import Stage, Worker
from waguard.core.webhooks.session_gate import Connection, connection

CONNECTED = DerivedStatus(Status.CONNECTED)
HEALTHY = worker(link=Link.CONNECTED)
NOW = Moment(40.0, wall=1_000.0)


@pytest.mark.parametrize(
    ("known", "stopping", "expected"),
    [
        ({}, False, Connection(phone="49170", since=970.0)),
        ({}, True, Connection(why_not="waguard is stopping")),
        (
            {"status": DerivedStatus(Status.QR_SCANNING)},
            False,
            Connection(why_not="it is qr_scanning"),
        ),
    ],
)
def test_a_session_is_connected_when_its_row_and_its_worker_say_so(
    known: dict[str, Any], *, stopping: bool, expected: Connection
) -> None:
    fields = {"status": CONNECTED, "phone": "49170", "worker": HEALTHY, **known}
    assert connection(session(**fields), NOW, stopping=stopping) == expected


@pytest.mark.parametrize("it", [None, worker(), worker(Stage.SPAWNING, link=Link.CONNECTED)])
def test_a_connection_that_no_worker_confirms_is_unknown(it: Worker | None) -> None:
    found = connection(session(status=CONNECTED, worker=it), NOW, stopping=False)
    assert not found.known
    assert "not confirmed" in str(found.why_not)
