"""What the users of the application have in the end: rows of its table, where its workers are late, and
of what they sent themselves."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

import pytest

from tests.e2e.application import DEADLINE, FRIEND, PHONE, QUICK, Served, Setting, serving
from waguard.core.replace import replace
from waguard.lab.application import Manners
from waguard.lab.application.chats import Seen
from waguard.lab.application.manners import body_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(600),
]

MESSAGES: Final = 40
GAP: Final = 0.75  # s between two of them
SENDS: Final = 5
EARLY: Final = 40
LATE: Final = Manners()  # as measured
SLOW_COMMIT: Final = replace(QUICK, boot=0.0, commit=2.0)


@pytest.fixture
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """Parametrized indirectly with a ``Setting``."""
    async with serving(request.param, request) as made:
        yield made


async def rows(served: Served, count: int) -> list[Seen]:
    """Of its table, when there are so many, or no webhook comes any more."""
    app, seen = served.app, list[Seen]()
    while len(seen := await app.chats.seen()) < count:
        handled = len(app.received)
        try:
            async with asyncio.timeout(DEADLINE):
                await app.until(partial(_more, handled))
        except TimeoutError:
            break
    await app.workers.is_idle()
    return seen


def _more(than: int, received: Sequence[object]) -> bool | None:
    return len(received) > than or None


@pytest.mark.parametrize(("jobs", "seconds"), [(1, 5.0), (98, LATE.job)])
@pytest.mark.parametrize("served", [Setting(manners=LATE)], indirect=True)
async def test_a_late_worker_loses_nothing(served: Served, jobs: int, seconds: float) -> None:
    app = served.app
    app.hooks.misbehave(backlog=jobs, job=seconds)
    session, _ = await app.connect()
    await served.scan(session)
    await served.row(session, "connected")
    for number in range(MESSAGES):
        served.standin.phone.incoming(phone=PHONE, from_=FRIEND, body=f"late {number}")
        await asyncio.sleep(GAP)  # people write as fast as that, whatever becomes of it
    stored = [body_of(row.metadata) for row in await rows(served, MESSAGES)]
    assert stored == [f"late {number}" for number in range(MESSAGES)], len(stored)


@pytest.mark.parametrize("served", [Setting(manners=SLOW_COMMIT)], indirect=True)
async def test_the_applications_own_sends_are_one_row_each(served: Served) -> None:
    session = await served.connected()
    for number in range(SENDS):
        assert (await served.app.send(session, FRIEND, f"out {number}")).status == "sent"
    await rows(served, SENDS + 1)  # one more would be one too many
    seen = await served.app.chats.seen()
    assert Counter(body_of(row.metadata) for row in seen) == {f"out {n}": 1 for n in range(SENDS)}
    assert {row.phone for row in seen} == {FRIEND}


@pytest.mark.parametrize("served", [Setting()], indirect=True)
async def test_what_is_written_on_the_phone_is_in_its_chat(served: Served) -> None:
    await served.connected()
    served.standin.phone.write(FRIEND, phone=PHONE, body="from the phone")
    (row,) = await rows(served, 1)
    assert row.phone == FRIEND


@pytest.mark.parametrize("served", [Setting()], indirect=True)
async def test_what_is_written_right_after_the_scan(served: Served) -> None:
    session, _ = await served.app.connect()
    await served.scan(session)
    for number in range(EARLY):
        served.standin.phone.incoming(phone=PHONE, from_=FRIEND, body=f"early {number}")
        await asyncio.sleep(0.05)  # the page that was scanned is still there, and is opened again
    await served.row(session, "connected")
    await served.late_jobs_are_over(session)
    served.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="last")
    stored = [body_of(row.metadata) for row in await rows(served, EARLY + 1)]
    assert stored == [*(f"early {number}" for number in range(EARLY)), "last"]
