"""What the application hears of messages, as tests read it."""

import asyncio
import json
from typing import Any

from tests.api.fake_sessions import SESSION
from tests.messaging.outbox_world import CHAT, World
from tests.waiting import DEADLINE
from waguard.config.sections import Send
from waguard.core.messages.send_states import State
from waguard.errors import RefusedError
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.ports.outcomes import Refused
from waguard.ports.store import SessionRow
from waguard.supervision.session import application_events as translate
from waguard.wire.events import Ack

ROW = SessionRow(
    session_id=SESSION, workspace_id=1, status="connected", desired_up=True, generation=1
)
GRACE = Send().reply_grace


REFUSED = Refused(RefusedError("no such number"))


async def webhooks(world: World) -> list[tuple[str, Any]]:
    """All that wait, in order: the event and its data."""
    assert await world.journal.flushed(10.0)
    _, bodies = await world.store.messages.pending("*", after=0, limit=1_000)
    events = [json.loads(body) for body in bodies.values()]
    return [(one["event"], one["data"]) for one in events]


async def names(world: World) -> list[str]:
    """Of all that wait, in order."""
    return [event for event, _ in await webhooks(world)]


def ack(world: World, message_id: str, *levels: int) -> None:
    """As a worker reports them."""
    for level in levels:
        received = translate.acks(ROW, Ack(ids=(message_id,), chat=CHAT, ack=level), 5.0)
        world.journal.put(received, lambda _: None)


async def until(world: World, pending: PendingSend, state: State) -> None:
    """Wait for a state of a message."""

    async def poll() -> None:
        while (await world.row(pending)).state is not state:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), DEADLINE)
