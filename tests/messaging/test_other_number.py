"""Messages belong to the number that their session had; another one sends nothing of them."""

import asyncio
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION, a_view
from tests.messaging.outbox_world import World
from tests.messaging.published import until, webhooks
from waguard.core.messages.send_states import State
from waguard.errors import ConflictError, OtherNumberError, UnavailableError
from waguard.messaging.records import of_event
from waguard.ports.bus import BusEvent


def link(world: World, phone: str | None) -> None:
    world.sessions.known[SESSION] = a_view(phone_number=phone)
    world.sessions.connect()


async def ready(world: World, phone: str) -> None:
    """As the supervisor publishes it."""
    data = {"phone_number": phone, "status": "connected"}
    event = BusEvent(
        id=1, event="session_ready", session_id=SESSION, workspace_id=1, at=1.0, data=data
    )
    world.journal.put((of_event(event),), lambda _: None)
    assert await world.journal.flushed(10.0)


async def test_the_same_number_again_goes_on(world: World) -> None:
    world.sessions.connect(ConflictError("it is qr_pending"))
    pending = world.send(queue=True)
    await world.result(pending)
    world.outbox.answered(pending)
    assert (await world.row(pending)).phone == "6281180001"
    link(world, "+62 811-80001")
    await until(world, pending, State.SENT)


async def test_another_number_sends_nothing_of_it(world: World) -> None:
    world.sessions.connect(ConflictError("it is qr_pending"))
    pending = world.send(queue=True)
    await world.result(pending)
    world.outbox.answered(pending)
    link(world, "4917000")
    await until(world, pending, State.FAILED)
    [(event, data)] = await webhooks(world)
    assert (event, data["status"]) == ("message_failed", "failed")
    assert "+6281180001" in data["error"]
    assert "+4917000" in data["error"]
    assert world.sessions.sends() == []


async def test_a_request_that_waits_gets_that_error(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    await asyncio.shield(pending.stored)
    link(world, "4917000")
    with pytest.raises(OtherNumberError):
        await world.result(pending)
    assert (await world.row(pending)).state is State.FAILED
    assert world.sessions.sends() == []


async def test_a_number_that_changes_at_the_last_moment_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = world.sessions.send

    async def late(*given: Any, **more: Any) -> Any:
        world.sessions.known[SESSION] = a_view(phone_number="4917000")
        return await send(*given, **more)

    monkeypatch.setattr(world.sessions, "send", late)
    direct, queued = world.send("now"), world.send("later", later=True)
    with pytest.raises(OtherNumberError):
        await world.result(direct)
    await until(world, queued, State.FAILED)
    assert world.sessions.sends() == []


async def test_what_belongs_to_no_number_is_the_first_pairings(world: World) -> None:
    world.sessions.known[SESSION] = a_view(phone_number=None)
    world.sessions.connect(ConflictError("it is qr_pending"))
    soon = world.send("soon", queue=True)
    tomorrow = world.send("tomorrow", send_at=world.clock.wall() + 86_400)
    for pending in (soon, tomorrow):
        await world.result(pending)
        world.outbox.answered(pending)
        assert (await world.row(pending)).phone is None
    await ready(world, "6281180001")
    link(world, "6281180001")
    await until(world, soon, State.SENT)
    link(world, "4917000")
    world.clock.now += 86_401
    world.outbox._dispatcher._timers._ring()
    await until(world, tomorrow, State.FAILED)
    assert len(world.sessions.sends()) == 1


async def test_what_is_sent_at_once_by_a_session_without_a_number(world: World) -> None:
    link(world, None)
    assert await world.result(world.send())
