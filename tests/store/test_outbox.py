"""The outbox: on every database."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from tests.clocks import Clock
from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, Wall, usually_sqlite
from waguard.config.sections import Retention
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind, ack_key, higher_acks
from waguard.core.messages.send_states import ABANDONED, ENDED, FROM, UNENDED, State
from waguard.host.memory.lived import LivedTime
from waguard.ports.clock import WallAges
from waguard.ports.outbox import UNDECIDED, NewMessage, Outgoing, StateUpdate, Withdrawal
from waguard.store import outbox, retention, unread_sends
from waguard.store.sql import SqlStore

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)


def draft(name: str = "m", **changes: Any) -> NewMessage:
    """A text that waits."""
    plain = NewMessage(
        session_id="a",
        workspace_id=7,
        chat="49170@c.us",
        kind="text",
        body=b'{"text":"\xc3\xa4"}',
        message_id=f"true_49170@c.us_{name}",
        state=State.ACCEPTED,
        fingerprint=name * 8,
    )
    return replace(plain, **changes)


async def write(store: SqlStore, *items: NewMessage | StateUpdate | Withdrawal) -> tuple[int, ...]:
    kept = (await store.messages.write([], outgoing=items)).kept
    return tuple(number for number in kept if number is not None)


async def keep(store: SqlStore, name: str = "m", **changes: Any) -> int:
    [number] = await write(store, draft(name, **changes))
    return number


async def find(store: SqlStore, number: int) -> Outgoing:
    found = await store.outbox.find(number)
    assert found
    return found


@every_database
async def test_what_is_kept_can_be_found(store: SqlStore, wall: Wall) -> None:
    content = bytes(range(256)) * 12_000  # 3 MB, every byte there is
    first, second = await write(
        store,
        draft("m", content=content, key="K ä", queued=True, send_at=1.5, bulk_id="b"),
        draft("n", state=State.SENDING, expires_at=2.5),
    )
    assert 0 < first < second
    assert await find(store, first) == Outgoing(
        id=first,
        session_id="a",
        workspace_id=7,
        chat="49170@c.us",
        kind="text",
        message_id="true_49170@c.us_m",
        state=State.ACCEPTED,
        ack=None,
        error=None,
        attempts=0,
        key="K ä",
        fingerprint="mmmmmmmm",
        queued=True,
        answered=False,
        send_at=1.5,
        expires_at=None,
        sent_at=None,
        bulk_id="b",
        phone=None,
        created_at=wall.time,
        updated_at=wall.time,
    )
    assert (await find(store, second)).attempts == 1
    assert await store.outbox.find(987_654) is None
    assert await store.outbox.find_message("true_49170@c.us_n") == await find(store, second)
    assert await store.outbox.find_message("true_49170@c.us_N") is None
    assert await store.outbox.find_key("a", "K ä") == await find(store, first)
    assert await store.outbox.find_key("a", "k ä") is None
    assert await store.outbox.find_key("b", "K ä") is None
    assert await store.outbox.load(first) == (b'{"text":"\xc3\xa4"}', content)
    assert await store.outbox.load(987_654) is None


@every_database
async def test_what_waits_for_a_session_that_is_logged_out_is_never_begun(store: SqlStore) -> None:
    await store.create("a", 7, account_id=None, priority=0)
    left, other = await write(store, draft("m", queued=True), draft("n", session_id="b"))
    under_way = await keep(store, "o", state=State.SENDING)
    assert await store.leave("a", removed=False)
    since = await keep(store, "p", queued=True)
    begins = [StateUpdate(id=it, state=State.SENDING) for it in (left, other, since)]
    assert await write(store, *begins) == (0, 1, 1)
    assert await write(store, StateUpdate(id=left, state=State.ACCEPTED, queued=True)) == (0,)
    assert (await find(store, left)).expires_at == ABANDONED
    assert (await find(store, under_way)).expires_at is None
    assert await write(store, StateUpdate(id=left, state=State.FAILED, error="why")) == (1,)


@every_database
async def test_a_message_moves_as_the_policy_says_and_no_other_way(
    store: SqlStore, wall: Wall
) -> None:
    numbers: dict[State, dict[State, int]] = {}
    for before in State:
        of_this = await write(store, *(draft(state=before, content=b"x") for _ in State))
        numbers[before] = dict(zip(State, of_this, strict=True))
    wall.time += 1
    for after in State:
        moved = await write(
            store, *(StateUpdate(id=numbers[before][after], state=after) for before in State)
        )
        assert moved == tuple(int(before in FROM[after]) for before in State)
        for before in State:
            row = await find(store, numbers[before][after])
            assert row.state is (after if before in FROM[after] else before)


@every_database
async def test_what_became_of_it(store: SqlStore, wall: Wall) -> None:
    number = await keep(store, content=b"file")
    wall.time += 1
    await write(store, StateUpdate(id=number, state=State.SENDING))
    await write(store, StateUpdate(id=number, state=State.ACCEPTED, error="not\0 ready"))
    row = await find(store, number)
    assert (row.state, row.attempts, row.error) == (State.ACCEPTED, 1, "not ready")
    assert await store.outbox.load(number) == (b'{"text":"\xc3\xa4"}', b"file")
    await write(store, StateUpdate(id=number, state=State.SENDING))
    assert await write(
        store, StateUpdate(id=number, state=State.SENT, ack=1, sent_at=1_732_240_000, answered=True)
    ) == (1,)
    row = await find(store, number)
    assert (row.state, row.ack, row.error, row.attempts) == (State.SENT, 1, None, 2)
    assert (row.sent_at, row.answered) == (1_732_240_000, True)
    assert (row.created_at, row.updated_at) == (wall.time - 1, wall.time)
    assert await store.outbox.load(number) == (b'{"text":"\xc3\xa4"}', None)


@every_database
async def test_one_for_which_a_request_waited_may_wait_without_it(store: SqlStore) -> None:
    number = await keep(store, state=State.SENDING, expires_at=2.5, content=b"a file")
    await write(store, StateUpdate(id=number, state=State.ACCEPTED, queued=True))
    found = await find(store, number)
    assert (found.state, found.queued, found.expires_at) == (State.ACCEPTED, True, None)
    assert await store.outbox.load(number) == (b'{"text":"\xc3\xa4"}', b"a file")
    await write(store, StateUpdate(id=number, state=State.ACCEPTED, queued=True))
    assert (await find(store, number)).state is State.ACCEPTED


@every_database
async def test_that_it_was_answered_is_kept_also_where_it_has_moved_on(store: SqlStore) -> None:
    number = await keep(store, state=State.READ)
    move = StateUpdate(id=number, state=State.SENT, sent_at=5, answered=True)
    assert await write(store, move) == (0,)
    row = await find(store, number)
    assert (row.state, row.sent_at, row.answered) == (State.READ, 5, True)
    other = await keep(store)
    await write(store, StateUpdate(id=other, answered=True))
    assert (await find(store, other)).answered


def ack(level: int, name: str = "m", session: str = "a") -> InboxRecord:
    message_id = f"true_49170@c.us_{name}"
    data = {"message_id": message_id, "ack_level": level + 1}
    return InboxRecord(
        session_id=session,
        workspace_id=7,
        key=ack_key(message_id, level),
        kind=Kind.ACK,
        at=1.0,
        events=(EventPayload("message_status_updated", data),),
        unless=higher_acks(message_id, level),
    )


@every_database
async def test_an_ack_moves_what_it_is_about_in_the_same_transaction(store: SqlStore) -> None:
    one = await keep(store, "m", state=State.UNCERTAIN)
    two = await keep(store, "n", state=State.SENDING, content=b"x")
    other = await keep(store, "o", state=State.SENDING)
    await write(store, StateUpdate(id=other, state=State.UNCERTAIN, error="no answer"))
    await store.messages.write([ack(0), ack(1), ack(1, "n"), ack(1, session="b"), ack(2, "n")])
    assert [(await find(store, n)).state for n in (one, two, other)] == [
        State.SENT,
        State.DELIVERED,
        State.UNCERTAIN,
    ]
    assert (await find(store, two)).ack == 2
    assert await store.outbox.load(two) == (b'{"text":"\xc3\xa4"}', None)
    await store.messages.write([ack(-1, "o"), ack(3), ack(2)])
    refused = await find(store, other)
    assert (refused.state, refused.error) == (State.REFUSED, None)
    assert (await find(store, one)).state is State.READ


@every_database
async def test_what_seemed_not_to_be_kept_is_forgotten(store: SqlStore) -> None:
    waits, went = await keep(store, "m"), await keep(store, "n", state=State.SENT)
    await write(store, Withdrawal("true_49170@c.us_m"), Withdrawal("true_49170@c.us_n"))
    assert await store.outbox.find(waits) is None
    assert (await find(store, went)).state is State.SENT


on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@on_postgresql
async def test_what_is_committed_later_is_withdrawn_later(store: SqlStore) -> None:
    async with store._database.writing() as work:
        await work.connection.run_sync(outbox.keep, draft(), 1.0)
        gone = Withdrawal("true_49170@c.us_m")
        assert await write(store, gone) == (UNDECIDED,)
    assert await write(store, gone) == (1,)
    assert await write(store, gone) == (0,)


@on_postgresql
async def test_who_began_to_write_later_is_not_waited_for(store: SqlStore) -> None:
    gone = Withdrawal("true_49170@c.us_m", since=time.monotonic() - 60.0)
    async with store._database.writing() as work:
        await work.connection.run_sync(outbox.keep, draft("n"), 1.0)
        assert await write(store, gone) == (0,)


@every_database
async def test_a_new_message_takes_over_the_key(store: SqlStore, database: str) -> None:
    old, other = await keep(store, "m", key="k"), await keep(store, "m", key="k", session_id="b")
    new = await keep(store, "n", key="k")
    assert [(await find(store, n)).key for n in (old, other, new)] == [None, "k", "k"]
    again = f"UPDATE waguard_outbox SET idempotency_key = 'k' WHERE id = {old}"
    with pytest.raises(IntegrityError):
        await SqlApplication(database).run(again)


@every_database
async def test_a_bulk_is_kept_as_a_whole_between_others(store: SqlStore) -> None:
    older = await keep(store, "older", key="k")
    bulk = [draft(str(n), bulk_id="b", key=None if n else "k") for n in range(300)]
    numbers = await write(store, StateUpdate(id=older, answered=True), *bulk, draft("last"))
    assert len(set(numbers)) == len(numbers) == 302
    for number, one in zip(numbers[1:4], bulk[:3], strict=True):
        assert (await find(store, number)).message_id == one.message_id
    assert (await find(store, numbers[301])).message_id == draft("last").message_id
    assert (await find(store, numbers[1])).key == "k"
    assert (await find(store, older)).key is None
    assert await store.outbox.counts("b") == {State.ACCEPTED: 300}
    with pytest.raises(IntegrityError):  # two with one key: nothing of it is kept
        await write(store, *(draft(str(n), bulk_id="c", key="j", session_id="s") for n in range(2)))
    assert await store.outbox.counts("c") == {}


@every_database
async def test_what_an_earlier_run_left(store: SqlStore, wall: Wall) -> None:
    start = wall.time
    old = {state: await keep(store, "old", state=state) for state in State}
    wall.time += 100
    new = {state: await keep(store, "new", state=state) for state in State}
    reported = await keep(store, "told", state=State.SENT)
    await write(store, StateUpdate(id=reported, answered=True))
    queued = await keep(store, "queued", state=State.SENT, queued=True)
    await keep(store, "bulk", state=State.SENT, queued=True, bulk_id="b")
    left = await store.outbox.unfinished(uncertain_since=start, answered_since=start + 50)
    wanted = [old[State.ACCEPTED], old[State.SENDING], old[State.UNCERTAIN], *new.values(), queued]
    assert [row.id for row in left] == sorted(wanted)


@every_database
async def test_what_waited_for_days_is_found_by_when_it_became_uncertain(
    store: SqlStore, wall: Wall
) -> None:
    """Its time came late, its queue was long, or a restore made it uncertain."""
    waited, other = [await keep(store, name, state=State.SENDING) for name in "mn"]
    await write(store, StateUpdate(id=other, state=State.UNCERTAIN))
    wall.time += 2 * 86_400
    await write(store, StateUpdate(id=waited, state=State.UNCERTAIN))
    since = wall.time - 86_400
    left = await store.outbox.unfinished(uncertain_since=since, answered_since=wall.time)
    assert [row.id for row in left] == [waited]


@every_database
async def test_what_has_not_ended_is_counted_by_its_state(store: SqlStore) -> None:
    assert await store.outbox.unended() == dict.fromkeys(UNENDED, 0)
    for state in (*State, State.UNCERTAIN):
        await keep(store, state=state)
    assert await store.outbox.unended() == {
        State.ACCEPTED: 1,
        State.SENDING: 1,
        State.UNCERTAIN: 2,
    }


@every_database
async def test_the_newest_are_listed(store: SqlStore) -> None:
    numbers = [
        await keep(store, str(n), session_id="ab"[n % 2], bulk_id="b" if n < 3 else None)
        for n in range(6)
    ]
    await write(store, StateUpdate(id=numbers[0], state=State.CANCELLED))

    async def listed(**asked: Any) -> list[int]:
        return [row.id for row in await store.outbox.listing(**asked)]

    assert await listed() == numbers[::-1]
    assert await listed(limit=2) == [numbers[5], numbers[4]]
    assert await listed(before=numbers[4], limit=2) == [numbers[3], numbers[2]]
    assert await listed(sessions=["a"]) == [numbers[4], numbers[2], numbers[0]]
    assert await listed(sessions={"a", "b", "c"}) == numbers[::-1]
    assert await listed(sessions=()) == []
    assert await listed(state=State.CANCELLED) == [numbers[0]]
    assert await listed(bulk_id="b") == [numbers[2], numbers[1], numbers[0]]
    assert await store.outbox.counts("b") == {State.CANCELLED: 1, State.ACCEPTED: 2}
    assert await store.outbox.counts("none") == {}
    assert await store.outbox.counts("b", {"b"}) == {State.ACCEPTED: 1}
    assert await store.outbox.counts("b", ()) == {}


@usually_sqlite
async def test_only_what_has_ended_is_tidied_away(store: SqlStore, wall: Wall) -> None:
    for state in State:
        await keep(store, state=state)
    wall.time += 100
    await keep(store, state=State.SENT)
    before = wall.time - 50
    first = await store.outbox.tidy(before=before, limit=4)
    assert first == 4
    assert await store.outbox.tidy(before=before, limit=4) == len(ENDED) - 4
    assert await store.outbox.tidy(before=before, limit=4) == 0
    left = [row.state for row in await store.outbox.listing()]
    assert left == [State.SENT, State.UNCERTAIN, State.SENDING, State.ACCEPTED]


@usually_sqlite
async def test_the_outbox_is_kept_for_as_many_days_as_configured(
    store: SqlStore, wall: Wall
) -> None:
    for state in (State.READ, State.UNCERTAIN):
        await keep(store, state=state)
    wall.time += 30 * 86_400.0
    tidy = retention.tidy_outbox
    ages = WallAges(lambda: wall.time)
    assert await tidy(store.outbox, Retention(), ages) == 0
    wall.time += 1
    assert await tidy(store.outbox, Retention(), ages) == 1
    assert [row.state for row in await store.outbox.listing()] == [State.UNCERTAIN]


@every_database
async def test_what_waited_for_long_is_kept_from_when_it_was_sent_or_failed(
    store: SqlStore, wall: Wall
) -> None:
    numbers = [await keep(store, name, state=State.SENDING) for name in "mno"]
    ages = WallAges(lambda: wall.time)
    wall.time += 40 * 86_400.0
    for number, state, at in zip(
        numbers, (State.SENT, State.SENT, State.FAILED), (int(wall.time), None, None), strict=True
    ):
        await write(store, StateUpdate(id=number, state=state, sent_at=at))
    wall.time += 30 * 86_400.0 - 1
    assert await retention.tidy_outbox(store.outbox, Retention(), ages) == 0
    wall.time += 2
    assert await retention.tidy_outbox(store.outbox, Retention(), ages) == 3


@every_database
async def test_the_newest_sends_that_nobody_is_known_to_have_read(
    store: SqlStore, wall: Wall
) -> None:
    wall.time = 100.0
    await keep(store, "old", state=State.SENT)
    wall.time = 200.0
    for state in State:
        await keep(store, state, fingerprint=state, state=state)
    await keep(store, "r", state=State.SENT, kind="reaction")
    await keep(store, "b", session_id="b", state=State.SENT)
    unread = await store.messages.unread("a", after=150.0)
    states = {State.SENT, State.DELIVERED}
    assert unread == {f"true_49170@c.us_{state}": state for state in states}
    await write(
        store,
        *(draft(f"{it}", fingerprint="f", state=State.SENT) for it in range(unread_sends.MOST)),
    )
    unread = await store.messages.unread("a", after=150.0)
    assert set(unread) == {f"true_49170@c.us_{it}" for it in range(unread_sends.MOST)}
    assert await store.messages.unread("nobody", after=0.0) == {}


@every_database
async def test_a_clock_that_is_a_year_ahead_deletes_nothing(
    store: SqlStore, wall: Wall, tmp_path: Path
) -> None:
    clock = Clock()
    clock.at = wall.time
    ages = LivedTime(tmp_path, clock)
    await keep(store, state=State.READ)
    await store.messages.write([ack(2)])
    wall.time += 365 * 86_400.0
    clock.at = wall.time
    assert await retention.tidy_outbox(store.outbox, Retention(), ages) == 0
    assert await retention.tidy_messages(store.messages, Retention(), ages) == 0
    wall.time += 365 * 86_400.0
    clock.live(365 * 86_400.0)
    assert await retention.tidy_outbox(store.outbox, Retention(), ages) == 1
    assert await retention.tidy_messages(store.messages, Retention(), ages) == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_no_error_shows_what_was_to_be_written(store: SqlStore) -> None:
    with pytest.raises(IntegrityError) as error:
        await keep(store, state="no such state", key="a secret")
    assert "CHECK" in str(error.value)
    assert "a secret" not in str(error.value)
