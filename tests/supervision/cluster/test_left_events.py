"""What another host has received of a session of this one is stored as what its own worker reports."""

import asyncio
from typing import Any

import pytest

from tests.supervision.bench import Bench
from tests.supervision.bench import bench as bench  # noqa: PLC0414 - a fixture
from tests.supervision.bench import empty as empty  # noqa: PLC0414 - a fixture
from tests.supervision.fake_host import START
from tests.supervision.reports import message
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind
from waguard.errors import InvalidInputError, RefusedError, UnavailableError
from waguard.profile import mark_files
from waguard.profile.owner_mark import PAIRING
from waguard.supervision.cluster.left_events import LeftEventsHere
from waguard.wire.events import Ack, BackfillGap, Event, Lasting, LoggedOut
from waguard.wire.left_events import LeftEvents, encoded


def left(*bodies: Lasting, at: float = START, records: tuple[InboxRecord, ...] = ()) -> bytes:
    events = tuple(Event(seq=seq, at=at, body=it) for seq, it in enumerate(bodies, start=1))
    return encoded(LeftEvents(events=events, records=records))


def record(key: str, session: str = "s") -> InboxRecord:
    payload = EventPayload("message_received", {"message": {"id": key}})
    return InboxRecord(
        session_id=session,
        workspace_id=7,
        key=key,
        kind=Kind.MESSAGE,
        at=START,
        events=(payload,),
        ref=("", key),
    )


def received(world: World) -> list[str]:
    return [it.data["message"]["id"] for it in world.events("message_received")]


def gap_is_recorded(world: World) -> bool:
    return any(it.kind == "backfill_gap" for it in world.store.entries)


def here(bench: Bench, within: float = 60.0) -> LeftEventsHere:
    return LeftEventsHere(lambda: bench.it.registry, within=within)


def generation(bench: Bench) -> int:
    return bench.session().row.generation


async def test_it_is_stored_when_it_is_taken_and_reported_once(empty: Bench, world: World) -> None:
    process = await empty.connected()
    process.event(message(2))  # the page has read it from its chat meanwhile
    await wait_until(lambda: process.stored == [1], "it is stored")
    content = left(message(1), message(2), Ack(ids=("true_c_1",), chat="c", ack=3))
    for _ in range(2):  # the answer was lost: it is handed again
        await here(empty).store("s", generation(empty), content)
    await wait_until(lambda: world.events("message_read"), "all of it is reported")
    assert received(world) == ["false_49170@c.us_2", "false_49170@c.us_1"]
    assert len(world.events("message_read")) == 1
    assert process.stored == [1], "its own worker has reported nothing more"


async def test_what_the_database_refused_on_the_other_host(empty: Bench, world: World) -> None:
    await empty.connected()
    content = left(records=(record("a"), record("b")))
    for _ in range(2):
        await here(empty).store("s", None, content)
    await wait_until(lambda: received(world) == ["a", "b"], "it is reported")


async def test_nothing_is_said_to_be_stored_before_it_is(empty: Bench, world: World) -> None:
    await empty.connected()
    world.inbox.free.clear()
    content = left(message(1), Ack(ids=("true_c_1",), chat="c", ack=3))
    with pytest.raises(UnavailableError, match="not stored yet"):
        await here(empty, within=0.01).store("s", generation(empty), content)
    world.inbox.waiting.clear()  # this host was refused them, too
    again = asyncio.create_task(here(empty).store("s", generation(empty), content))
    await wait_until(lambda: len(world.inbox.waiting) == 2, "both are to be stored")
    assert not again.done()
    world.inbox.free.set()
    world.inbox.store()
    await again
    await wait_until(lambda: world.events("message_read"), "an ack counts until it is stored")


async def test_a_full_inbox_takes_nothing(empty: Bench, world: World) -> None:
    await empty.connected()
    world.inbox.full = True
    with pytest.raises(UnavailableError, match="too much waits"):
        await here(empty).store("s", generation(empty), left(message(1)))
    assert not world.inbox.waiting


async def test_the_end_of_another_hosts_page_ends_nothing_here(empty: Bench, world: World) -> None:
    await empty.connected()
    session = empty.session()
    heard = session.traffic.deaf.heard_at
    gap = BackfillGap(chat="c", why="it was cut off", since=None)
    await here(empty).store(
        "s", generation(empty), left(LoggedOut(reason="unlinked"), message(1), gap)
    )
    assert session.link is Link.CONNECTED
    assert session.traffic.deaf.heard_at == heard, "its own page has raised no event"
    await wait_until(lambda: gap_is_recorded(world), "it is on its trail")
    await here(empty).store("s", generation(empty), left())


async def test_a_session_that_was_started_again_is_the_same_one(empty: Bench, world: World) -> None:
    """Each start by somebody has a new generation; only another pairing is another account."""
    await empty.connected()
    before = generation(empty) - 1
    profile = empty.session().profile
    with pytest.raises(UnavailableError, match="not known yet"):
        await here(empty).store("s", before, left(message(1)))
    profile.at.profile.mkdir(parents=True, exist_ok=True)
    mark_files.write(profile.at.profile / PAIRING, {"token": "t", "at": START - 10})
    await here(empty).store("s", before, left(message(1)))
    await wait_until(lambda: len(received(world)) == 1, "it is reported")
    with pytest.raises(RefusedError, match="earlier pairing"):
        await here(empty).store("s", before, left(message(2), at=START - 20))
    assert not [it for it in world.inbox.kept.values() if it.key == "false_49170@c.us_2"]


@pytest.mark.parametrize(
    ("session", "content", "error"),
    [
        ("s", b"\xc1", InvalidInputError),
        ("s", left(records=(record("a", session="another"),)), InvalidInputError),
        ("unknown", left(message(1)), UnavailableError),
    ],
    ids=["garbage", "another's", "not here"],
)
async def test_what_is_not_taken(
    empty: Bench, world: World, session: str, content: bytes, error: Any
) -> None:
    await empty.connected()
    with pytest.raises(error):
        await here(empty).store(session, 1, content)
    assert not world.events("message_received")
