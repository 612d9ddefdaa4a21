"""One person under a number and LIDs, one message under many ids: on every database."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.event import listen, remove

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, Wall, endpoints_of, usually_sqlite
from tests.store.test_outbox import draft, find
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.send_states import State
from waguard.core.webhooks.delivery import EVENTS, UNIDENTIFIED_AFTER, Cause, DeadLetterState
from waguard.errors import DatabaseUnavailableError
from waguard.ports.outbox import StateUpdate
from waguard.ports.store import SessionRow
from waguard.ports.webhooks import GLOBAL, Endpoint, UnidentifiedChat
from waguard.store.sql import SqlStore
from waguard.supervision.session import application_events as translate
from waguard.wire.events import Ack, Acquainted, Edit, InboundMessage, IncomingCall, Revoke

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

ANNA, BEN, ME = "4917000001@c.us", "4917000002@c.us", "4915100000@c.us"
LID, NEWER, OTHER = "7000001@lid", "7000002@lid", "7000003@lid"
GROUP = "120363000000000001@g.us"
ROW = SessionRow(session_id="a", workspace_id=7, status="connected", desired_up=True, generation=1)
AT = 1_732_233_000.0


async def accept(store: SqlStore, *some: tuple[InboxRecord, ...]) -> tuple[bool, ...]:
    """Store it in one transaction, as the journal does; what was news."""
    records = [one for received in some for one in received]
    written = await store.messages.write(records, for_global=EVENTS)
    assert len(written.received) == len(records)
    return written.news


def knows(lid: str, number: str = ANNA) -> tuple[InboxRecord, ...]:
    return translate.acquainted(ROW, Acquainted(pairs=((lid, number),)), AT)


def message(
    chat: str, stem: str = "A", *, author: str | None = None, own: bool = False, **more: Any
) -> tuple[InboxRecord, ...]:
    parts = ("true" if own else "false", chat, stem, *((author,) if author else ()))
    reported = InboundMessage(
        id="_".join(parts),
        chat=chat,
        sender=ME if own else author or chat,
        to=chat if own else ME,
        body=f"text {stem}",
        timestamp=int(AT),
        from_me=own,
        kind="chat",
    )
    return translate.received(ROW, reported, AT, **more)


def acks(chat: str, level: int, stem: str = "A", reader: str = "") -> tuple[InboxRecord, ...]:
    name = f"true_{chat}_{stem}" + (f"_{reader}" if reader else "")
    return translate.acks(ROW, Ack(ids=(name,), chat=chat, ack=level), AT)


async def first_id(store: SqlStore) -> list[dict[str, Any]]:
    """What is queued, in order: the event, and its data."""
    found, bodies = await store.messages.pending(GLOBAL, after=0, limit=1_000)
    return [json.loads(bodies[one.id]) | {"partition": one.partition} for one in found]


async def received(store: SqlStore) -> list[tuple[str, str, str | None]]:
    """Of the messages: the id, the chat and the sender that the application hears."""
    some = [one["data"]["message"] for one in await first_id(store) if "message" in one["data"]]
    return [(one["id"], one["chat_id"], one.get("sender_phone")) for one in some]


async def sending(store: SqlStore, chat: str, stem: str = "A") -> int:
    """A message of ours on its way there, answered."""
    name = f"true_{chat}_{stem}"
    kept = draft(message_id=name, chat=chat, state=State.SENDING)
    written = await store.messages.write([], outgoing=[kept])
    number = written.kept[0]
    assert number
    move = StateUpdate(id=number, state=State.SENT, answered=True, reports=("a", name))
    await store.messages.write([], outgoing=[move], for_global=EVENTS)
    return number


# ---- what comes in ----


@usually_sqlite
async def test_a_renamed_chat_doubles_nothing(store: SqlStore) -> None:
    assert await accept(store, message(ANNA, "A"), message(ANNA, "B")) == (True, True)
    news = await accept(store, knows(LID), message(LID, "A"), message(LID, "B"), message(LID, "C"))
    assert news == (False, False, False, True)
    assert await received(store) == [
        (f"false_{ANNA}_{stem}", ANNA, "4917000001") for stem in ("A", "B", "C")
    ]


@every_database
async def test_nor_a_lid_that_changes_nor_one_after_a_restart(
    store: SqlStore, database: str, wall: Wall
) -> None:
    await accept(store, knows(LID), message(LID, "A"))
    again = SqlStore(database, wall=wall)
    await again.open()
    assert (
        await accept(again, knows(NEWER), message(NEWER, "A"), message(ANNA, "A")) == (False,) * 3
    )
    await again.close()


@usually_sqlite
async def test_one_stem_of_two_people_is_two_messages(store: SqlStore) -> None:
    await accept(store, knows(LID, ANNA), knows(OTHER, BEN))
    assert (
        await accept(store, message(LID), message(OTHER), message(GROUP, author=LID)) == (True,) * 3
    )
    assert await accept(store, message(ANNA), message(BEN), message(GROUP, author=ANNA)) == (
        False,
        False,
        False,
    )


@every_database
async def test_what_an_earlier_version_stored_is_known(store: SqlStore, database: str) -> None:
    await accept(store, message(ANNA, "A"), message(GROUP, "G", author=ME, own=True))
    old = SqlApplication(database)
    was = f"sent:true_{GROUP}_G_{ME}"
    await old.run(
        f"UPDATE waguard_inbox SET {_KEY[store_kind(database)]} = '{was}' WHERE kind = 'sent'"
    )
    lid = knows("7999@lid", ME)
    assert await accept(store, lid, message(GROUP, "G", author="7999@lid", own=True)) == (
        False,
        False,
    )
    assert await accept(store, knows(LID), message(LID, "A")) == (False, False)


_KEY = {"sqlite": "key", "postgresql": '"key"', "mysql": "`key`"}


def store_kind(url: str) -> str:
    return next((kind for kind in _KEY if url.startswith(kind)), "mysql")


@usually_sqlite
async def test_a_lids_newest_number_counts_and_rewrites_nothing(store: SqlStore) -> None:
    await accept(store, knows(LID, ANNA), message(LID, "A"))
    await accept(store, knows(LID, BEN), message(LID, "B"))
    assert [chat for _, chat, _ in await received(store)] == [ANNA, BEN]
    assert (await store.messages.people("a")).lids(ANNA) == (LID,)


@on_sqlite
async def test_what_a_failed_write_learned_is_forgotten(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise DatabaseUnavailableError("gone")

    await store.messages.people("a")
    with monkeypatch.context() as broken:
        broken.setattr("waguard.store.group_readers.record", fails)
        with pytest.raises(DatabaseUnavailableError):
            await accept(store, knows(LID))
    assert (await store.messages.people("a")).number(LID) == LID
    await accept(store, knows(LID))
    assert (await store.messages.people("a")).number(LID) == ANNA


@every_database
async def test_a_number_that_was_asked_for_is_remembered(
    store: SqlStore, database: str, wall: Wall
) -> None:
    def asked(number: str, *, exists: bool) -> tuple[InboxRecord, ...]:
        return translate.acquainted(ROW, Acquainted(asked=((number, exists),)), wall.time)

    await accept(store, asked(ANNA, exists=True), asked(BEN, exists=True), asked(BEN, exists=False))
    again = SqlStore(database, wall=wall)
    await again.open()
    for one in (store, again):
        people = await one.messages.people("a")
        assert (people.exists(ANNA, wall.time), people.exists(BEN, wall.time)) == (True, False)
    await again.close()


# ---- what is about a message ----


def changed(
    kind: type, chat: str, target: str, sender: str, **more: Any
) -> tuple[InboxRecord, ...]:
    own = f"false_{chat}_E{len(more)}"
    it = kind(id=own, chat=chat, sender=sender, timestamp=int(AT), message_id=target, **more)
    return translate.happened(ROW, it, AT)


@usually_sqlite
async def test_an_edit_names_the_message_as_it_was_reported(store: SqlStore) -> None:
    await accept(store, message(ANNA, "A"), message(GROUP, "G", author=LID))
    await accept(
        store,
        knows(LID),
        changed(Edit, LID, f"false_{LID}_A", LID, body="new"),
        changed(Revoke, GROUP, f"false_{GROUP}_G_{ANNA}", ANNA),
        changed(Revoke, LID, f"false_{LID}_B", LID),
    )
    about = [one["data"] for one in await first_id(store)][2:]
    assert [one["message_id"] for one in about] == [
        f"false_{ANNA}_A",
        f"false_{GROUP}_G_{LID}",  # by that name it knows it
        f"false_{ANNA}_B",
    ]
    assert (about[0]["chat_id"], about[0]["from"], about[0]["sender_phone"]) == (
        ANNA,
        ANNA,
        "4917000001",
    )
    assert await accept(store, changed(Edit, ANNA, f"false_{ANNA}_A", ANNA, body="new")) == (False,)


# ---- acks ----


@every_database
@pytest.mark.parametrize("asked", [ANNA, LID])
async def test_an_ack_finds_its_message_under_any_alias(store: SqlStore, asked: str) -> None:
    number = await sending(store, asked)
    await accept(store, knows(LID), knows(NEWER), acks(NEWER, 2))
    await accept(store, acks(LID, 3), acks(ANNA, 3))
    assert (await find(store, number)).state is State.READ
    levels = [
        (one["data"]["message_id"], one["data"]["ack_level"])
        for one in await first_id(store)
        if one["event"] == "message_status_updated"
    ]
    assert levels == [(f"true_{asked}_A", 3), (f"true_{asked}_A", 4)]


@every_database
async def test_a_stem_alone_acknowledges_nothing(store: SqlStore) -> None:
    anna, ben = await sending(store, ANNA), await sending(store, BEN)
    await accept(store, knows(LID, ANNA), knows(OTHER, BEN), message(OTHER, "A"), acks(LID, 3))
    assert (await find(store, anna)).state is State.READ
    assert (await find(store, ben)).state is State.SENT


@usually_sqlite
async def test_each_level_of_a_group_is_reported_once_and_each_reader_kept(store: SqlStore) -> None:
    number = await sending(store, GROUP)
    await accept(store, acks(GROUP, 1, reader="7999@lid"))  # the server's, with who wrote it
    for reader in (LID, NEWER, LID):
        for level in (2, 3, 4):
            await accept(store, acks(GROUP, level, reader=reader))
    assert (await find(store, number)).state is State.READ
    status = [one["data"] for one in await first_id(store) if "status_updated" in one["event"]]
    assert [(one["message_id"], one["ack_level"]) for one in status] == [
        (f"true_{GROUP}_A", level) for level in (2, 3, 4)
    ]
    readers = await store.outbox.readers("a", f"true_{GROUP}_A")
    assert [(one.reader, one.ack) for one in readers] == [
        (who, level) for who in (LID, NEWER) for level in (2, 3, 4)
    ]


@every_database
async def test_readers_go_when_the_inbox_does(store: SqlStore) -> None:
    await accept(store, acks(GROUP, 3, reader=LID))

    async def tidy(before: float) -> int:
        return await store.messages.tidy(
            inbox_before=before,
            reported_before=0.0,
            dead_before=0.0,
            undecryptable_before=0.0,
            limit=100,
        )

    assert await tidy(AT) == 0
    assert await store.outbox.readers("a", f"true_{GROUP}_A")
    assert await tidy(AT + 1) == 1
    assert await store.outbox.readers("a", f"true_{GROUP}_A") == []


# ---- those whose number nobody knows ----


@usually_sqlite
async def test_what_comes_from_nobody_waits_for_its_number(store: SqlStore, wall: Wall) -> None:
    await accept(store, message(LID, "A"), message(OTHER, "X"), message(ANNA, "N"))
    await accept(store, message(LID, "B"), changed(Edit, LID, f"false_{LID}_A", LID, body="new"))
    assert await received(store) == [(f"false_{ANNA}_N", ANNA, "4917000001")]
    wall.time += 60
    await accept(store, knows(LID), message(LID, "C"))
    bodies = await first_id(store)
    assert [one["partition"] for one in bodies] == [ANNA] * 5
    assert await received(store) == [
        (f"false_{ANNA}_{stem}", ANNA, "4917000001") for stem in ("N", "A", "B", "C")
    ]
    [edit] = [one["data"] for one in bodies if one["event"] == "message_edited"]
    assert (edit["message_id"], edit["from"], edit["sender_phone"]) == (
        f"false_{ANNA}_A",
        ANNA,
        "4917000001",
    )
    # what comes later is about the message as it was first_id
    await accept(store, changed(Revoke, LID, f"false_{LID}_A", LID))
    assert (await first_id(store))[-1]["data"]["message_id"] == f"false_{ANNA}_A"
    assert await accept(store, message(LID, "A"), message(ANNA, "B")) == (False, False)


@every_database
async def test_when_the_number_is_known_what_was_reported_already_is_not_reported_again(
    store: SqlStore,
) -> None:
    await accept(store, message(ANNA, "A"), message(LID, "A"), message(LID, "B"))
    await accept(store, knows(LID))
    assert [name for name, _, _ in await received(store)] == [
        f"false_{ANNA}_A",
        f"false_{ANNA}_B",
    ]
    assert await store.messages.dead() == []


@usually_sqlite
async def test_after_a_while_it_is_listed_and_a_person_decides(store: SqlStore, wall: Wall) -> None:
    await accept(store, message(LID, "A"), message(LID, "B"))
    assert await store.messages.dead() == []
    wall.time += UNIDENTIFIED_AFTER
    second, first = await store.messages.dead(state=DeadLetterState.UNIDENTIFIED)
    assert await store.messages.dead(state=DeadLetterState.DEAD) == []
    assert {first.cause, second.cause} == {Cause.UNIDENTIFIED}
    assert await store.messages.replay(0, second.id, {GLOBAL}) == []  # not all at once
    assert endpoints_of(await store.messages.replay(first.id, first.id, {GLOBAL})) == [GLOBAL]
    assert [name for name, _, _ in await received(store)] == [f"false_{LID}_A"]
    assert await store.messages.discard(second.id)
    await accept(store, knows(LID))
    assert await store.messages.dead() == []


@every_database
async def test_a_chat_of_nobody_is_listed_replayed_and_discarded_as_a_whole(
    store: SqlStore, wall: Wall
) -> None:
    await accept(store, *(message(LID, stem) for stem in "ABC"), message(OTHER, "X"))
    assert await store.messages.unidentified() == []
    began, wall.time = wall.time, wall.time + UNIDENTIFIED_AFTER
    await accept(store, message(LID, "D"), message("7000009@lid", "Y"))
    assert await store.messages.unidentified() == [
        UnidentifiedChat("a", LID, began, 4),
        UnidentifiedChat("a", OTHER, began, 1),
    ]
    chat = store.messages
    assert await chat.replay_unidentified("a", LID, set()) == []
    assert await chat.replay_unidentified("b", LID, {GLOBAL}) == []
    assert endpoints_of(await chat.replay_unidentified("a", LID, {GLOBAL})) == [GLOBAL] * 4
    assert [name for name, _, _ in await received(store)] == [f"false_{LID}_{n}" for n in "ABCD"]
    assert await chat.discard_unidentified("a", LID) == 0
    assert await chat.discard_unidentified("a", OTHER) == 1
    assert await store.messages.unidentified() == []
    await accept(store, knows(OTHER, BEN))
    assert len(await received(store)) == 4


@every_database
async def test_another_number_does_not_get_what_waited(store: SqlStore, wall: Wall) -> None:
    await accept(store, message(LID, "A"))
    why, now = "another number", wall.time + 1
    give_up = store.messages.dead_letter_pending
    assert len(await give_up(why, Cause.OTHER_NUMBER, session_id="a", before=now, limit=10)) == 1
    await accept(store, knows(LID))
    assert await first_id(store) == []
    [letter] = await store.messages.dead()
    assert letter.cause == Cause.OTHER_NUMBER


@usually_sqlite
async def test_groups_go_on_and_so_does_what_was_sent_to_a_lid_by_name(store: SqlStore) -> None:
    await sending(store, LID)
    await accept(store, message(GROUP, author=LID), acks(LID, 2))
    events = [(one["event"], one["data"].get("ack_level")) for one in await first_id(store)]
    assert events == [
        ("message_sent", None),
        ("message_received", None),
        ("message_status_updated", 3),
        ("message_delivered", 3),
    ]
    assert (await received(store))[1] == (f"false_{GROUP}_A_{LID}", GROUP, None)


@every_database
async def test_what_the_phone_wrote_to_nobody_waits_with_its_acks(store: SqlStore) -> None:
    await accept(store, message(LID, own=True), acks(LID, 2))
    assert await first_id(store) == []
    await accept(store, knows(LID))
    bodies = await first_id(store)
    assert [one["event"] for one in bodies] == [
        "message_sent",
        "mobile_activity_detected",
        "message_status_updated",
        "message_delivered",
    ]
    about = [one for one in bodies if one["event"] != "mobile_activity_detected"]
    assert {one["data"]["message_id"] for one in about} == {f"true_{ANNA}_A"}


@usually_sqlite
async def test_a_call_of_nobody_waits_too(store: SqlStore) -> None:
    call = IncomingCall(id="C", chat=LID, sender=LID, timestamp=1, video=False, group=False)
    await accept(store, translate.happened(ROW, call, AT))
    assert await first_id(store) == []
    await accept(store, knows(LID))
    [one] = await first_id(store)
    assert (one["data"]["from"], one["data"]["sender_phone"]) == (ANNA, "4917000001")
    assert one["partition"] == ANNA


# ---- what it costs ----


@contextmanager
def statements_of(store: SqlStore) -> Iterator[list[str]]:
    """What its writer executes."""
    made: list[str] = []
    engines = store._database._engines
    assert engines

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        made.append(statement)

    engine = engines.writer.sync_engine
    listen(engine, "before_cursor_execute", count)
    yield made
    remove(engine, "before_cursor_execute", count)


@every_database
async def test_numbers_of_many_take_as_many_statements_as_one(store: SqlStore) -> None:
    with statements_of(store) as one:
        await accept(store, knows(LID))
    pairs = tuple((f"{number}@lid", f"{number}@c.us") for number in range(900))
    with statements_of(store) as many:
        await accept(store, translate.acquainted(ROW, Acquainted(pairs=pairs), AT))
    assert len(many) <= 2 * len(one)


@every_database
async def test_many_that_wait_for_one_number_take_few_statements(store: SqlStore) -> None:
    count = 90
    await accept(store, *(message(LID, f"M{it:03}") for it in range(count)))
    with statements_of(store) as made:
        await accept(store, knows(LID))
    assert len(made) < count / 2
    assert await received(store) == [
        (f"false_{ANNA}_M{it:03}", ANNA, "4917000001") for it in range(count)
    ]
    again = [message(LID, f"M{it:03}") for it in range(count)]
    assert not any(await accept(store, *again))


@every_database
async def test_of_what_waits_for_one_number_what_was_reported_already_is_left_out(
    store: SqlStore,
) -> None:
    """Among others of its chat, and of another chat, whose number comes with the same report."""
    await accept(store, message(LID, "A"), message(OTHER, "X"), message(LID, "B"))
    await accept(store, message(ANNA, "A"))
    await accept(store, knows(LID, ANNA), knows(OTHER, BEN))
    assert await received(store) == [
        (f"false_{ANNA}_A", ANNA, "4917000001"),
        (f"false_{BEN}_X", BEN, "4917000002"),
        (f"false_{ANNA}_B", ANNA, "4917000001"),
    ]


@every_database
async def test_the_next_receiver_does_not_get_what_waited_for_one_that_was_removed(
    store: SqlStore,
) -> None:
    own = Endpoint(session_id="a", url="http://old.example/", secret=None)
    await store.messages.put_endpoint(own)
    await accept(store, message(LID, "A"))
    await store.messages.delete_endpoint("a")
    give_up = store.messages.dead_letter_pending
    assert len(await give_up("removed", Cause.REMOVED, endpoint="a", limit=10)) == 1
    assert len(await give_up("removed", Cause.REMOVED, endpoint="a", limit=10)) == 0
    await accept(store, knows(LID))
    found, _ = await store.messages.pending("a", after=0, limit=10)
    assert found == []
    [letter] = await store.messages.dead()
    assert (letter.endpoint, letter.cause) == ("a", Cause.REMOVED)
    assert len(await received(store)) == 1  # webhook.url's
