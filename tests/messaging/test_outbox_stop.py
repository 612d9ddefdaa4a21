"""An orderly stop: who waits has an answer, and what is on its way has its time."""

import asyncio
from typing import Any

import pytest

from tests.messaging.outbox_world import UncertainSendError, World
from tests.messaging.restarts import in_flight, state
from tests.waiting import DEADLINE
from waguard.config.sections import Config, Send
from waguard.core.messages.send_states import State
from waguard.errors import ConflictError, UnavailableError
from waguard.ports.outbox import StateUpdate
from waguard.ports.outcomes import NotSent


async def test_an_orderly_stop_waits_for_what_is_on_its_way(world: World) -> None:
    pending = await in_flight(world)
    waits = world.send("behind", later=True)
    assert waits.replies == 1, "its reply is still to be written"
    hopes = world.send("hopes")
    for one in (waits, hopes):
        await asyncio.shield(one.stored)
    stopping = asyncio.create_task(world.stop())
    with pytest.raises(UnavailableError, match="stopping"):
        await world.result(hopes)
    world.sessions.free.set()
    assert await world.result(pending)
    world.outbox.answered(pending)
    await stopping
    await world.start()
    assert await state(world, pending, State.SENT)
    assert await state(world, hopes, State.FAILED)
    assert await state(world, waits, State.SENT)
    assert len(world.sessions.sends()) == 2


async def test_a_cancelled_one_whose_turn_comes_gets_that_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await in_flight(world)
    second = world.send("second")
    await asyncio.shield(second.stored)
    await world.store.messages.write(  # as a daemon whose outbox does not know yet
        [], outgoing=[StateUpdate(id=second.id, state=State.CANCELLED)]
    )
    world.sessions.free.set()
    assert await world.result(first)
    with pytest.raises(ConflictError, match="cancelled"):
        await world.result(second)
    assert len(world.sessions.sends()) == 1


async def test_a_repetition_during_a_stop_joins_what_is_on_its_way(world: World) -> None:
    pending = await in_flight(world)
    stopping = asyncio.create_task(world.outbox.close(5.0))
    await asyncio.sleep(0)
    assert world.send() is pending
    with pytest.raises(UnavailableError, match="stopping"):
        world.send("another")
    world.sessions.free.set()
    assert await world.result(pending)
    await stopping
    assert len(world.sessions.sends()) == 1


async def test_a_stop_leaves_nobody_without_an_answer_who_has_just_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config = lambda: Config(send=Send(wait=0.05))
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    await asyncio.shield(pending.stored)
    write, asked, hold = world.store.messages.write, asyncio.Event(), asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        asked.set()
        await hold.wait()
        return await write(*given, **more)

    monkeypatch.setattr(world.store.messages, "write", slow)
    await asyncio.wait_for(asked.wait(), DEADLINE)  # that it has failed is being kept
    stopping = asyncio.create_task(world.outbox.close(5.0))
    await asyncio.sleep(0)
    hold.set()
    with pytest.raises(UnavailableError, match="not yet"):
        await asyncio.wait_for(world.result(pending), DEADLINE)
    await stopping
    assert (await world.row(pending)).state is State.FAILED


async def test_what_comes_back_during_a_stop_is_for_the_next_run(world: World) -> None:
    pending = await in_flight(world, later=True)
    world.sessions.outcomes.append(NotSent(UnavailableError("the page is loading")))
    stopping = asyncio.create_task(world.outbox.close(5.0))
    await asyncio.sleep(0)
    world.sessions.free.set()
    await stopping
    assert (await world.row(pending)).state is State.ACCEPTED
    assert len(world.sessions.sends()) == 1
    await world.stop()
    await world.start()
    assert await state(world, pending, State.SENT)
    assert len(world.sessions.sends()) == 2


async def test_what_is_just_kept_during_a_stop_gets_that_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    write, hold = world.store.messages.write, asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        await hold.wait()
        return await write(*given, **more)

    monkeypatch.setattr(world.store.messages, "write", slow)
    pending = world.send()
    await asyncio.sleep(0)
    stopping = asyncio.create_task(world.stop())
    await asyncio.sleep(0)
    hold.set()
    with pytest.raises(UnavailableError, match="stopping"):
        await asyncio.wait_for(world.result(pending), DEADLINE)
    await stopping
    await world.start()
    assert await state(world, pending, State.FAILED)


async def test_a_stop_that_does_not_get_an_answer_leaves_it_to_the_next(world: World) -> None:
    pending = await in_flight(world)
    await world.stop(0.01)
    with pytest.raises(UncertainSendError):  # no reply would mean "send it again"
        await asyncio.wait_for(world.result(pending), DEADLINE)
    world.sessions.acks[pending.message_id] = 2
    await world.start()
    assert await state(world, pending, State.DELIVERED)
    assert len(world.sessions.sends()) == 1
