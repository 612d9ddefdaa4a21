"""What fails is published too: behind its reply, once."""

from typing import Any

import pytest

from tests.messaging.outbox_world import CHAT, World
from tests.messaging.published import GRACE, REFUSED, names, until, webhooks
from tests.waiting import wait_until
from waguard.core.messages.send_states import State
from waguard.errors import UnavailableError
from waguard.ports.outcomes import NotSent


@pytest.mark.parametrize("how", [{"later": True}, {"send_at": 1.0}, {"later": True, "key": "k"}])
async def test_a_refusal_that_no_request_waits_for_is_published(
    world: World, how: dict[str, Any]
) -> None:
    world.sessions.outcomes.append(REFUSED)
    pending = world.send(**how)
    await world.result(pending)
    world.outbox.answered(pending)
    await until(world, pending, State.REFUSED)
    [(event, data)] = await webhooks(world)
    assert (event, data["message_id"], data["to"]) == ("message_failed", pending.message_id, CHAT)
    assert (data["status"], data["error"]) == ("refused", "no such number")
    assert data["message"]["id"] == pending.message_id
    assert data.get("idempotency_key") == how.get("key")
    await wait_until(lambda: world.published, "it is published")
    assert [event for event, *_ in world.published] == ["message_failed"]


async def test_a_refusal_that_was_answered_is_not_published(world: World) -> None:
    world.sessions.outcomes.append(REFUSED)
    pending = world.send()
    with pytest.raises(Exception, match="no such number"):
        await world.result(pending)
    world.outbox.answered(pending)
    assert (await world.row(pending)).state is State.REFUSED
    assert await webhooks(world) == []


async def test_a_failure_is_published_behind_its_reply(world: World) -> None:
    world.sessions.outcomes.append(REFUSED)
    pending = world.send(later=True)
    await world.result(pending)
    await until(world, pending, State.REFUSED)
    assert await webhooks(world) == []
    world.outbox.answered(pending)
    assert await names(world) == ["message_failed"]


async def test_a_failure_whose_reply_was_lost_is_the_repetitions(world: World) -> None:
    world.sessions.outcomes.append(NotSent(UnavailableError("not ready")))
    pending = world.send()
    with pytest.raises(UnavailableError):
        await world.result(pending)
    world.outbox.unanswered(pending)
    again = world.send()
    await world.result(again)
    world.outbox.answered(again)
    world.clock.now += GRACE + 1
    world.outbox._reports._timers._ring()
    [(event, data)] = await webhooks(world)
    assert (event, data["message_id"]) == ("message_sent", again.message_id)
