"""A database from before LIDs is upgraded: chats got LIDs while the daemon was down, and nothing of
what is told again is doubled, no send is lost, and the start does not accept long."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.api.fake_sessions import FakeSessions, a_view
from tests.store.application import SqlApplication
from tests.store.conftest import Wall
from tests.store.past import FORMS, LEVELS, LONG, PEOPLE, SESSIONS, STEM, Past, group, me, person
from tests.waiting import wait_until
from waguard.config.sections import Config
from waguard.core.messages.backfill import by_alias
from waguard.core.messages.inbox import BACKFILL_LIMIT, InboxRecord
from waguard.core.messages.send_states import State
from waguard.core.webhooks.delivery import EVENTS
from waguard.host.files.media import MediaFolder
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.outbox import Outbox
from waguard.ports.store import SessionRow
from waguard.ports.webhooks import GLOBAL
from waguard.store.sql import SqlStore
from waguard.supervision.session import application_events as translate
from waguard.wire.calls import Acks
from waguard.wire.events import Ack, Acquainted, Edit, InboundMessage, Reaction, Revoke

BATCH = 200  # entries of a transaction, as the journal makes them
SMALL, LARGE = Past(Wall().time, 2_000, 200), Past(Wall().time, 320_000, 45_000, waits=3)
ROWS = {
    name: SessionRow(
        session_id=name, workspace_id=7, status="connected", desired_up=True, generation=1
    )
    for name in SESSIONS
}


# ---- what the page tells when it is back ----


def acquaintances(place: int) -> tuple[InboxRecord, ...]:
    """Everybody has a LID by now."""
    everybody = [me(place), *(person(place + len(SESSIONS) * one) for one in range(PEOPLE))]
    pairs = tuple((one.lid, one.number) for one in everybody)
    return translate.acquainted(ROWS[SESSIONS[place]], Acquainted(pairs=pairs), Wall().time)


def again(past: Past, number: int) -> tuple[InboxRecord, ...]:
    """The ``number``th thing as the page tells it today: what was under a number is under a LID,
    and the other way round."""
    who, own, form, stem = (
        person(number),
        me(person(number).place),
        past.form(number),
        _stem(number),
    )
    row, at = ROWS[who.session], past.at(number)
    chat = group(number) if "group" in form else who.number if form == "lid" else who.lid
    if form in {"edit", "reaction", "revoke"}:
        target = f"false_{who.lid}_{STEM}{0:018X}"
        reported: dict[str, Any] = {
            "id": f"false_{who.lid}_{stem}",
            "chat": who.lid,
            "sender": who.lid,
            "timestamp": int(at),
            "message_id": target,
        }
        match form:
            case "edit":
                return translate.happened(row, Edit(**reported, body="new"), at)
            case "reaction":
                return translate.happened(row, Reaction(**reported, text="👍"), at)
            case _:
                return translate.happened(row, Revoke(**reported), at)
    from_me = form.startswith("phone")
    author = own.lid if from_me else who.lid
    parts = (
        "true" if from_me else "false",
        chat,
        LONG + stem if form == "long" else stem,
        *([author] if "group" in form else []),
    )
    message = InboundMessage(
        id="_".join(parts),
        chat=chat,
        sender=author,
        to=chat if from_me else own.lid,
        body="some text",
        timestamp=int(at),
        from_me=from_me,
        kind="chat",
        backfilled=True,
    )
    return translate.received(row, message, at)


def _stem(number: int) -> str:
    return f"{STEM}{number:018X}"


def acks_again(past: Past, number: int, level: int) -> tuple[InboxRecord, ...]:
    """An ack of the ``number``th send; in a group with one reader."""
    who, chat = person(number), past.sent_chat(number)
    _, _, stem = past.sent_id(number).split("_")
    if chat.endswith("@c.us"):
        chat, name = who.lid, f"true_{who.lid}_{stem}"
    else:
        name = f"true_{chat}_{stem}_{me(who.place).lid if level < 2 else who.lid}"
    return translate.acks(ROWS[who.session], Ack(ids=(name,), chat=chat, ack=level), Wall().time)


# ---- the daemon after the upgrade ----


@dataclass
class Upgraded:
    """A daemon's store and outbox on what an older version left; ``took`` has the seconds."""

    past: Past
    store: SqlStore
    journal: Journal
    outbox: Outbox
    sessions: FakeSessions
    app: SqlApplication
    wall: Wall
    took: dict[str, float] = field(default_factory=dict)

    async def accept(self, received: Iterable[tuple[InboxRecord, ...]]) -> Counter[bool]:
        """Store it as the journal does; how much of it was news."""
        news: Counter[bool] = Counter()
        records = [one for some in received for one in some]
        for start in range(0, len(records), BATCH):
            some = records[start : start + BATCH]
            news.update((await self.store.messages.write(some, for_global=EVENTS)).news)
        return news

    async def count(self, table: str) -> int:
        """Rows."""
        return int((await self.app.rows(f"SELECT COUNT(*) AS n FROM {table}"))[0]["n"])


@asynccontextmanager
async def upgraded(
    past: Past, revision: str, database: str, folder: Path
) -> AsyncIterator[Upgraded]:
    """Made at ``revision``, then opened by today's code."""
    await past.make(database, revision)
    wall = Wall()
    store, app, sessions = SqlStore(database, wall=wall), SqlApplication(database), FakeSessions()
    for name in SESSIONS:
        sessions.known[name] = a_view(session_id=name)
    took: dict[str, float] = {}

    async def timed(name: str, do: Awaitable[object]) -> None:
        began = time.perf_counter()
        await do
        took[name] = time.perf_counter() - began

    await timed("scan", _scan(app))
    await timed("migration", store.open())
    journal = Journal(
        store.messages, MediaFolder(folder / "media"), base="", for_global=lambda: EVENTS
    )
    outbox = Outbox(sessions, store.outbox, journal, Config, _Clock(wall))
    try:
        async with journal:
            await timed("sends", outbox.begin())
            await timed("times", _read_times(store))
            yield Upgraded(past, store, journal, outbox, sessions, app, wall, took)
            await outbox.close(0.0)
    finally:
        await store.close()


async def _scan(app: SqlApplication) -> None:
    """The least that a look at every row can cost."""
    for table in ("waguard_inbox", "waguard_outbox", "waguard_deliveries"):
        column = "payload" if table == "waguard_inbox" else "body"
        await app.rows(f"SELECT SUM(LENGTH({column})) FROM {table}")


async def _read_times(store: SqlStore) -> None:
    for name in SESSIONS:
        await store.messages.newest(name, after=Wall().time - BACKFILL_LIMIT)


@dataclass
class _Clock:
    wall: Callable[[], float]

    def monotonic(self) -> float:
        return time.monotonic()


# ---- the parts of the test ----


async def holds_all(it: Upgraded, step: int) -> None:
    """All that follows, on each ``step``th of what was received and sent."""
    counts = {name: await it.count(f"waguard_{name}") for name in ("inbox", "outbox", "deliveries")}
    assert counts["inbox"] > it.past.received
    waiting = await queue(it)
    await asks_for_what_was_uncertain(it)
    known = await it.accept(map(acquaintances, range(len(SESSIONS))))
    assert known == {False: len(SESSIONS)}
    await doubles_nothing(it, step)
    assert await it.count("waguard_outbox") == counts["outbox"]
    assert await queue(it) == waiting
    await reads_chats_from_where_they_were(it)
    await moves_sends_by_acks(it, step)


async def queue(it: Upgraded) -> list[tuple[int, str, str]]:
    """The received messages that wait for their delivery: all, in order, each once."""
    found: list[tuple[int, str, str]] = []
    after = 0
    while some := (await it.store.messages.pending(GLOBAL, after=after, limit=5_000))[0]:
        after = some[-1].id
        found += [
            (one.id, one.event_id, one.partition) for one in some if one.event == "message_received"
        ]
    wanted = [row for row in it.past.deliveries() if row["state"] == "pending"]
    assert [(event, partition) for _, event, partition in found] == [
        (row["event_id"], row["lane"]) for row in wanted
    ]
    return found


async def asks_for_what_was_uncertain(it: Upgraded) -> None:
    """By the number, and by nothing else: no LID is known yet. Every second one is there."""
    names = [it.past.sent_id(number) for number in it.past.in_doubt()]

    def asked() -> set[str]:
        return {
            one for _, call, _ in it.sessions.calls if isinstance(call, Acks) for one in call.ids
        }

    await wait_until(lambda: asked() == set(names), "all are looked up")
    assert not it.sessions.sends()


async def doubles_nothing(it: Upgraded, step: int) -> None:
    """What was stored before is known by its old key, under today's ids."""
    before = await it.count("waguard_inbox")
    some = range(0, it.past.received, step)
    assert {it.past.form(number) for number in some} == set(FORMS)
    assert await it.accept(again(it.past, number) for number in some) == {False: len(some)}
    assert await it.count("waguard_inbox") == before


async def reads_chats_from_where_they_were(it: Upgraded) -> None:
    """A chat that has a LID now is read back from the time of its number's newest message."""
    name = SESSIONS[0]
    newest = await it.store.messages.newest(name, after=it.wall.time - BACKFILL_LIMIT)
    since = by_alias(
        {chat: int(at) for chat, at in newest.items()}, await it.store.messages.people(name)
    )
    heard: dict[str, float] = {}
    for row in it.past.inbox():
        if row["session_id"] == name and row["kind"] == "message":
            heard[row["chat"]] = max(row["at"], heard.get(row["chat"], row["at"]))
    assert newest == heard
    for one in (person(len(SESSIONS) * number) for number in range(PEOPLE)):
        if one.number in newest:
            assert since[one.lid] == int(max(newest[one.number], newest.get(one.lid, 0.0)))


async def moves_sends_by_acks(it: Upgraded, step: int) -> None:
    """An ack finds its send under the old id; one that was known is no news, one that moves it is."""
    usual = [n for n in range(0, it.past.sent, step) if n not in set(it.past.in_doubt())]
    level = {"read": 3, "delivered": 2, "sent": 1}
    for state, reached in level.items():
        some = [number for number in usual if it.past.state(number) == state]
        assert some
        old = [acks_again(it.past, number, ack) for number in some for ack in LEVELS[:reached]]
        assert await it.accept(old) == {False: len(old)}
        new = [acks_again(it.past, number, ack) for number in some for ack in LEVELS[reached:]]
        assert await it.accept(new) == ({True: len(new)} if new else {})
    doubtful = [*it.past.in_doubt()]
    await it.accept(acks_again(it.past, number, 3) for number in doubtful)
    for number in (*usual, *doubtful):
        row = await it.store.outbox.find_message(it.past.sent_id(number))
        assert row is not None
        assert row.state is State.READ


def said(it: Upgraded, what: str) -> None:
    """For docs/performance.md."""
    scan, whole = it.took["scan"], sum(it.took.values()) - it.took["scan"]
    parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in it.took.items())
    print(f"\n{what}: {parts}; start {whole:.2f} s = {whole / scan:.2f} times the scan")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("revision", ["0003", "0004"])
async def test_nothing_is_doubled_after_an_upgrade(
    database: str, revision: str, tmp_path: Path
) -> None:
    async with upgraded(SMALL, revision, database, tmp_path) as it:
        await holds_all(it, 7)


@pytest.mark.long
# who comes from the older one passes the newer one, too; tests/e2e/test_upgrade.py has the other pairs
@pytest.mark.parametrize(
    ("database", "revision"),
    [("sqlite", "0003"), ("postgresql", "0003"), ("mariadb", "0003"), ("mariadb", "0004")],
    indirect=["database"],
)
async def test_450_000_rows(
    database: str, revision: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async with upgraded(LARGE, revision, database, tmp_path) as it:
        assert await it.count("waguard_inbox") >= 450_000
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            said(it, f"{database.partition(':')[0]} from {revision}")
        await holds_all(it, 11)
