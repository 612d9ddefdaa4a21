"""How messages ended is told in the transaction that says so, and acks wait for it: on every
database."""

from typing import Any

import msgspec
import pytest

from tests.store.conftest import BACKENDS, Wall, usually_sqlite
from tests.store.test_outbox import draft, find, keep, write
from waguard.config.sections import Retention
from waguard.core.messages import sent_events
from waguard.core.messages.inbox import (
    EventPayload,
    InboxRecord,
    Kind,
    ack_key,
    higher_acks,
    sent_key,
)
from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.core.messages.send_states import State
from waguard.core.webhooks.delivery import EVENTS
from waguard.ports.clock import WallAges
from waguard.ports.outbox import StateUpdate
from waguard.ports.webhooks import GLOBAL
from waguard.store import retention
from waguard.store.sql import SqlStore

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)
M = draft("m").message_id


def ack(level: int, message_id: str = M, session: str = "a") -> InboxRecord:
    return InboxRecord(
        session_id=session,
        workspace_id=7,
        key=ack_key(message_id, level),
        kind=Kind.ACK,
        at=1.0,
        chat="49170@c.us",
        events=sent_events.of_ack(message_id, level, 1.0),
        unless=higher_acks(message_id, level),
    )


def on_phone(message_id: str = M, session: str = "a") -> InboxRecord:
    data = {"message_id": message_id, "message": {"id": message_id}}
    return InboxRecord(
        session_id=session,
        workspace_id=7,
        key=sent_key(message_id),
        kind=Kind.SENT,
        at=1.0,
        unless_own=True,
        events=(EventPayload("message_sent", data),),
    )


async def queued(store: SqlStore) -> list[tuple[str, Any]]:
    """By id: the event, and the status that it queues."""
    _, bodies = await store.messages.pending(GLOBAL, after=0, limit=1_000)
    reported = [msgspec.json.decode(body) for body in bodies.values()]
    return [(one["event"], one["data"].get("ack_level")) for one in reported]


def queues(number: int, name: str = "m", **move: Any) -> StateUpdate:
    return StateUpdate(id=number, reports=("a", draft(name).message_id), **move)


@every_database
async def test_acks_wait_in_the_inbox_for_their_message(store: SqlStore) -> None:
    number = await keep(store, state=State.SENDING)
    written = await store.messages.write([ack(0), ack(1), ack(1, session="b"), ack(2)])
    assert written.news == (True,) * 4
    assert (written.endpoints, written.reported) == (frozenset(), ())
    assert await queued(store) == []
    assert (await find(store, number)).state is State.DELIVERED
    done = await store.messages.write([], outgoing=[queues(number, answered=True)])
    assert [one.key for one in done.reported] == [sent_key(M)]
    assert done.endpoints == {GLOBAL}
    in_order = [
        ("message_sent", None),
        ("message_status_updated", 2),
        ("message_status_updated", 3),
        ("message_delivered", 3),
    ]
    assert await queued(store) == in_order
    again = await store.messages.write([ack(0)], outgoing=[queues(number)])
    assert (again.news, again.reported) == ((False,), ())
    assert await queued(store) == in_order


@usually_sqlite
async def test_message_sent_waits_for_the_reply_or_until_it_is_due(store: SqlStore) -> None:
    number = await keep(store, state=State.SENDING)
    assert (
        await store.messages.write([], outgoing=[queues(number, state=State.SENT)])
    ).reported == ()
    assert len((await store.messages.write([], outgoing=[queues(number, due=True)])).reported) == 1


@usually_sqlite
async def test_long_after_its_request_message_sent_waits_for_nothing(
    store: SqlStore, wall: Wall
) -> None:
    number = await keep(store, state=State.SENDING)
    assert (
        await store.messages.write([], outgoing=[queues(number, state=State.SENT)])
    ).reported == ()
    wall.time += REPEATED_FOR
    [reported] = (await store.messages.write([], outgoing=[queues(number)])).reported
    data = reported.events[0].data
    assert (data["message"]["body"], data["message"]["from"]) == ("ä", draft("m").chat)
    assert data["timestamp"] == int(wall.time)


@usually_sqlite
async def test_a_late_ack_reports_by_itself(store: SqlStore) -> None:
    number = await keep(store, state=State.UNCERTAIN, phone="6281", kind="image")
    await write(store, StateUpdate(id=number, answered=True))
    written = await store.messages.write([ack(1), ack(2)])
    [reported] = written.reported
    message = reported.events[0].data["message"]
    assert (message["from"], message["type"]) == (draft("m").chat, "image")
    assert [event for event, _ in await queued(store)] == [
        "message_sent",
        "message_status_updated",
        "message_status_updated",
        "message_delivered",
    ]


@usually_sqlite
async def test_a_failure_is_reported_once(store: SqlStore) -> None:
    number = await keep(store, bulk_id="b")
    failed = queues(number, state=State.FAILED, error="it is gone")
    [reported] = (await store.messages.write([], outgoing=[failed], for_global=EVENTS)).reported
    assert (reported.kind, reported.events[0].event) == (Kind.FAILED, "message_failed")
    assert reported.events[0].data["error"] == "it is gone"
    assert reported.events[0].data["bulk_id"] == "b"
    assert (await store.messages.write([], outgoing=[failed])).reported == ()
    assert await queued(store) == [("message_failed", None)]


@every_database
async def test_what_the_outbox_has_was_not_written_on_the_phone(store: SqlStore) -> None:
    await keep(store, state=State.SENDING)
    written = await store.messages.write([on_phone(), on_phone(session="b"), on_phone("true_x_y")])
    assert written.news == (False, True, True)
    assert len(await queued(store)) == 2


@usually_sqlite
async def test_acks_of_what_was_written_on_the_phone_wait_too(store: SqlStore) -> None:
    await store.messages.write([ack(1)])
    await store.messages.write([ack(2), on_phone(), ack(3)])
    assert [level for _, level in await queued(store)] == [None, 2, 3, 3, 4, 4]


@every_database
async def test_nothing_is_lost_where_the_write_is_undone(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await keep(store, state=State.UNCERTAIN)
    await write(store, StateUpdate(id=number, answered=True))
    with monkeypatch.context() as broken:
        broken.setattr(sent_events, "encoded", lambda _: None)
        with pytest.raises(Exception, match=r"(?i)null"):
            await store.messages.write([ack(2)])
    assert (await find(store, number)).state is State.UNCERTAIN
    assert len((await store.messages.write([ack(2)])).reported) == 1


@every_database
async def test_what_was_never_announced_is_found(store: SqlStore, wall: Wall) -> None:
    for name in "abcd":
        await keep(store, name, state=State.SENT)
    later = wall.time
    wall.time += 10
    numbers = [await keep(store, name, state=State.SENT) for name in "mn"]
    await keep(store, "o", state=State.UNCERTAIN)
    reported = await store.messages.write([], outgoing=[queues(numbers[0], answered=True)])
    assert len(reported.reported) == 1
    failed = [await keep(store, name, state=State.REFUSED, queued=True) for name in "pq"]
    await keep(store, "r", state=State.FAILED)  # its request was told
    reported = await store.messages.write([], outgoing=[queues(failed[0], "p", answered=True)])
    assert [one.kind for one in reported.reported] == [Kind.FAILED]
    left = await store.outbox.unreported(since=later + 5)
    assert [row.id for row in left] == [numbers[1], failed[1]]


@every_database
async def test_as_long_as_the_outbox_knows_it_nothing_is_reported_twice(
    store: SqlStore, wall: Wall
) -> None:
    number = await keep(store, bulk_id="b", state=State.SENT)
    written = await store.messages.write([ack(2)], outgoing=[queues(number)])
    assert len(written.reported) == 1
    wall.time += 50 * 86_400
    keep_for = Retention(inbox_days=1, outbox_days=100)
    waiting = len(await queued(store))  # dead letters now
    ages = WallAges(lambda: wall.time)
    count = await retention.tidy_messages(store.messages, keep_for, ages)
    assert count == 1 + waiting  # the ack
    assert (await store.messages.write([ack(3)])).reported == ()
    assert (await queued(store))[-1] == ("message_read", 4)


@usually_sqlite
@pytest.mark.parametrize("is_known", [False, True])
async def test_no_row_outlives_what_was_reported_of_it(
    store: SqlStore, wall: Wall, *, is_known: bool
) -> None:
    """Late acks do not make a message younger; ``is_known``: the answer to the send said when it was sent."""
    number = await keep(store, state=State.SENDING)
    at = int(wall.time) if is_known else None
    sent = queues(number, state=State.SENT, answered=True, sent_at=at)
    assert len((await store.messages.write([], outgoing=[sent])).reported) == 1
    wall.time += 25 * 86_400
    await store.messages.write([ack(2)])
    wall.time += 6 * 86_400
    ages = WallAges(lambda: wall.time)
    await retention.tidy_messages(store.messages, Retention(), ages)
    await retention.tidy_outbox(store.outbox, Retention(), ages)
    assert (await store.messages.write([ack(3)])).reported == ()


@every_database
async def test_a_number_takes_what_has_none_and_nothing_of_another(store: SqlStore) -> None:
    none, its, other = [
        await keep(store, name, phone=phone)
        for name, phone in zip("mno", (None, "1", "2"), strict=True)
    ]
    steps = [StateUpdate(id=n, state=State.SENDING, phone="1") for n in (none, its, other)]
    assert await write(store, *steps) == (1, 1, 0)
    assert [(await find(store, n)).phone for n in (none, its, other)] == ["1", "1", "2"]
    assert (await find(store, other)).state is State.ACCEPTED


@every_database
async def test_a_pairing_claims_what_has_no_number(store: SqlStore) -> None:
    none, sent, its = [
        await keep(store, "m"),
        await keep(store, "n", state=State.SENT),
        await keep(store, "o", phone="2"),
    ]
    elsewhere = await keep(store, "p", session_id="b")
    ready = InboxRecord(
        session_id="a",
        workspace_id=7,
        key="ready",
        kind=Kind.SESSION,
        at=1.0,
        events=(EventPayload("session_ready", {"phone_number": "+1"}),),
    )
    await store.messages.write([ready])
    phones = [(await find(store, n)).phone for n in (none, sent, its, elsewhere)]
    assert phones == ["1", None, "2", None]
