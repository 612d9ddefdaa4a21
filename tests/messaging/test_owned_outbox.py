"""Sessions come to a host and go while its outbox runs: each message is sent by one owner, once, in its chat's order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION, a_view
from tests.messaging.outbox_world import CHAT, PATIENT, START, World
from tests.messaging.restarts import in_flight, state
from tests.waiting import DEADLINE, wait_until
from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.core.messages.send_states import State
from waguard.core.replace import replace
from waguard.errors import DatabaseUnavailableError, NotOwnedError, UnavailableError
from waguard.messaging.outbox.commands import text
from waguard.messaging.outbox.pending_sends import Options, PendingSend
from waguard.messaging.outbox.repetitions import KeyReusedError
from waguard.ports.messages import Written
from waguard.ports.outbox import StateUpdate
from waguard.ports.outcomes import Acked, NotSent, Uncertain
from waguard.ports.sessions import LOGGED_OUT

OTHER = "webjs_1_1732240000_another0"
BULK = Options(later=True, bulk_id="bulk")


@contextlib.asynccontextmanager
async def a_host(folder: Path, **seconds: Any) -> AsyncIterator[World]:
    """A host of a cluster, which has acquired nothing yet."""
    host = World(folder, timings=replace(PATIENT, **seconds))
    host.owners = {}
    host.sessions.known[OTHER] = a_view(session_id=OTHER)
    await host.start()
    try:
        yield host
    finally:
        host.sessions.free.set()
        await host.stop(0.0)


@pytest.fixture
async def first(tmp_path: Path) -> AsyncIterator[World]:
    async with a_host(tmp_path) as host:
        await host.outbox.acquire({SESSION, OTHER})
        yield host


@pytest.fixture
async def second(tmp_path: Path, first: World) -> AsyncIterator[World]:
    async with a_host(tmp_path) as host:
        yield host


def sent(host: World) -> list[str]:
    return [call.message_id for call in host.sessions.sends()]


async def kept(host: World, body: str = "hi", **how: Any) -> PendingSend:
    pending = host.send(body, **how)
    await asyncio.shield(pending.stored)
    return pending


async def test_a_dead_owners_rows_are_gone_on_with_in_each_state(tmp_path: Path) -> None:
    dead = World(tmp_path)
    await dead.start()
    done = dead.send("done", key="k")
    assert await dead.result(done)
    dead.outbox.answered(done)
    await dead.row(done)
    under_way = await in_flight(dead, body="under way", chat="1@c.us")
    await wait_until(lambda: len(sent(dead)) == 2, "the command has left")
    dead.sessions.connect(UnavailableError("not yet"))
    behind = await kept(dead, "behind it", chat="1@c.us", later=True)
    queued = [await kept(dead, str(number), chat="2@c.us", later=True) for number in range(3)]
    at = START + 1_000.0 + 60.0
    timed = await kept(dead, "timed", chat="3@c.us", send_at=at)
    await dead.outbox.keep_all(SESSION, 1, [(text("4@c.us", "bulk"), BULK)])
    awaited = await kept(dead, "awaited", chat="5@c.us")
    before = sent(dead)
    await dead.kill()
    assert before == [done.message_id, under_way.message_id]
    async with a_host(tmp_path) as host:
        host.sessions.acks[under_way.message_id] = 2
        host.clock.now = dead.clock.now
        assert host.outbox.waiting() == 0, "nothing is its own at its start"
        await host.outbox.acquire({SESSION})
        for pending in (behind, *queued, awaited):
            assert await state(host, pending, State.SENT)
        assert await state(host, under_way, State.DELIVERED)
        assert under_way.message_id not in sent(host), "it is looked for, and never sent again"
        chats = [it for it in sent(host) if "_2@" in it]
        assert chats == [it.message_id for it in queued]
        assert sum("_4@" in it for it in sent(host)) == 1
        assert timed.message_id not in sent(host)
        host.clock.now += 61.0
        host.outbox._dispatcher._timers._ring()
        assert await state(host, timed, State.SENT)
        again = host.send("done", key="k")
        found = await host.result(again)
        assert found
        assert found.message_id == done.message_id
        with pytest.raises(KeyReusedError):
            await host.result(host.send("something else", key="k"))
        joined = host.send("awaited", chat="5@c.us")
        assert joined.message_id == awaited.message_id, "its reply was never written"


async def test_what_was_accepted_for_too_long_is_not_sent_by_the_next_owner(
    first: World, second: World
) -> None:
    first.sessions.connect(UnavailableError("not yet"))
    pending = await kept(first)
    await first.outbox.lose({SESSION})
    second.clock.now += REPEATED_FOR + 1
    await second.outbox.acquire({SESSION})
    assert await state(second, pending, State.FAILED)
    assert sent(second) == []
    await wait_until(lambda: second.published, "who was answered 'accepted' hears of it")
    assert second.published[0][0] == "message_failed"


async def test_who_waits_when_a_session_is_lost_has_an_honest_answer(
    first: World, second: World
) -> None:
    under_way = await in_flight(first, chat="1@c.us")
    behind = await kept(first, "behind", chat="1@c.us")
    other = await in_flight(first, chat="9@c.us")
    waits = [asyncio.create_task(first.outbox.result(it)) for it in (under_way, behind)]
    await asyncio.sleep(0)
    before = [replace(await first.row(it), answered=True) for it in (under_way, behind)]
    await first.outbox.lose({SESSION})
    outcomes = await asyncio.wait_for(asyncio.gather(*waits), DEADLINE)
    assert isinstance(outcomes[0], Uncertain)
    assert outcomes[1] is None, "accepted: the next owner sends it"
    for pending in (under_way, behind, other):
        first.outbox.answered(pending)
    first.sessions.free.set()
    assert [await first.row(it) for it in (under_way, behind)] == before, "no more is written"
    assert first.outbox.owed() == first.outbox.waiting() == 0
    assert len(first.sessions.sends()) == 2
    await second.outbox.acquire({SESSION})
    assert await state(second, behind, State.SENT)
    assert sent(second) == [behind.message_id]
    again = second.send(chat="1@c.us")
    assert again.message_id != under_way.message_id, "a reply was written: it is a new message"


async def test_a_session_that_stays_notices_nothing_of_one_that_is_lost(first: World) -> None:
    first.sessions.connect(UnavailableError("not yet"))
    stays = first.accept(text(CHAT, "stays"), OTHER, later=True)
    goes = await kept(first, "goes", later=True)
    await asyncio.shield(stays.stored)
    await first.outbox.lose({SESSION})
    first.sessions.connect()
    assert await state(first, stays, State.SENT)
    assert sent(first) == [stays.message_id]
    assert (await first.row(goes)).state is State.ACCEPTED


async def test_what_is_being_kept_when_its_session_is_lost_is_the_next_owners(
    first: World, second: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, asked, hold = first.store.messages.write, asyncio.Event(), asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        asked.set()
        await hold.wait()
        return await write(*given, **more)

    monkeypatch.setattr(first.store.messages, "write", slow)
    direct, later = (
        first.send("direct", chat="1@c.us"),
        first.send("later", chat="1@c.us", later=True),
    )
    await asyncio.wait_for(asked.wait(), DEADLINE)
    await first.outbox.lose({SESSION})
    hold.set()
    assert isinstance(await asyncio.wait_for(first.outbox.result(direct), DEADLINE), Uncertain)
    assert await asyncio.wait_for(first.outbox.result(later), DEADLINE) is None
    assert sent(first) == []
    await second.outbox.acquire({SESSION})
    assert await state(second, later, State.SENT)
    assert await state(second, direct, State.UNCERTAIN)
    assert sent(second) == [later.message_id]


async def test_a_release_awaits_what_is_under_way_and_leaves_the_rest(
    first: World, second: World
) -> None:
    under_way = await in_flight(first, chat="1@c.us")
    behind = await kept(first, "behind", chat="1@c.us")
    queued = await kept(first, "queued", chat="1@c.us", later=True)
    results = [asyncio.create_task(first.outbox.result(it)) for it in (under_way, behind)]
    releasing = asyncio.create_task(first.outbox.release(SESSION))
    assert await asyncio.wait_for(results[1], DEADLINE) is None
    first.sessions.free.set()
    await asyncio.wait_for(releasing, DEADLINE)
    assert isinstance(await results[0], Acked)
    assert (await first.row(under_way)).state is State.SENT, "its reply need not be written first"
    for pending in (under_way, behind):
        first.outbox.answered(pending)
    assert (await first.row(queued)).state is State.ACCEPTED
    assert sent(first) == [under_way.message_id]
    await second.outbox.acquire({SESSION})
    assert await state(second, queued, State.SENT)
    assert sent(second) == [behind.message_id, queued.message_id]


@pytest.mark.parametrize("seconds", [0.01])
async def test_a_release_does_not_wait_forever(tmp_path: Path, seconds: float) -> None:
    async with a_host(tmp_path, release=seconds) as host:
        await host.outbox.acquire({SESSION})
        pending = await in_flight(host)
        await asyncio.wait_for(host.outbox.release(SESSION), DEADLINE)
        assert isinstance(await host.outbox.result(pending), Uncertain)
        assert (await host.row(pending)).state is State.SENDING


async def test_what_is_being_kept_when_its_session_is_released_is_sent(
    first: World, second: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row says already that it is being sent: the next owner would call it uncertain, and nobody would send it."""
    write, asked, hold = first.store.messages.write, asyncio.Event(), asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        asked.set()
        await hold.wait()
        return await write(*given, **more)

    monkeypatch.setattr(first.store.messages, "write", slow)
    direct = first.send("direct", chat="1@c.us")
    later = first.send("later", chat="1@c.us", later=True)
    await asyncio.wait_for(asked.wait(), DEADLINE)
    releasing = asyncio.create_task(first.outbox.release(SESSION))
    await asyncio.sleep(0)
    hold.set()
    assert isinstance(await asyncio.wait_for(first.outbox.result(direct), DEADLINE), Acked)
    await asyncio.wait_for(releasing, DEADLINE)
    assert (await first.row(direct)).state is State.SENT
    await second.outbox.acquire({SESSION})
    assert await state(second, later, State.SENT)
    assert (sent(first), sent(second)) == ([direct.message_id], [later.message_id])


async def test_what_comes_back_during_a_release_stays_accepted(first: World, second: World) -> None:
    pending = await in_flight(first, later=True)
    first.sessions.outcomes.append(NotSent(UnavailableError("the page is loading")))
    releasing = asyncio.create_task(first.outbox.release(SESSION))
    await asyncio.sleep(0)
    first.sessions.free.set()
    await asyncio.wait_for(releasing, DEADLINE)
    assert (await first.row(pending)).state is State.ACCEPTED
    await second.outbox.acquire({SESSION})
    assert await state(second, pending, State.SENT)
    assert len(sent(first)) == 1


async def test_a_session_that_goes_and_comes_back_sends_each_once_and_in_order(
    first: World,
) -> None:
    first.sessions.connect(UnavailableError("not yet"))
    sends = [await kept(first, str(number), later=True) for number in range(5)]
    for _ in range(3):
        await first.outbox.lose({SESSION})
        await first.outbox.acquire({SESSION})
    sends += [await kept(first, str(number), later=True) for number in range(5, 8)]
    await first.outbox.acquire({SESSION})  # once more: another part could not be acquired
    first.sessions.connect()
    assert await state(first, sends[-1], State.SENT)
    assert sent(first) == [it.message_id for it in sends]
    assert first.outbox.waiting() == 0


async def test_one_under_way_at_the_loss_is_polled_when_the_session_comes_back(
    first: World,
) -> None:
    pending = await in_flight(first, key="k")
    await first.outbox.lose({SESSION})
    first.sessions.acks[pending.message_id] = 1
    first.sessions.free.set()
    await first.outbox.acquire({SESSION})
    assert await state(first, pending, State.SENT)
    again = first.send(key="k")
    assert isinstance(await first.outbox.result(again), Acked)
    assert len(sent(first)) == 1


async def test_timers_of_an_earlier_time_as_the_owner_do_nothing(first: World) -> None:
    at = START + 1_000.0 + 60.0
    pending = await kept(first, send_at=at)
    await first.outbox.lose({SESSION})
    await first.outbox.acquire({SESSION})
    first.clock.now += 61.0
    first.outbox._dispatcher._timers._ring()
    assert await state(first, pending, State.SENT)
    assert sent(first) == [pending.message_id]


async def test_what_is_queued_while_nobody_owns_it_is_the_next_owners(
    first: World, second: World
) -> None:
    await first.outbox.lose({SESSION})
    for how in (Options(), Options(queue=True), Options(later=True)):
        with pytest.raises(NotOwnedError):
            await first.result(
                first.outbox.accept(SESSION, 1, text(CHAT, "another host owns it"), how)
            )
    assert first.owners is not None
    first.owners[SESSION] = 7
    with pytest.raises(NotOwnedError):
        await first.result(first.send("now"))
    queued = first.send("queue", queue=True)
    assert await first.result(queued) is None
    later = first.send("later", later=True)
    assert await first.result(later) is None
    await first.outbox.keep_all(SESSION, 1, [(text(CHAT, "bulk"), BULK)])
    assert sent(first) == []
    assert first.outbox.waiting() == 0
    await second.outbox.acquire({SESSION})
    assert await state(second, later, State.SENT)
    await wait_until(lambda: len(sent(second)) == 3, "all that was accepted is sent")
    assert sent(second)[:2] == [queued.message_id, later.message_id]


async def test_what_is_queued_during_a_release_is_the_next_owners(
    first: World, second: World
) -> None:
    under_way = await in_flight(first)
    releasing = asyncio.create_task(first.outbox.release(SESSION))
    await asyncio.sleep(0)
    queued = first.send("queue", queue=True)
    assert await first.result(queued) is None
    with pytest.raises(NotOwnedError):
        await first.result(first.send("now"))
    first.sessions.free.set()
    await asyncio.wait_for(releasing, DEADLINE)
    assert (await first.row(under_way)).state is State.SENT
    await second.outbox.acquire({SESSION})
    assert await state(second, queued, State.SENT)
    assert sent(second) == [queued.message_id]


async def test_one_that_begins_when_the_database_knows_another_owner_is_that_ones(
    first: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store refuses it, before the keeper hears of the loss."""
    first.sessions.connect(UnavailableError("not yet"))
    pending = await kept(first)
    write = first.store.messages.write

    async def refusing(received: Any, results: Any, *, outgoing: Any, **more: Any) -> Written:
        if any(isinstance(it, StateUpdate) for it in outgoing):
            return Written(news=(), endpoints=frozenset(), kept=(None,) * len(outgoing))
        return await write(received, results, outgoing=outgoing, **more)

    monkeypatch.setattr(first.store.messages, "write", refusing)
    first.sessions.connect()
    assert await asyncio.wait_for(first.outbox.result(pending), DEADLINE) is None
    assert sent(first) == []
    assert (await first.row(pending)).state is State.ACCEPTED


async def test_what_comes_while_a_session_is_acquired_waits_behind_what_was_left(
    first: World, second: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first.sessions.connect(UnavailableError("not yet"))
    older = await kept(first, "older", later=True)
    await first.outbox.lose({SESSION})
    read, asked, hold = second.store.outbox.unfinished, asyncio.Event(), asyncio.Event()

    async def slow(**which: Any) -> Any:
        found = await read(**which)
        asked.set()
        await hold.wait()
        return found

    monkeypatch.setattr(second.store.outbox, "unfinished", slow)
    acquiring = asyncio.create_task(second.outbox.acquire({SESSION}))
    await asyncio.wait_for(asked.wait(), DEADLINE)
    newer = await kept(second, "newer")
    assert sent(second) == []
    hold.set()
    await asyncio.wait_for(acquiring, DEADLINE)
    assert isinstance(await asyncio.wait_for(second.outbox.result(newer), DEADLINE), Acked)
    assert sent(second) == [older.message_id, newer.message_id]


async def test_an_acquisition_that_fails_can_be_repeated(
    first: World, second: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first.sessions.connect(UnavailableError("not yet"))
    older = await kept(first, "older", later=True)
    await first.outbox.lose({SESSION})

    async def away(**_: Any) -> Any:
        raise DatabaseUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(second.store.outbox, "unfinished", away)
        with pytest.raises(DatabaseUnavailableError):
            await second.outbox.acquire({SESSION})
    newer = await kept(second, "newer", later=True)
    await second.outbox.acquire({SESSION})
    assert await state(second, newer, State.SENT)
    assert sent(second) == [older.message_id, newer.message_id]


async def test_what_is_not_in_memory_cannot_be_failed_yet(
    first: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A logout in the middle of a move would leave it to go out after the next link."""
    first.sessions.connect(UnavailableError("not yet"))
    queued = await kept(first, later=True)
    await first.outbox.lose({SESSION})
    with pytest.raises(UnavailableError):
        await first.outbox.abandon(SESSION, "its session was logged out")
    reading, hold = asyncio.Event(), asyncio.Event()
    read = first.outbox._recovery.read

    async def slowly(*sessions: Any) -> Any:
        found = await read(*sessions)
        reading.set()
        await hold.wait()
        return found

    monkeypatch.setattr(first.outbox._recovery, "read", slowly)
    acquiring = asyncio.create_task(first.outbox.acquire({SESSION}))
    await reading.wait()
    with pytest.raises(UnavailableError):
        await first.outbox.abandon(SESSION, "its session was logged out")
    hold.set()
    await acquiring
    await first.outbox.abandon(SESSION, "its session was logged out")
    assert (await first.row(queued)).state is State.FAILED


async def test_what_waited_for_a_logout_that_was_cut_off_fails_at_whichever_host_has_it_next(
    first: World, second: World
) -> None:
    """What is accepted after the logout waits for the next link."""
    await first.store.create(SESSION, 1, account_id=None, priority=0)
    not_yet = UnavailableError("not yet")
    first.sessions.connect(not_yet)
    second.sessions.connect(not_yet)
    left = [
        await kept(first, "queued", later=True),
        await kept(first, "timed", send_at=first.clock.wall() + 600.0),
        await kept(first, "awaited"),
    ]
    await first.store.leave(SESSION, removed=False)
    after = await kept(first, "after", later=True)
    timed_after = await kept(first, "timed after", send_at=first.clock.wall() + 600.0)
    await first.outbox.lose({SESSION})  # the host dies
    second.clock.now = first.clock.now
    await second.outbox.acquire({SESSION})
    for pending in left:
        assert await state(second, pending, State.FAILED)
        row = await second.row(pending)
        assert row.error == LOGGED_OUT
    second.sessions.connect()
    assert await state(second, after, State.SENT)
    second.clock.now += 601.0
    second.outbox._dispatcher._timers._ring()
    assert await state(second, timed_after, State.SENT)
    assert sent(second) == [after.message_id, timed_after.message_id]
