"""The inbox, the webhook queue, dead letters, endpoints: on every database."""

import asyncio
import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, Wall, endpoints_of, usually_sqlite
from tests.store.test_bursts import lost_answers
from tests.store.test_outages import ModerateStore, assert_unavailable, write_locked
from waguard.core.messages import sent_events
from waguard.core.messages.inbox import (
    Deferred,
    EventPayload,
    InboxRecord,
    Kind,
    ack_key,
    event_id,
    higher_acks,
)
from waguard.core.messages.received_media import handle_of
from waguard.core.replace import replace as changed
from waguard.core.webhooks.delivery import Cause, DeadLetterState
from waguard.core.webhooks.pending import DeliveryResult, Hold, Pending, delivered
from waguard.errors import DatabaseUnavailableError
from waguard.ports.webhooks import GLOBAL, Endpoint, Queued
from waguard.store.deliveries import READ_AT_ONCE
from waguard.store.messages import SqlMessages
from waguard.store.sql import SqlStore

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def entry(
    key: str,
    event: str = "message_received",
    *,
    session: str = "a",
    partition: str = "c",
    message: dict[str, Any] | None = None,
    **more: Any,
) -> InboxRecord:
    """Something to store, with one webhook."""
    said = {"id": f"false_{partition}_{key}", "body": "ä🙂\0"} | (message or {})
    return InboxRecord(
        session_id=session,
        workspace_id=7,
        key=key,
        kind=Kind.MESSAGE,
        at=1_732_233_000.5,
        chat="49170@c.us",
        events=(EventPayload(event, {"message": said}),),
        **more,
    )


def ids(*names: str, event: str = "message_received", session: str = "a") -> list[str]:
    """Of the webhooks of the entries with these keys."""
    return [event_id(session, key, event) for key in names]


def body_of(one: InboxRecord) -> bytes:
    (notice,) = sent_events.notices(one)
    return notice.body


def failed(webhook: Pending, error: str, cause: Cause = Cause.REFUSED) -> DeliveryResult:
    """The result that makes a dead letter of it."""
    number, event = webhook.id, webhook.event_id
    return DeliveryResult(id=number, event_id=event, attempts=1, error=error, cause=cause)


async def waiting(messages: SqlMessages, endpoint: str = GLOBAL) -> list[Pending]:
    return (await messages.pending(endpoint, after=0, limit=1_000))[0]


async def keys(database: str) -> list[str]:
    rows = await SqlApplication(database).rows("SELECT * FROM waguard_inbox ORDER BY id")
    return [row["key"] for row in rows]


@every_database
async def test_what_was_committed_without_an_answer_is_news_once(
    messages: SqlMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    await messages.write([entry("1")])
    with lost_answers(messages, monkeypatch), pytest.raises(DatabaseUnavailableError):
        await messages.write([entry("1"), entry("2\0")])
    assert (await messages.write([entry("1"), entry("2\0"), entry("3")])).news == (
        False,
        True,
        True,
    )
    assert (await messages.write([entry("2\0")])).news == (False,)
    assert len(await waiting(messages)) == 3


@every_database
async def test_a_file_that_came_later_is_awaited_like_others(messages: SqlMessages) -> None:
    def deferred(key: str) -> InboxRecord:
        media = {"sha256": None, "url": f"/api/media/{handle_of('a', key)}"}
        coming = Deferred(message_id=key, mimetype="a/b", size=9)
        return entry(key, message={"media": media}, deferred=coming)

    at_once = entry("m0", message={"media": {"sha256": "0" * 64, "url": None}})
    await messages.write([at_once, *map(deferred, ("m1", "m2", "m3"))])
    assert await messages.files_awaited() == {"0" * 64}
    for number in (1, 2):
        await messages.end_file(handle_of("a", f"m{number}"), sha256=f"{number}" * 64)
    await messages.end_file(handle_of("a", "m3"), error="media_not_found")
    assert await messages.files_awaited() == {"0" * 64, "1" * 64, "2" * 64}
    found = await waiting(messages)
    await messages.write([], [delivered(it) for it in found[:2]])
    assert await messages.files_awaited() == {"2" * 64}


@every_database
@pytest.mark.parametrize("cause", [Cause.UNIDENTIFIED, Cause.RESTORED])
async def test_the_file_of_what_waits_for_a_number_or_a_release_is_awaited(
    messages: SqlMessages, cause: Cause
) -> None:
    def with_file(digit: str) -> InboxRecord:
        return entry(f"m{digit}", message={"media": {"sha256": digit * 64, "url": None}})

    await messages.write([with_file("0"), with_file("1")])
    waits, refused = await waiting(messages)
    await messages.write([], [failed(waits, "it waits", cause), failed(refused, "status 500")])
    assert await messages.files_awaited() == {"0" * 64}


@every_database
async def test_a_file_that_failed_waits_behind_those_that_were_not_tried(
    messages: SqlMessages,
) -> None:
    def deferred(key: str) -> InboxRecord:
        coming = Deferred(message_id=key, mimetype="a/b", size=9)
        return entry(key, message={"media": {}}, deferred=coming)

    await messages.write([*map(deferred, ("m1", "m2", "m3"))])
    order = []
    for _ in range(4):
        [first] = await messages.files_to_fetch()
        order.append(first.message_id)
        await messages.begin_file(first.handle)
    assert order == ["m1", "m2", "m3", "m1"]


@every_database
async def test_what_is_written_is_kept_and_queued_in_order(
    messages: SqlMessages, database: str, wall: Wall
) -> None:
    entries = [entry(f"k{number}") for number in range(300)]
    written = await messages.write(entries)
    assert written.news == (True,) * 300
    assert written.endpoints == {GLOBAL}
    assert await keys(database) == [f"k{number}" for number in range(300)]
    found, bodies = await messages.pending(GLOBAL, after=0, limit=1_000)
    assert list(bodies) == [item.id for item in found]
    assert [*bodies.values()] == [*map(body_of, entries)]
    first = found[0]
    assert first == Pending(
        id=first.id,
        event="message_received",
        event_id=ids("k0")[0],
        session_id="a",
        partition="c",
        attempts=0,
        next_at=wall.time,
        created_at=wall.time,
    )
    assert (await messages.pending(GLOBAL, after=found[9].id, limit=3))[0] == found[10:13]


@every_database
async def test_what_was_received_can_be_read_again(messages: SqlMessages, database: str) -> None:
    await messages.write([entry("k", backfilled=True)])
    [row] = await SqlApplication(database).rows("SELECT * FROM waguard_inbox")
    assert (row["session_id"], row["workspace_id"], row["kind"]) == ("a", 7, "message")
    assert (row["chat"], row["at"], bool(row["backfilled"])) == (
        "49170@c.us",
        1_732_233_000.5,
        True,
    )
    assert '"body": "\\u00e4\\ud83d\\ude42\\u0000"' in row["payload"]


@every_database
async def test_each_is_stored_once(messages: SqlMessages, database: str) -> None:
    assert (await messages.write([entry("k1"), entry("k2"), entry("k1")])).news == (
        True,
        True,
        False,
    )
    again = await messages.write([entry("k2"), entry("k3"), entry("K2"), entry("k2", session="b")])
    assert again.news == (False, True, True, True)
    assert len(await keys(database)) == len(await waiting(messages)) == 5


@usually_sqlite
async def test_an_ack_that_is_overtaken_is_no_news(messages: SqlMessages) -> None:
    def ack(level: int) -> InboxRecord:
        unless = higher_acks("true_c_1", level)
        return entry(ack_key("true_c_1", level), "message_status_updated", unless=unless)

    assert (await messages.write([ack(1), ack(3), ack(2)])).news == (True, True, False)
    assert (await messages.write([ack(-1), ack(3), ack(4)])).news == (False, False, True)


@every_database
async def test_a_race_for_the_same_key_stores_it_once(
    messages: SqlMessages, store: SqlStore, database: str
) -> None:
    other = SqlStore(database)
    await other.open()
    try:
        outcomes = await asyncio.gather(
            *(
                where.messages.write([entry("k"), entry(f"own{n}")])
                for n, where in enumerate((store, other))
            )
        )
    finally:
        await other.close()
    assert sorted(written.news for written in outcomes) == [(False, True), (True, True)]
    assert len(await waiting(messages)) == 3


@usually_sqlite
async def test_without_any_receiver_it_is_kept_and_not_queued(
    messages: SqlMessages, database: str
) -> None:
    written = await messages.write([entry("k")], for_global=())
    assert (written.news, written.endpoints) == ((True,), frozenset())
    assert await keys(database) == ["k"]
    assert await waiting(messages) == []


@usually_sqlite
async def test_a_newer_session_event_takes_the_place_of_older_ones(messages: SqlMessages) -> None:
    await messages.write([entry("m1"), entry("q1", "qr_code_generated")])
    await messages.write(
        [
            entry("s1", "session_disconnected"),
            entry("m2"),
            entry("s2", "session_ready"),
            entry("q2", "qr_code_generated", session="b"),
        ]
    )
    reported = [(item.session_id, item.event_id) for item in await waiting(messages)]
    assert reported == [
        *(("a", it) for it in ids("m1", "m2")),
        *(("a", it) for it in ids("s2", event="session_ready")),
        *(("b", it) for it in ids("q2", event="qr_code_generated", session="b")),
    ]


@usually_sqlite
async def test_results_of_deliveries_are_stored_together(messages: SqlMessages, wall: Wall) -> None:
    await messages.write([entry(f"k{number}") for number in range(4)])
    first, second, third, fourth = await waiting(messages)
    resolved = [
        delivered(first),
        changed(failed(second, "no answer"), attempts=3, next_at=wall.time + 60, cause=None),
        changed(failed(third, "the receiver answered 404"), attempts=9),
        DeliveryResult(id=987_654, event_id=first.event_id),
    ]
    await messages.write([], resolved)
    assert await waiting(messages) == [
        changed(second, attempts=3, next_at=wall.time + 60),
        fourth,
    ]
    [letter] = await messages.dead()
    assert (letter.id, letter.attempts, letter.error) == (third.id, 9, "the receiver answered 404")
    size = len(body_of(entry("k2")))
    assert (letter.died_at, letter.size, letter.endpoint) == (wall.time, size, GLOBAL)
    await messages.write([], [delivered(third)])  # too late: it is dead
    assert await messages.dead() == [letter]


@every_database
async def test_an_id_is_never_given_twice(messages: SqlMessages, store: SqlStore) -> None:
    """Who has read up to 7 asks for what came after 7."""
    await messages.write([entry("k1")])
    [item] = await waiting(messages)
    await messages.write([], [delivered(item)])
    await store.close()
    await store.open()
    await messages.write([entry("k2")])
    assert [later.id > item.id for later in await waiting(messages)] == [True]


@every_database
async def test_a_large_body_is_read_when_its_turn_comes(messages: SqlMessages) -> None:
    room = READ_AT_ONCE - len(body_of(entry("k2", message={"body": ""})))
    large, small = (
        entry(key, message={"body": text})
        for key, text in (("k1", "ä🙂\x01" * 500_000), ("k2", "x" * room))
    )
    await messages.write([large, small])
    (first, second), bodies = await messages.pending(GLOBAL, after=0, limit=9)
    assert len(bodies[second.id]) == READ_AT_ONCE
    assert bodies == {second.id: body_of(small)}
    assert await messages.body(first.id, first.event_id) == body_of(large)
    assert await messages.body(987_654, first.event_id) is None
    assert await messages.body(first.id, second.event_id) is None, "the id is of another one now"


@every_database
async def test_a_session_has_a_receiver_of_its_own(messages: SqlMessages) -> None:
    endpoint = Endpoint(session_id="a", url="https://a.example/ü", secret="s3cret" * 4)
    await messages.put_endpoint(endpoint)
    await messages.put_endpoint(Endpoint(session_id="b", url="https://b.example/", secret=None))
    await messages.put_endpoint(replace(endpoint, url="https://c.example/"))
    assert [one.url for one in await messages.endpoints()] == [
        "https://c.example/",
        "https://b.example/",
    ]
    assert "s3cret" not in repr(await messages.endpoints())
    written = await messages.write([entry("k1"), entry("k2", session="z")])
    assert written.endpoints == {GLOBAL, "a"}
    assert len(await waiting(messages)) == 2
    assert [item.event_id for item in await waiting(messages, "a")] == ids("k1")
    assert (await messages.write([entry("k3")], for_global=())).endpoints == {"a"}
    assert await messages.delete_endpoint("a")
    assert not await messages.delete_endpoint("a")
    assert (
        len(await messages.dead_letter_pending("removed", Cause.REMOVED, endpoint="a", limit=1))
        == 1
    )
    assert (
        len(await messages.dead_letter_pending("removed", Cause.REMOVED, endpoint="a", limit=9))
        == 1
    )
    assert (
        len(await messages.dead_letter_pending("removed", Cause.REMOVED, endpoint="a", limit=9))
        == 0
    )
    assert await waiting(messages, "a") == []
    assert [letter.cause for letter in await messages.dead()] == [Cause.REMOVED] * 2
    assert len(await waiting(messages)) == 2


@usually_sqlite
async def test_each_receiver_gets_the_events_that_it_wants(messages: SqlMessages) -> None:
    wanted = ("session_ready", "message_edited")
    own = Endpoint(session_id="a", url="https://a.example/", secret=None, hold=False, events=wanted)
    await messages.put_endpoint(own)
    assert await messages.endpoints() == [own]
    for number, name in enumerate(("message_edited", "message_received", "session_ready")):
        await messages.write([entry(f"k{number}", name)])
    everywhere = [item.event for item in await waiting(messages)]
    assert everywhere == ["message_received", "session_ready"]  # newer names are opt-in
    mine = [item.event for item in await waiting(messages, "a")]
    assert mine == ["message_edited", "session_ready"]


@every_database
async def test_one_partition_is_read_by_itself(messages: SqlMessages) -> None:
    partitions = ("c", "d", "c", "c")
    await messages.write(
        [entry(f"k{n}", partition=partition) for n, partition in enumerate(partitions)]
    )
    all_of_it = await waiting(messages)
    of_c = [item for item in all_of_it if item.partition == "c"]
    found, _ = await messages.pending(GLOBAL, after=0, limit=9, partition=("a", "c"))
    assert found == of_c
    first, last = of_c[0].id, of_c[-1].id
    found, _ = await messages.pending(
        GLOBAL, after=first, limit=9, partition=("a", "c"), until=last - 1
    )
    assert found == of_c[1:-1]
    assert await messages.pending(GLOBAL, after=0, limit=9, partition=("b", "c")) == ([], {})


@every_database
async def test_holds_and_attempts_are_kept(messages: SqlMessages, wall: Wall) -> None:
    await messages.write([entry("k")])
    [item] = await waiting(messages)
    again = DeliveryResult(
        id=item.id,
        event_id=item.event_id,
        attempts=1,
        next_at=wall.time + 1,
        error="500",
        tried_since=wall.time,
        cause=Cause.UNSTORED,
    )
    await messages.write([], [again])
    [tried] = await waiting(messages)
    assert (tried.tried_since, tried.held_since) == (wall.time, None)
    assert tried.cause == Cause.UNSTORED
    await messages.write([], [Hold(item.id, item.event_id, wall.time + 5)])
    [held] = await waiting(messages)
    assert (held.tried_since, held.held_since) == (None, wall.time + 5)
    await messages.write([], [Hold(item.id, item.event_id, None)])
    assert (await waiting(messages))[0].held_since is None


@usually_sqlite
async def test_what_is_uncertain_is_listed_apart_and_replayed_by_name_only(
    messages: SqlMessages,
) -> None:
    await messages.write([entry("k1"), entry("k2")])
    first, second = await waiting(messages)
    unsure, dead = failed(first, "unsure", Cause.UNCERTAIN), failed(second, "404")
    await messages.write([], [unsure, dead])
    assert [one.id for one in await messages.dead(state=DeadLetterState.UNCERTAIN)] == [first.id]
    assert [one.id for one in await messages.dead(state=DeadLetterState.DEAD)] == [second.id]
    assert endpoints_of(await messages.replay(0, second.id, [GLOBAL])) == [GLOBAL]
    assert [one.id for one in await messages.dead()] == [first.id]
    assert await messages.replay(first.id, first.id, ["a"]) == []  # no such receiver any more
    assert endpoints_of(await messages.replay(first.id, first.id, [GLOBAL])) == [GLOBAL]


@usually_sqlite
async def test_only_received_messages_of_a_session_are_dead_letters_with_its_number(
    messages: SqlMessages, wall: Wall
) -> None:
    await messages.write([entry("k1"), entry("k2", "message_sent"), entry("k3", session="b")])
    wall.time += 10
    await messages.write([entry("k4")])
    given_up = await messages.dead_letter_pending(
        "another", Cause.OTHER_NUMBER, session_id="a", before=wall.time, limit=9
    )
    assert len(given_up) == 1
    assert [one.event_id for one in await messages.dead()] == ids("k1")
    assert [item.event_id for item in await waiting(messages)] == [
        *ids("k2", event="message_sent"),
        *ids("k3", session="b"),
        *ids("k4"),
    ]


@every_database
async def test_the_number_before_is_known(messages: SqlMessages, store: SqlStore) -> None:
    await store.create("a", 7, account_id=None, priority=0)
    assert await messages.linked_phone("a") is None
    await messages.link_phone("a", "4917")
    assert await messages.linked_phone("a") == "4917"
    assert await messages.linked_phone("unknown") is None


@usually_sqlite
async def test_what_waits_for_longer_than_its_retention_is_a_dead_letter(
    messages: SqlMessages, wall: Wall
) -> None:
    await messages.write([entry("k1")])
    wall.time += 100
    await messages.write([entry("k2")])
    before = wall.time - 50
    assert (
        await messages.tidy(
            inbox_before=before,
            reported_before=before,
            dead_before=0.0,
            undecryptable_before=0.0,
            limit=9,
        )
        == 2
    )
    assert [one.event_id for one in await messages.dead()] == ids("k1")
    assert [item.event_id for item in await waiting(messages)] == ids("k2")


@every_database
async def test_dead_letters_are_listed_replayed_and_discarded(
    messages: SqlMessages, wall: Wall
) -> None:
    entries = [entry(f"k{n}", session="ab"[n % 2]) for n in range(6)]
    names = [event_id(one.session_id, one.key, "message_received") for one in entries]
    await messages.write(entries)
    give_up = functools.partial(messages.dead_letter_pending, endpoint=GLOBAL, limit=100)
    assert len(await give_up("webhook.url is not set any more", Cause.REMOVED)) == 6
    assert len(await give_up("again", Cause.REMOVED)) == 0
    letters = await messages.dead()
    assert [letter.event_id for letter in letters] == names[::-1]
    assert await messages.dead(limit=2) == letters[:2]
    assert await messages.dead(before=letters[1].id, limit=2) == letters[2:4]
    assert await messages.dead(sessions=["a"]) == [letters[1], letters[3], letters[5]]
    assert await messages.dead(sessions=[]) == []
    assert await messages.dead_letter(letters[2].id) == letters[2]
    assert await messages.dead_letter(987_654) is None

    one = letters[2].id
    wall.time += 60
    assert endpoints_of(await messages.replay(one, one, [GLOBAL, "a", "b"])) == [GLOBAL]
    assert await messages.replay(one, one, [GLOBAL, "a", "b"]) == []
    [item] = await waiting(messages)
    assert item.id == one, "it has its place before what waits behind it"
    assert (item.event_id, item.attempts) == (names[3], 0)
    assert await messages.body(item.id, item.event_id) == body_of(entries[3])
    assert item.created_at == item.next_at == wall.time
    assert not await messages.discard(item.id), "it is not dead"

    assert await messages.discard(letters[0].id)
    assert not await messages.discard(letters[0].id)
    assert endpoints_of(await messages.replay(0, letters[0].id, [GLOBAL, "a", "b"])) == [GLOBAL] * 4
    assert [later.event_id for later in await waiting(messages)] == names[:5]
    assert await messages.dead() == []


@usually_sqlite
async def test_a_replayed_session_event_does_not_take_the_place_of_the_newest(
    messages: SqlMessages,
) -> None:
    await messages.write([entry("old", "session_disconnected")])
    await messages.dead_letter_pending("dead", Cause.REMOVED, endpoint=GLOBAL, limit=100)
    await messages.write([entry("new", "session_ready")])
    assert endpoints_of(await messages.replay(0, 1 << 40, [GLOBAL, "a", "b"])) == [GLOBAL]
    partitions = [(item.event_id, item.partition) for item in await waiting(messages)]
    old, new = (*ids("old", event="session_disconnected"), *ids("new", event="session_ready"))
    assert partitions == [(old, "replayed"), (new, "")]


@every_database
async def test_tidying_deletes_what_is_old_a_little_at_a_time(
    messages: SqlMessages, database: str, wall: Wall
) -> None:
    await messages.write([entry(f"k{number}") for number in range(5)])
    await messages.dead_letter_pending("dead", Cause.REMOVED, endpoint=GLOBAL, limit=100)
    wall.time += 100
    await messages.write([entry("new")])
    before = wall.time - 50

    async def tidy() -> int:
        return await messages.tidy(
            inbox_before=before,
            reported_before=before,
            dead_before=before,
            undecryptable_before=0.0,
            limit=3,
        )

    assert [await tidy() for _ in range(3)] == [6, 4, 0]
    assert await keys(database) == ["new"]
    assert await messages.dead() == []
    assert len(await waiting(messages)) == 1


@on_sqlite
async def test_a_locked_file_stores_nothing_and_says_so(database: str) -> None:
    store = ModerateStore(database)
    await store.open()
    with write_locked(database):
        await assert_unavailable(store.messages.write([entry("k")]))
        assert await waiting(store.messages) == []
    assert (await store.messages.write([entry("k")])).news == (True,)
    await store.close()


@on_sqlite
async def test_a_write_that_fails_in_its_middle_leaves_nothing(
    messages: SqlMessages, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent_events, "encoded", lambda _: None)
    with pytest.raises(Exception, match="NOT NULL"):
        await messages.write([entry("k1"), entry("k2")])
    assert await keys(database) == []
    assert await waiting(messages) == []


async def test_before_it_is_open_nothing_is_stored(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite+aiosqlite:///{tmp_path / 'w.db'}")
    await assert_unavailable(store.messages.write([entry("k")]))


@every_database
async def test_the_newest_message_of_each_chat(messages: SqlMessages) -> None:
    def at(key: str, moment: float, chat: str | None = "c", **more: Any) -> InboxRecord:
        return changed(entry(key, **more), at=moment, chat=chat)

    await messages.write(
        [
            at("1", 100.0),
            at("2", 300.5),
            at("3", 200.0),
            at("4", 50.0, "old"),
            at("5", 400.0, None),
            at("6", 500.0, "c", session="b"),
        ]
    )
    assert await messages.newest("a", after=60.0) == {"c": 300.5}
    assert await messages.newest("nobody", after=0.0) == {}


@every_database
async def test_the_queue_is_counted_by_receiver_and_dead_letters_by_cause(
    messages: SqlMessages, wall: Wall
) -> None:
    assert await messages.queued() == Queued()
    await messages.write([entry(str(number), session="ab"[number % 2]) for number in range(5)])
    assert (await messages.queued()).pending == {GLOBAL: 5}
    wall.time += 1.0
    queue = await waiting(messages)
    first = [one.id for one in queue]
    refused = [failed(it, f"no {it.id}") for it in queue[:3]]
    await messages.write([], [*refused, failed(queue[3], "perhaps", Cause.UNCERTAIN)])
    found = await messages.queued()
    assert found.pending == {GLOBAL: 1}
    dead = {it.cause: it for it in found.dead}
    assert dead.keys() == {Cause.REFUSED, Cause.UNCERTAIN}
    it = dead[Cause.REFUSED]
    assert (it.session, it.count, it.sessions, it.newest) == (None, 3, 2, first[2])
    assert (it.since, it.error) == (wall.time, f"no {first[2]}")
    await messages.discard(first[2])
    assert {it.cause: it.count for it in (await messages.queued()).dead}[Cause.REFUSED] == 2


@usually_sqlite
async def test_the_queue_of_a_sessions_own_receiver_is_its_own(messages: SqlMessages) -> None:
    await messages.put_endpoint(Endpoint(session_id="a", url="http://x/", secret=None))
    await messages.write([entry("1")])
    assert (await messages.queued()).pending == {GLOBAL: 1, "a": 1}
    await messages.dead_letter_pending("gone", Cause.EXPIRED, endpoint="a", limit=9)
    [it] = (await messages.queued()).dead
    assert (it.session, it.cause, it.count) == ("a", Cause.EXPIRED, 1)


@every_database
async def test_whose_a_file_is(messages: SqlMessages) -> None:
    theirs, both, forged = "1" * 64, "2" * 64, "3" * 64

    def with_media(key: str, session: str, **message: Any) -> InboxRecord:
        return entry(key, session=session, message=message)

    await messages.write(
        [
            with_media("k1", "a", media={"sha256": both, "url": "x"}),
            with_media("k2", "b", media={"sha256": both}),
            with_media("k3", "b", media={"sha256": theirs}),
            with_media("k4", "a", body=f'"sha256": "{forged}"', media={"sha256": None}),
        ]
    )
    assert await messages.has_file(both, {"a"})
    assert await messages.has_file(theirs, {"c", "b"})
    assert not await messages.has_file(theirs, {"a", "c"})
    assert not await messages.has_file(theirs, ())
    assert not await messages.has_file(forged, {"a"}), "a text names it"
    for name in ("%", "_" * 64, "", "\\", both.replace("2", "%")):
        assert not await messages.has_file(name, {"a", "b"})
