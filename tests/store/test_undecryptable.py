"""Messages that could not be decrypted: what is remembered of them, on every database."""

import json
from typing import Any

import pytest
from sqlalchemy import event

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS, Wall, endpoints_of, usually_sqlite
from tests.store.test_identity import (
    ANNA,
    AT,
    GROUP,
    LID,
    NEWER,
    ROW,
    accept,
    first_id,
    knows,
    message,
)
from tests.store.test_outages import ModerateStore, write_locked
from waguard.config.sections import Retention
from waguard.core.cluster.records import Owning
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.undecryptable import KEPT_FOR, KNOWN_FOR, Waiting
from waguard.core.webhooks.delivery import DeadLetterState
from waguard.errors import DatabaseUnavailableError
from waguard.ports.clock import WallAges
from waguard.ports.webhooks import GLOBAL, Endpoint
from waguard.store.messages import SqlMessages
from waguard.store.retention import tidy_messages
from waguard.store.sql import SqlStore
from waguard.supervision.session import application_events as translate
from waguard.wire.events import Undecryptable

every_database = pytest.mark.parametrize("database", BACKENDS, indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
DAY = 86_400.0
SHORT = Retention(inbox_days=1, outbox_days=1, dead_days=30)


def sealed(chat: str = ANNA, stem: str = "A", author: str | None = None) -> tuple[InboxRecord, ...]:
    parts = ("false", chat, stem, *((author,) if author else ()))
    it = Undecryptable(id="_".join(parts), chat=chat, sender=author or chat, timestamp=int(AT))
    return translate.undecryptable(ROW, it, AT)


async def waiting(messages: SqlMessages, session: str = "a") -> list[str]:
    found, count = await messages.undecryptable(session, limit=1_000)
    assert count == len(found)
    return [one.message_id for one in found]


async def states(database: str) -> dict[str, str]:
    rows = await SqlApplication(database).rows("SELECT * FROM waguard_undecryptable")
    return {row["message_id"]: row["state"] for row in rows}


async def bodies(store: SqlStore) -> list[Any]:
    return [one["data"]["message"]["body"] for one in await first_id(store)]


@every_database
async def test_an_undecryptable_message_is_remembered_once_and_not_reported(
    store: SqlStore, messages: SqlMessages, wall: Wall
) -> None:
    assert await accept(store, sealed()) == (True,)
    wall.time += 60
    assert await accept(store, sealed(), sealed(stem="B")) == (False, True)
    found, _ = await messages.undecryptable("a", limit=10)
    assert found == [
        Waiting(message_id=f"false_{ANNA}_A", since=wall.time - 60),
        Waiting(message_id=f"false_{ANNA}_B", since=wall.time),
    ]
    assert await first_id(store) == []
    assert await messages.undecryptable("other", limit=10) == ([], 0)
    assert await messages.undecryptable("a", limit=1) == (found[:1], 2)


@every_database
async def test_a_message_that_can_be_read_ends_it_in_the_same_transaction(
    store: SqlStore, messages: SqlMessages, database: str, wall: Wall
) -> None:
    await accept(store, sealed(), sealed(stem="B"))
    assert await accept(store, message(ANNA)) == (True,)
    assert await waiting(messages) == [f"false_{ANNA}_B"]
    assert await bodies(store) == ["text A"]
    assert await accept(store, sealed(), message(ANNA)) == (False, False)
    again = SqlStore(database, wall=wall)
    await again.open()
    assert await accept(again, sealed(), message(ANNA)) == (False, False)
    assert await waiting(again.messages) == [f"false_{ANNA}_B"]
    await again.close()


@every_database
async def test_both_may_be_in_one_transaction_in_either_order(
    store: SqlStore, messages: SqlMessages
) -> None:
    await accept(store, sealed(), message(ANNA))
    await accept(store, message(ANNA, "B"), sealed(stem="B"))
    assert await waiting(messages) == []
    assert await bodies(store) == ["text A", "text B"]


@usually_sqlite
async def test_what_the_inbox_has_is_not_remembered(store: SqlStore, messages: SqlMessages) -> None:
    own = message(ANNA, "C", own=True)
    await accept(store, message(ANNA), own)
    assert await accept(store, knows(LID), sealed(LID)) == (False, False)
    it = Undecryptable(id=f"true_{LID}_C", chat=LID, sender=LID, timestamp=int(AT))
    assert await accept(store, translate.undecryptable(ROW, it, AT)) == (False,)
    assert await waiting(messages) == []


@usually_sqlite
async def test_an_undecryptable_message_is_the_same_under_another_name_of_its_chat_or_author(
    store: SqlStore, messages: SqlMessages, database: str
) -> None:
    await accept(store, sealed(), sealed(GROUP, "G", LID), sealed(NEWER, "N"))
    assert await accept(store, knows(LID), sealed(LID), message(LID)) == (False, False, True)
    assert await accept(store, message(GROUP, "G", author=ANNA)) == (True,)
    assert await accept(store, knows(NEWER), message(ANNA, "N")) == (False, True)
    assert await waiting(messages) == []
    assert set((await states(database)).values()) == {"readable"}


@every_database
async def test_the_inbox_knows_it_as_long_as_it_is_remembered(
    store: SqlStore, messages: SqlMessages, database: str, wall: Wall
) -> None:
    """With an inbox that is kept for a day."""
    await accept(store, sealed(), message(ANNA, "B"))
    wall.time += DAY
    await accept(store, message(ANNA))
    wall.time += KEPT_FOR - DAY
    await tidy_messages(messages, SHORT, WallAges(lambda: wall.time))
    assert await accept(store, message(ANNA), sealed()) == (False, False)
    assert await accept(store, message(ANNA, "B")) == (True,)
    wall.time += KNOWN_FOR - KEPT_FOR + 1
    await tidy_messages(messages, SHORT, WallAges(lambda: wall.time))
    await tidy_messages(messages, SHORT, WallAges(lambda: wall.time))
    assert await states(database) == {}
    assert await accept(store, message(ANNA)) == (True,)


@every_database
async def test_the_oldest_are_given_up_as_dead_letters(
    store: SqlStore, messages: SqlMessages, database: str, wall: Wall
) -> None:
    own = Endpoint(session_id="a", url="http://h/", secret=None)
    await accept(store, sealed(LID), knows(LID))
    before = wall.time
    wall.time += 10
    await accept(store, sealed(stem="B"), sealed(stem="C"))
    assert await messages.give_up("too old", session_id="other", limit=9) == []
    assert await messages.give_up("too old", session_id="a", before=before, limit=9) == [
        ("a", f"false_{LID}_A")
    ]
    await messages.put_endpoint(own)
    assert await messages.give_up("why", session_id="a", limit=1) == [("a", f"false_{ANNA}_B")]
    ids = [f"false_{ANNA}_A", f"false_{ANNA}_C"]
    assert await messages.give_up("why", message_ids=ids, limit=9) == [("a", f"false_{ANNA}_C")]
    assert await waiting(messages) == []
    letters = await messages.dead(state=DeadLetterState.UNDECRYPTABLE)
    assert await messages.dead() == letters
    assert await messages.dead(state=DeadLetterState.DEAD) == []
    assert [(one.endpoint, one.error, one.cause) for one in letters] == [
        ("a", "why", "undecryptable"),
        ("a", "why", "undecryptable"),
        (GLOBAL, "too old", "undecryptable"),
    ]
    assert (letters[-1].created_at, letters[-1].died_at) == (before, wall.time)
    body = json.loads(
        await messages.body(letters[-1].id, letters[-1].event_id, pending=False) or b""
    )
    assert body == {
        "event": "message_error",
        "data": {
            "workspace_id": 7,
            "session_id": "a",
            "message_id": f"false_{ANNA}_A",
            "chat_id": ANNA,
            "error": "message: too old",
            "raw": "",
            "timestamp": int(AT),
        },
    }
    assert await first_id(store) == []
    # it is remembered no more, but its message is still welcome
    assert await accept(store, sealed(), sealed(stem="B"), message(ANNA, "B")) == (
        False,
        False,
        True,
    )
    assert await waiting(messages) == []


@on_sqlite
async def test_one_host_alone_locks_no_row_before_it_gives_one_up(
    store: SqlStore, messages: SqlMessages
) -> None:
    asked: list[Any] = []
    engines = store._database._engines
    assert engines
    event.listen(
        engines.writer.sync_engine, "before_execute", lambda *given: asked.append(given[1])
    )
    for owning in (None, Owning(host="h", incarnation="i", epochs={})):
        await accept(store, sealed(stem=f"of {owning}"))
        store._database.owning = lambda: owning  # noqa: B023 - called at once
        asked.clear()
        assert len(await messages.give_up("why", limit=9)) == 1
        locking = [it for it in asked if getattr(it, "_for_update_arg", None) is not None]
        assert bool(locking) is (owning is not None)
        store._database.owning = lambda: None


@usually_sqlite
async def test_one_given_up_is_replayed_and_discarded_alone(
    store: SqlStore, messages: SqlMessages
) -> None:
    await accept(store, sealed(), sealed(stem="B"))
    await messages.give_up("why", limit=9)
    first, second = (one.id for one in await messages.dead())
    assert await messages.replay(0, 10**6, [GLOBAL]) == []
    assert endpoints_of(await messages.replay(first, first, [GLOBAL])) == [GLOBAL]
    assert await messages.discard(second)
    assert [one["event"] for one in await first_id(store)] == ["message_error"]


@every_database
async def test_no_messages_are_forgotten(
    store: SqlStore, messages: SqlMessages, database: str
) -> None:
    await accept(store, sealed(), sealed(stem="B"))
    await messages.no_messages("a", [f"false_{ANNA}_A", "unknown"])
    await messages.no_messages("other", [f"false_{ANNA}_B"])
    assert await waiting(messages) == [f"false_{ANNA}_B"]
    assert (await states(database))[f"false_{ANNA}_A"] == "over"
    assert await messages.give_up("why", limit=9) == [("a", f"false_{ANNA}_B")]


@every_database
async def test_those_of_a_session_that_is_gone_are_given_up_by_housekeeping(
    store: SqlStore, messages: SqlMessages, wall: Wall
) -> None:
    await accept(store, sealed())
    wall.time += KNOWN_FOR - 1
    await tidy_messages(messages, SHORT, WallAges(lambda: wall.time))
    assert await messages.dead() == []
    wall.time += 1
    await tidy_messages(messages, SHORT, WallAges(lambda: wall.time))
    (letter,) = await messages.dead(state=DeadLetterState.UNDECRYPTABLE)
    assert "14 days" in letter.error


@on_sqlite
async def test_a_write_that_fails_remembers_nothing(database: str) -> None:
    store = ModerateStore(database)
    await store.open()
    try:
        await accept(store, sealed(stem="B"))
        with write_locked(database), pytest.raises(DatabaseUnavailableError):
            await accept(store, sealed(), message(ANNA, "B"))
        assert await waiting(store.messages) == [f"false_{ANNA}_B"]
        assert await accept(store, sealed(), message(ANNA, "B")) == (True, True)
        assert await waiting(store.messages) == [f"false_{ANNA}_A"]
    finally:
        await store.close()
