"""Messages that wait: for their session, their turn, their time."""

import asyncio
import gc
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION
from tests.messaging.outbox_ends import ended, result
from tests.messaging.outbox_world import CHAT, World, with_bounds, with_timings
from tests.waiting import wait_until
from waguard.config.sections import Config, Send
from waguard.core.messages.send_states import State
from waguard.errors import (
    ConflictError,
    NotFoundError,
    TooManyError,
    UnavailableError,
)
from waguard.messaging.outbox.commands import Media, file
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.ports.outcomes import Acked, NotSent
from waguard.wire.calls import SendMedia


async def test_a_session_that_only_a_person_can_help_is_refused_at_once(world: World) -> None:
    world.sessions.connect(ConflictError("Session not connected: it is qr_pending"))
    with pytest.raises(ConflictError, match="qr_pending"):
        await world.result(world.send())
    assert await world.store.outbox.listing() == []


async def test_a_request_waits_for_its_session_and_is_kept_meanwhile(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    await asyncio.shield(pending.stored)
    assert (await world.row(pending)).state is State.ACCEPTED
    world.sessions.connect()
    assert (await result(world, pending)).message_id == pending.message_id
    assert len(world.sessions.sends()) == 1


async def test_a_request_gives_up_and_then_nothing_is_sent(world: World) -> None:
    world.config = lambda: Config(send=Send(wait=0.05))
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    with pytest.raises(UnavailableError, match="not yet"):
        await world.result(pending)
    assert (await world.row(pending)).state is State.FAILED
    world.sessions.connect()
    other = world.send("other")
    await world.result(other)
    assert [call.message_id for call in world.sessions.sends()] == [other.message_id]


async def test_one_chat_is_written_to_in_order_and_others_meanwhile(world: World) -> None:
    world.sessions.free.clear()
    first, second, third = (world.send(body) for body in "abc")
    other = world.send("d", chat="1" + CHAT)
    await wait_until(lambda: len(world.sessions.sends()) == 2, "two chats began")
    for pending in (second, third):
        await asyncio.shield(pending.stored)
    world.sessions.free.set()
    for pending in (first, second, third, other):
        await world.result(pending)
    chat = [call.message_id for call in world.sessions.sends() if call.chat == CHAT]
    assert chat == [first.message_id, second.message_id, third.message_id]


async def test_none_goes_before_one_that_is_just_being_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sessions.free.clear()
    first = world.send("a")
    await wait_until(world.sessions.sends, "the first began")
    write, hold = world.store.messages.write, asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        await hold.wait()
        return await write(*given, **more)

    monkeypatch.setattr(world.store.messages, "write", slow)
    second = world.send("b")
    await asyncio.sleep(0)
    world.sessions.free.set()
    await world.result(first)
    await asyncio.sleep(0)
    third = world.send("c")
    await asyncio.sleep(0)
    hold.set()
    for pending in (second, third):
        await world.result(pending)
    sent = [call.message_id for call in world.sessions.sends()]
    assert sent == [first.message_id, second.message_id, third.message_id]


async def test_a_turn_that_does_not_come_in_time_is_given_up(world: World) -> None:
    world.sessions.free.clear()
    first = world.send("a")
    await wait_until(world.sessions.sends, "the first began")
    world.config = lambda: Config(send=Send(wait=0.05))
    with pytest.raises(UnavailableError, match="earlier message"):
        await world.result(world.send("b"))
    world.sessions.free.set()
    await world.result(first)
    assert len(world.sessions.sends()) == 1


async def test_only_so_many_chats_at_once(world: World) -> None:
    world.sessions.free.clear()
    sends = [world.send("a", chat=f"62{number:09}@c.us") for number in range(20)]
    for pending in sends:
        await asyncio.shield(pending.stored)
    await wait_until(lambda: len(world.sessions.sends()) >= 8, "those that may have begun")
    assert len(world.sessions.sends()) == 8
    world.sessions.free.set()
    for pending in sends:
        await world.result(pending)
    assert len(world.sessions.sends()) == 20


async def test_what_nobody_waits_for_is_announced_when_the_server_has_it(world: World) -> None:
    pending = world.send(later=True)
    assert await world.result(pending) is None
    assert await ended(world, pending) is State.SENT
    assert world.published == []  # its reply is not written yet
    world.outbox.answered(pending)
    await wait_until(lambda: world.published, "it is announced")
    [(event, session, _, data)] = world.published
    assert (event, session, data["message_id"]) == ("message_sent", SESSION, pending.message_id)
    [notice], _ = await world.store.messages.pending("*", after=0, limit=10)
    assert notice.event == "message_sent"


async def test_what_is_queued_waits_for_its_session(world: World) -> None:
    world.sessions.connect(ConflictError("Session not connected: it is qr_pending"))
    media = Media(content=b"picture", mimetype="image/png", kind="image")
    pending = world.accept(file(CHAT, media), queue=True)
    assert await world.result(pending) is None
    behind = world.send("behind", later=True)
    await world.result(behind)
    assert world.sessions.sends() == []
    world.sessions.connect()
    assert await ended(world, behind) is State.SENT
    first, second = world.sessions.sends()
    assert isinstance(first, SendMedia)
    assert (first.content, first.message_id) == (b"picture", pending.message_id)
    assert second.message_id == behind.message_id
    assert await world.store.outbox.load(pending.id) is not None
    loaded = await world.store.outbox.load(pending.id)
    assert loaded
    assert loaded[1] is None, "the file is dropped"


@with_timings(retry=0.01)
async def test_what_is_queued_waits_without_limit_for_its_turn_too(world: World) -> None:
    world.sessions.free.clear()
    first = world.send("a")
    await wait_until(world.sessions.sends, "the first began")
    world.config = lambda: Config(send=Send(wait=0.05))
    pending = world.send("b", queue=True)
    assert await world.result(pending) is None
    assert (await world.row(pending)).queued, "another run sends it, however long that takes"
    behind = world.send("c", later=True)
    world.sessions.free.set()
    assert await ended(world, behind) is State.SENT
    sent = [call.message_id for call in world.sessions.sends()]
    assert sent == [first.message_id, pending.message_id, behind.message_id]


async def test_what_is_queued_waits_where_its_session_goes_while_it_waits_for_its_turn(
    world: World,
) -> None:
    world.sessions.free.clear()
    first = world.send("a")
    await wait_until(world.sessions.sends, "the first began")
    pending = world.send("b", queue=True)
    await asyncio.shield(pending.stored)
    world.sessions.connect(ConflictError("Session not connected: it is qr_pending"))
    world.config = lambda: Config(send=Send(wait=0.05))
    assert await world.result(pending) is None
    world.sessions.connect()
    world.sessions.free.set()
    await world.result(first)
    assert await ended(world, pending) is State.SENT


@with_timings(retry=0.01)
async def test_what_is_queued_waits_where_its_session_goes_as_its_turn_comes(world: World) -> None:
    world.sessions.outcomes.extend([NotSent(UnavailableError("the page is loading"))] * 2)
    pending = world.send(queue=True)
    assert await world.result(pending) is None
    assert await ended(world, pending) is State.SENT
    assert (await world.row(pending)).attempts == 3


async def test_queueing_changes_nothing_where_the_session_is_ready(world: World) -> None:
    assert isinstance(await world.result(world.send(queue=True)), Acked)


@with_timings(retry=0.01)
async def test_what_has_certainly_not_left_waits_again(
    world: World,
) -> None:
    world.sessions.outcomes.extend([NotSent(UnavailableError("the page is loading"))] * 2)
    pending = world.send(later=True)
    assert await ended(world, pending) is State.SENT
    assert (await world.row(pending)).attempts == 3
    assert {call.message_id for call in world.sessions.sends()} == {pending.message_id}


@with_bounds(waiting=2)
async def test_only_so_many_wait_and_no_request_is_refused_for_them(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    await world.result(world.send("a", later=True))
    await world.result(world.send("b", queue=True))
    with pytest.raises(TooManyError, match="wait already"):
        world.send("c", later=True)
    with pytest.raises(TooManyError, match="wait already"):
        await world.result(world.send("c", queue=True))
    world.sessions.connect()
    assert await world.result(world.send("d"))


@with_timings(retry=0.01)
async def test_a_bug_in_another_part_does_not_stop_a_session_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, bugs = world.sessions.ready, [True]

    async def buggy(*given: Any, hoping: bool = False, **more: Any) -> None:
        if hoping and bugs:
            raise RuntimeError(bugs.pop())
        await ready(*given, hoping=hoping, **more)

    monkeypatch.setattr(world.sessions, "ready", buggy)
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send(later=True)
    await world.result(pending)
    await wait_until(lambda: not bugs, "it was asked whether the session is ready")
    world.sessions.connect()
    assert await ended(world, pending) is State.SENT


async def test_a_session_that_is_gone_fails_what_waits_for_it(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send(later=True)
    await world.result(pending)
    del world.sessions.known[SESSION]
    world.sessions.connect()
    assert await ended(world, pending) is State.FAILED
    with pytest.raises(NotFoundError):
        await world.result(world.send())


async def test_what_is_for_later_is_sent_then(world: World) -> None:
    world.clock.now = 0.0
    pending = world.send(send_at=world.clock.wall() + 0.05)
    assert await world.result(pending) is None
    now = world.send("now")
    await world.result(now)
    assert len(world.sessions.sends()) == 1
    world.clock.now = 1.0
    assert await ended(world, pending) is State.SENT


async def test_one_that_is_cancelled_is_not_kept_until_its_time(world: World) -> None:
    at = world.clock.wall() + 3_600.125  # no other test's
    pending = world.send(send_at=at)
    await world.result(pending)
    world.outbox.answered(pending)
    await world.outbox.cancel(await world.row(pending))
    del pending
    gc.collect()
    assert not [it for it in gc.get_objects() if isinstance(it, PendingSend) and it.send_at == at]


async def test_what_has_not_begun_can_be_cancelled(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending, other = world.send(later=True), world.send("other", later=True)
    await world.result(pending)
    await world.result(other)
    await world.outbox.cancel(await world.row(pending))
    world.sessions.connect()
    assert await ended(world, other) is State.SENT
    assert (await world.row(pending)).state is State.CANCELLED
    assert len(world.sessions.sends()) == 1
    for row in (await world.row(pending), await world.row(other)):
        with pytest.raises(ConflictError):
            await world.outbox.cancel(row)
