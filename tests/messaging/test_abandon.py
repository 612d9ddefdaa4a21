"""A session is deleted: all that waits for it fails, and nothing goes later."""

import asyncio
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION
from tests.messaging.outbox_world import World
from tests.messaging.published import until, webhooks
from tests.messaging.restarts import restart
from tests.waiting import wait_until
from waguard.config.sections import Config, Send
from waguard.core.messages.send_states import State
from waguard.errors import ConflictError, UnavailableError
from waguard.ports.outcomes import NotSent
from waguard.ports.sessions import LOGGED_OUT


async def test_all_that_waits_fails_and_is_published(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    queued = world.send("a", later=True)
    scheduled = world.send("b", send_at=world.clock.wall() + 600)
    for pending in (queued, scheduled):
        await world.result(pending)
        world.outbox.answered(pending)
    awaited = world.send("c")
    await asyncio.shield(awaited.stored)
    await world.outbox.abandon(SESSION, "the session was logged out")
    with pytest.raises(ConflictError, match="logged out"):
        await world.result(awaited)
    for pending in (queued, scheduled, awaited):
        assert (await world.row(pending)).state is State.FAILED
    events = await webhooks(world)
    assert [(event, data["error"]) for event, data in events] == [
        ("message_failed", "the session was logged out")
    ] * 2
    world.sessions.connect()
    world.clock.now += 601
    world.outbox._dispatcher._timers._ring()
    assert await world.result(world.send("new"))
    assert len(world.sessions.sends()) == 1


async def test_one_that_is_on_its_way_is_not_tried_again(world: World) -> None:
    world.sessions.free.clear()
    world.sessions.outcomes.append(NotSent(UnavailableError("the page is closed")))
    pending = world.send(later=True)
    await wait_until(world.sessions.sends, "the command has left")
    await world.outbox.abandon(SESSION, "the session was logged out")
    assert (await world.row(pending)).state is State.SENDING
    world.sessions.free.set()
    await until(world, pending, State.FAILED)
    assert len(world.sessions.sends()) == 1


async def test_one_that_is_just_being_kept_fails_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    write, hold = world.store.messages.write, asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        await hold.wait()
        return await write(*given, **more)

    monkeypatch.setattr(world.store.messages, "write", slow)
    pending = world.send(later=True)
    await wait_until(lambda: world.journal.backlog.count, "it is being kept")
    await world.outbox.abandon(SESSION, "the session was logged out")
    hold.set()
    await until(world, pending, State.FAILED)


async def test_what_cannot_be_failed_still_waits_and_goes_once(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    sends = [world.send(later=True), world.send("b", send_at=world.clock.wall() + 60)]
    for pending in sends:
        await world.result(pending)
    await world.store.close()
    with pytest.raises(UnavailableError):
        await world.outbox.abandon(SESSION, "the session was logged out")
    await world.store.open()
    world.clock.now += 61
    world.outbox._dispatcher._timers._ring()
    world.sessions.connect()
    for pending in sends:
        await until(world, pending, State.SENT)
    assert len(world.sessions.sends()) == 2


async def test_what_an_earlier_run_left_is_abandoned_too(world: World) -> None:
    world.config = lambda: Config(send=Send(wait=5.0))
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send(send_at=world.clock.wall() + 600)
    await world.result(pending)
    await world.kill()
    await world.start(begin=False)
    with pytest.raises(UnavailableError):
        await world.outbox.abandon(SESSION, "the session was deleted")
    await world.outbox.begin()
    await world.outbox.abandon(SESSION, "the session was deleted")
    assert (await world.row(pending)).state is State.FAILED


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_waited_for_a_session_whose_logout_was_cut_off_fails_and_is_published(
    world: World,
    *,
    restarted: bool,
) -> None:
    """Nobody has come to abandon it: the logout's answer was lost, or its daemon was ended."""
    await world.store.create(SESSION, 1, account_id=None, priority=0)
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send(later=True)
    await world.result(pending)
    world.outbox.answered(pending)
    await world.row(pending)
    await world.store.leave(SESSION, removed=False)
    if restarted:
        world.clock.now += 2 * 86_400.0
        await restart(world)
    world.sessions.connect()
    await until(world, pending, State.FAILED)
    assert not world.sessions.sends()
    assert (await world.row(pending)).error == LOGGED_OUT
    await wait_until(lambda: world.published, "it is published")
    [(event, data)] = await webhooks(world)
    assert (event, data["error"]) == ("message_failed", LOGGED_OUT)
