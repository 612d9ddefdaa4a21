"""What is acknowledged is stored, in order; what cannot be stored is not acknowledged."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import gateway
from tests.messaging.receiver import Receiver, event
from tests.store.hosts import message, nothing
from tests.store.test_outages import write_locked
from tests.waiting import DEADLINE, wait_until
from waguard.core.cluster.records import Owner, Owning
from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.messages.send_states import State
from waguard.core.metrics.families import RECEIVED
from waguard.core.metrics.tally import Count
from waguard.core.replace import replace
from waguard.core.webhooks.pending import DeliveryResult, delivered
from waguard.errors import DatabaseUnavailableError, NotOwnedError, UnavailableError
from waguard.messaging import group_commit
from waguard.messaging.database_backlog import JournalLimits
from waguard.messaging.records import of_event
from waguard.messaging.write_queue import BATCH, Keep, WriteQueue
from waguard.ports.messages import MessageStore, Written
from waguard.ports.outbox import StateUpdate, Withdrawal


class Wrapped:
    """A store whose writes can be made to fail. Everything else goes through."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self.fail: list[BaseException | None] = []
        self.indigestible: str | None = None
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(
        self, records: Sequence[InboxRecord], results: Sequence[DeliveryResult] = (), **more: Any
    ) -> Written:
        self.batches.append(len(records))
        if self.fail and (error := self.fail.pop(0)):
            raise error
        if any(one.key == self.indigestible for one in records):
            raise ValueError("no database takes this")
        return await self._store.write(records, results, **more)


@pytest.fixture
def wrapped() -> list[Wrapped]:
    return []


def wrap(made: list[Wrapped]) -> Any:
    def wrap(store: MessageStore) -> Any:
        made.append(Wrapped(store))
        return made[-1]

    return wrap


async def test_the_calls_come_in_the_order_of_the_puts_also_for_nothing(tmp_path: Path) -> None:
    stored: list[Any] = []
    async with gateway(tmp_path, None) as it:
        for number in range(50):
            it.journal.put(
                (of_event(event(number)),) if number % 3 else (),
                lambda news, number=number: stored.append((number, len(news))),  # type: ignore[misc]
            )
        it.journal.put((of_event(event(1)),), lambda news: stored.append(("again", len(news))))
        assert stored == []
        assert await it.journal.flushed(10.0)
    assert stored == [(n, int(bool(n % 3))) for n in range(50)] + [("again", 0)]


async def test_what_was_stored_is_counted_once_by_its_kind(tmp_path: Path) -> None:
    async with gateway(tmp_path, None) as it:
        await it.stored(event(0), event(1))
        await it.stored(event(1))
        series = it.tally.series[RECEIVED].items()
    counts = {kind: one.value for (kind,), one in series if isinstance(one, Count) and one.value}
    assert counts == {Kind.SESSION: 2.0}


async def test_what_comes_in_meanwhile_is_one_transaction(
    tmp_path: Path, wrapped: list[Wrapped]
) -> None:
    async with gateway(tmp_path, None, wrap=wrap(wrapped)) as it:
        it.put(event(0))
        await wait_until(lambda: wrapped[0].batches, "the first is being written")
        for number in range(1, 100):
            it.put(event(number))
        assert await it.journal.flushed(10.0)
    assert len(it.news) == 100
    assert len(wrapped[0].batches) <= 3


async def test_a_locked_database_is_asked_again_and_nothing_is_acknowledged(
    tmp_path: Path, logged: list[str]
) -> None:
    async with gateway(tmp_path, None, patience=1.0) as it:
        with write_locked(f"sqlite+aiosqlite:///{tmp_path / 'w.db'}"):
            it.put(event(1))
            it.put(event(2))
            await wait_until(
                lambda: any("nothing can be stored" in s for s in logged), "it is said"
            )
            assert it.news == []
        await wait_until(lambda: len(it.news) == 2, "it is stored")
    [said] = [said for said in logged if "ERROR" in said]  # once, however often it is asked
    assert "'event': 'writes_wait'" in said


async def test_a_database_that_is_gone_is_not_asked_all_the_time(
    tmp_path: Path, wrapped: list[Wrapped], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def noted(_: group_commit.GroupCommit, delay: float) -> bool:
        slept.append(delay)
        return False

    monkeypatch.setattr(group_commit.GroupCommit, "_closes_within", noted)
    async with gateway(tmp_path, None, wrap=wrap(wrapped)) as it:
        wrapped[0].fail = [DatabaseUnavailableError("gone")] * 7
        it.put(event(1))
        assert await it.journal.flushed(10.0)
    assert slept == [*group_commit.RETRY, 5.0, 5.0]
    assert len(it.news) == 1


async def test_before_the_database_was_ever_open(tmp_path: Path, receiver: Receiver) -> None:
    async with gateway(tmp_path, receiver.url, opened=False) as it:
        it.put(event(1))
        await asyncio.sleep(0)
        await it.store.open()
        await receiver.wait_taken(1)
        assert len(it.news) == 1


async def test_what_no_database_takes_holds_nobody_up(
    tmp_path: Path, wrapped: list[Wrapped], logged: list[str]
) -> None:
    stored: list[str] = []

    def put(it: Any, number: int) -> None:
        received = of_event(event(number))
        it.journal.put((received,), lambda _: stored.append(received.key))

    async with gateway(tmp_path, None, wrap=wrap(wrapped)) as it:
        wrapped[0].indigestible = "message_received:3"
        wrapped[0].fail = [DatabaseUnavailableError("gone")]  # so that they gather
        for number in range(6):
            put(it, number)
        assert await it.journal.flushed(10.0)
        put(it, 9)
        assert await it.journal.flushed(10.0)
    # the worker would send it for ever: it is acknowledged, and said
    assert stored == [f"message_received:{n}" for n in (0, 1, 2, 3, 4, 5, 9)]
    assert sum("cannot be stored" in said for said in logged) == 1


async def test_a_bug_of_a_listener_does_not_end_the_writer(
    tmp_path: Path, logged: list[str]
) -> None:
    def faulty(_: Sequence[InboxRecord]) -> None:
        raise RuntimeError("a bug")

    async with gateway(tmp_path, None) as it:
        it.journal.put((of_event(event(1)),), faulty)
        it.put(event(2))
        assert await it.journal.flushed(10.0)
    assert len(it.news) == 1
    assert any("a bug" in said for said in logged)


async def test_memory_is_bounded_while_the_database_is_away(
    tmp_path: Path, logged: list[str]
) -> None:
    async with gateway(tmp_path, None, opened=False, limits=JournalLimits(waiting=5)) as it:
        for number in range(8):
            it.put(event(number))
        await asyncio.sleep(0)
        await it.store.open()
        await wait_until(lambda: len(it.news) == 5, "those that were kept are stored")
    assert sum("too much waits" in said for said in logged) == 3


async def test_what_is_not_stored_at_the_end_is_logged(tmp_path: Path, logged: list[str]) -> None:
    async with gateway(tmp_path, None, opened=False) as it:
        it.put(event(1))
        await wait_until(lambda: any("nothing can be stored" in s for s in logged), "it was tried")
    assert any("not stored before the stop" in said for said in logged)


@pytest.mark.parametrize(
    "limits",
    [
        JournalLimits(behind_count=1),
        JournalLimits(behind_bytes=1),
        JournalLimits(behind_age=1e-9),
    ],
    ids=["count", "bytes", "age"],
)
async def test_new_work_waits_while_the_database_is_behind(
    tmp_path: Path, wrapped: list[Wrapped], limits: JournalLimits
) -> None:
    async with gateway(tmp_path, None, wrap=wrap(wrapped), limits=limits) as it:
        backlog = it.journal.backlog
        backlog.require_room()
        wrapped[0].fail = [DatabaseUnavailableError("gone")] * 2
        it.put(event(1))
        with pytest.raises(UnavailableError, match="the database is behind") as refused:
            backlog.require_room()
        assert refused.value.retry_after == 10
        assert await it.journal.flushed(10.0)
        backlog.require_room()
        assert len(it.news) == 1


async def test_what_is_withdrawn_while_the_database_is_away_counts_too(
    tmp_path: Path, wrapped: list[Wrapped]
) -> None:
    limits = JournalLimits(behind_count=2)
    async with gateway(tmp_path, None, wrap=wrap(wrapped), limits=limits) as it:
        wrapped[0].fail = [DatabaseUnavailableError("gone")] * 2
        for name in "ab":
            it.journal.update(Withdrawal(name))
        with pytest.raises(UnavailableError, match="2 writes wait"):
            it.journal.backlog.require_room()
        assert await it.journal.flushed(10.0)
        it.journal.backlog.require_room()


async def test_of_a_session_that_another_host_owns_nothing_is_acknowledged(
    tmp_path: Path, logged: list[str]
) -> None:
    """What is committed with it is."""
    async with gateway(tmp_path, None) as it:
        epochs = {"a": 1, "b": 1}
        host = Owning(host="h", incarnation="i", epochs=epochs)
        it.store.guard(before_migration=nothing, owning=lambda: host)
        for name in epochs:
            await it.store.create(name, 1, account_id=None, priority=0)
        kept = await it.journal.keep(message("b", "m"))
        await it.store.messages.write([of_event(event(0, session="b"))])
        [webhook] = await it.pending()
        lost = Owner(session="b", host="h", incarnation="i", epoch=1)
        assert await it.store.owners().claim(lost, "h2", "i") == 2
        saved = it.journal.save_later(delivered(webhook))
        kept_too = it.journal.keep(StateUpdate(id=kept, state=State.SENT))
        outcome = asyncio.gather(saved, kept_too, return_exceptions=True)
        it.put(event(1, session="b"))
        it.put(event(2, session="a"))
        assert await it.journal.flushed(10.0)
        assert [type(one) for one in await outcome] == [NotOwnedError] * 2
        assert [record.session_id for record in it.news] == ["a"]
        row = await it.store.outbox.find(kept)
        assert row
        assert row.state is State.ACCEPTED
    assert sum("does not own these sessions" in said for said in logged) == 1


def people(number: int, *, count: int) -> InboxRecord:
    pairs = tuple((f"{number}{it}@lid", f"{number}{it}@c.us") for it in range(count))
    return replace(of_event(event(number)), kind=Kind.PEOPLE, pairs=pairs, events=())


async def test_numbers_of_many_people_are_not_all_one_transaction(
    tmp_path: Path, wrapped: list[Wrapped]
) -> None:
    """Each is a row: all of them take longer than the database's deadline."""
    async with gateway(tmp_path, None, wrap=wrap(wrapped)) as it:
        for number in range(1, 5):
            it.journal.put((people(number, count=BATCH),), lambda _: None)
        assert await it.journal.flushed(DEADLINE)
    assert wrapped[0].batches == [1] * 4


async def test_a_batch_that_the_database_does_not_take_in_time_is_smaller_the_next_time(
    tmp_path: Path, wrapped: list[Wrapped]
) -> None:
    async with gateway(tmp_path, None, wrap=wrap(wrapped)) as it:
        wrapped[0].fail = [DatabaseUnavailableError("late")] * 2
        for number in range(8):
            it.put(event(number))
        assert await it.journal.flushed(DEADLINE)
    assert wrapped[0].batches == [8, 4, 2, 4, 2]
    assert len(it.news) == 8


async def test_who_sends_while_the_database_is_gone_has_an_answer_also_after_many_tries() -> None:
    """The next try is for all of them, and also for those behind an update that waits."""
    gone, queue = DatabaseUnavailableError("gone"), WriteQueue()
    queue.add(Keep((Withdrawal("a"),), urgent=False))
    for _ in range(2):
        queue.refuse(queue.next(), gone)
    sends = [Keep((Withdrawal(name),), urgent=True) for name in "bcd"]
    for send in sends:
        queue.add(send)
    queue.refuse(queue.next(), gone)
    assert [send.done.done() for send in sends] == [True] * 3
    assert not queue.urgent
    assert queue.keeps == 1
