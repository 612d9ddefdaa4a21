"""More messages without an answer than are watched for a late ack: each gets the answer of its poll all the same."""

from typing import Any

import pytest

from tests.messaging.outbox_world import World, with_bounds, with_timings
from tests.messaging.published import ack, names
from tests.messaging.restarts import state
from tests.waiting import wait_until
from waguard.core.messages.send_states import State
from waguard.errors import UnavailableError
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.ports.outcomes import Uncertain


async def left_uncertain(world: World, count: int) -> list[PendingSend]:
    """Messages of which a daemon that was killed has heard no answer; only the last one will be watched."""
    sends = []
    for number in range(count):
        world.sessions.outcomes.append(Uncertain("no answer"))
        pending = world.send(f"no {number}", later=True)
        await world.result(pending)
        world.outbox.answered(pending)
        assert await state(world, pending, State.UNCERTAIN)
        sends.append(pending)
    await world.kill()
    return sends


@with_bounds(watched=1)
async def test_each_is_reported_as_its_poll_says(world: World) -> None:
    sends = await left_uncertain(world, 3)
    levels = dict(zip(sends, (1, -1, 3), strict=True))
    world.sessions.acks = {it.message_id: level for it, level in levels.items()}
    await world.start()
    for pending, end in zip(sends, (State.SENT, State.REFUSED, State.READ), strict=True):
        assert await state(world, pending, end)
    assert sorted(await names(world)) == ["message_failed", "message_sent", "message_sent"]


@with_timings(polls=(0.0, 0.0, 0.0))
@with_bounds(watched=1)
async def test_it_is_polled_again_until_the_answer_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await left_uncertain(world, 2)
    asked: list[str] = []
    call = world.sessions.call

    async def answered_at_last(session: str, what: Any, **how: Any) -> Any:
        asked.extend(what.ids)
        if asked.count(first.message_id) == 3:
            world.sessions.acks[first.message_id] = 1
        return await call(session, what, **how)

    monkeypatch.setattr(world.sessions, "call", answered_at_last)
    await world.start()
    assert await state(world, first, State.SENT)


@with_bounds(watched=1)
async def test_an_ack_that_came_before_the_poll_is_not_undone_and_reported_once(
    world: World, logged: list[str]
) -> None:
    first, _ = await left_uncertain(world, 2)
    world.sessions.acks[first.message_id] = 1
    world.sessions.connect(UnavailableError("not yet"))
    await world.start()
    ack(world, first.message_id, 3)
    assert await state(world, first, State.READ)
    before = await names(world)
    assert before.count("message_sent") == 1
    world.sessions.connect()
    await wait_until(lambda: any("message_resolved" in it for it in logged), "it was polled")
    assert (await world.row(first)).state is State.READ
    assert await names(world) == before
