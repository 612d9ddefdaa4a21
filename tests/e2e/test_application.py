"""What the application's people do, from their button to the phone and back; and the same with an
orderly restart of the daemon in the middle."""

import base64
import os
from collections.abc import AsyncIterator

import pytest

from tests.e2e.application import DEADLINE, FRIEND, PHONE, QUICK, Served, Setting, serving
from tests.store.conftest import BACKENDS
from tests.waiting import wait_until
from waguard.core.replace import replace
from waguard.lab.standin.refusal import Refusal

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

GROUP = "120363000000000001"

RESTARTED = [
    pytest.param(
        Setting(restarted=True, backend=backend),
        id=f"restarted-{backend}",
        marks=pytest.mark.long,
    )
    for backend in BACKENDS
]
# each sequence with a restart in the middle on every database; as they are one after the other, on one session
PLAYED = pytest.mark.parametrize("served", RESTARTED, indirect=True)
STRAIGHT = pytest.mark.parametrize(
    "served", [pytest.param(Setting(), id="straight")], indirect=True
)
# what it asks for is seen without it in test_disconnecting, and after a logout below
PLAYED_LONG = pytest.mark.parametrize(
    "served",
    [pytest.param(Setting(), id="straight", marks=pytest.mark.long), *RESTARTED],
    indirect=True,
)


@pytest.fixture
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """All of it; parametrized indirectly with a ``Setting``."""
    async with serving(request.param, request) as made:
        yield made


@STRAIGHT
async def test_a_session_is_connected_writes_and_is_logged_out(served: Served) -> None:
    session = await connect(served)
    await exchange_media(served, session)
    await write_to_a_group(served, session)
    await log_out(served, session)


@PLAYED
async def test_a_session_is_connected_as_the_application_asks(served: Served) -> None:
    await connect(served)


async def connect(served: Served) -> str:
    session, reply = await served.app.connect()
    assert reply.answer["status"] == "qr_scanning"
    await served.app.wait_for("qr_code_generated", session)
    await served.middle()
    await served.scan(session)
    row = await served.row(session, "connected")
    assert row["phone_number"] == PHONE
    assert (await served.app.status(session)).answer["status"] == "connected"
    assert (await served.app.status(session, with_key=False)).answer["status"] == "connected"
    await served.app.workers.is_idle()  # what overtook is repaired, or never was
    await served.row(session, "connected")
    await served.comes_in(session, "hello")
    return session


@PLAYED_LONG
async def test_a_session_is_disconnected_as_the_application_asks(served: Served) -> None:
    session = await served.connected()
    after = len(served.app.received)
    assert (await served.app.disconnect(session)).good
    await served.middle()
    reply = await served.app.status(session)
    assert (reply.status, reply.answer.get("status")) == (200, "disconnected")
    await served.app.workers.is_idle()
    await served.row(session, "disconnected")
    shown = [one["event"] for one in served.app.received[after:]]
    assert "qr_code_generated" not in shown, "nobody asked for a new code"
    with pytest.raises(Refusal):  # nobody is linked any more
        served.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="anybody there?")
    assert (await served.app.send(session, FRIEND, "too late")).status == "failed"


@PLAYED_LONG
async def test_a_session_is_reconnected_as_the_application_asks(served: Served) -> None:
    session = await served.connected()
    after = len(served.app.received)
    reply = await served.app.reconnect(session)
    assert reply.good, reply
    await served.middle()
    await served.scan(session, after=after)
    await served.row(session, "connected")
    await served.late_jobs_are_over(session)
    await served.comes_in(session, "hello again")
    assert (await served.app.send(session, FRIEND, "and out")).status == "sent"
    assert len(served.sent("and out")) == 1


@PLAYED
async def test_a_session_is_logged_out_as_the_application_asks(served: Served) -> None:
    await log_out(served, await served.connected())


async def log_out(served: Served, session: str) -> None:
    after = len(served.app.received)
    reply = await served.app.logout(session)
    assert reply.good, reply
    await served.middle()
    await served.row(session, "disconnected")
    reported = await served.app.wait_for("session_disconnected", session, after=after)
    assert reported["reason"] == "user_initiated"
    assert (await served.app.reconnect(session)).good
    await served.scan(session, after=after)
    await served.row(session, "connected")


@PLAYED
async def test_two_ways_with_media(served: Served) -> None:
    await exchange_media(served, await served.connected())


async def exchange_media(served: Served, session: str) -> None:
    content = os.urandom(20_000)
    picture = {"mimetype": "image/png", "base64": base64.b64encode(content).decode()}
    await served.comes_in(session, "look", media=picture)
    (row,) = [it for it in served.app.records.of(session, "in") if it.media]
    assert row.media
    assert base64.b64decode(row.media["data"]) == content
    await served.middle()
    await served.late_jobs_are_over(session)
    url = served.app.hooks.file_url("answer.png", content)
    out = await served.app.send_media(session, FRIEND, "nice", media_url=url, filename="a.png")
    assert (out.status, out.error) == ("sent", None)
    (message,) = served.sent("nice")
    assert message["size"] == len(content)
    await wait_until(lambda: out.status == "delivered", "its receipt", deadline=DEADLINE)
    text = await served.app.send(session, FRIEND, "and a text")
    await wait_until(lambda: text.status == "delivered", "its receipt", deadline=DEADLINE)
    await served.comes_in(session, "thanks")
    assert len(list(served.app.records.of(session, "out"))) == 2  # each once


@PLAYED
async def test_a_group_by_its_bare_id(served: Served) -> None:
    await write_to_a_group(served, await served.connected())


async def write_to_a_group(served: Served, session: str) -> None:
    group = f"{GROUP}@g.us"
    await served.middle()
    await served.late_jobs_are_over(session)
    served.standin.phone.incoming(phone=PHONE, from_=group, author=FRIEND, body="all of you")
    await served.stored(session, "all of you")
    out = await served.app.send(session, GROUP, "to all")
    assert (out.status, out.answers, out.error) == ("sent", [200], None)
    (message,) = served.sent("to all")
    assert message["to"] == group


QUIET = 120.0  # s: the limiter's minute, and once more
COUNT, BUSY = 8, replace(QUICK, limit=25)


@pytest.mark.long  # the limiter is quiet for a minute
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "served",
    [
        pytest.param(Setting(manners=BUSY), id="straight"),
        pytest.param(Setting(restarted=True, manners=BUSY), id="restarted"),
    ],
    indirect=True,
)
async def test_a_campaign_that_the_limiter_stops(served: Served) -> None:
    session = await served.connected()
    sent = [await served.app.send(session, FRIEND, f"offer {n}") for n in range(COUNT)]
    assert [row.answers for row in sent] == [[200]] * COUNT
    await wait_until(lambda: served.app.hooks.refused, "a 429", deadline=DEADLINE)
    served.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="no, thanks")
    await served.middle()
    refused = served.app.hooks.refused
    await wait_until(
        lambda: {row.status for row in sent} == {"delivered"}, "all is told", deadline=QUIET
    )
    await served.stored(session, "no, thanks", within=QUIET)
    # each 429 renews the window: more than a few would keep it shut
    assert served.app.hooks.refused - refused <= 8 * 3
    assert len(list(served.app.records.of(session, "out"))) == COUNT
