"""How messages end, as tests wait for it."""

import asyncio

from tests.messaging.outbox_world import World
from tests.waiting import DEADLINE
from waguard.core.messages.send_states import State
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.ports.outcomes import Acked


async def result(world: World, pending: PendingSend) -> Acked:
    sent = await world.result(pending)
    assert sent
    return sent


async def ended(world: World, pending: PendingSend) -> State:
    """Its state when nobody waits for it."""

    async def poll() -> State:
        while True:
            row = await world.row(pending)
            if row.state not in {State.ACCEPTED, State.SENDING}:
                return row.state
            await asyncio.sleep(0.005)

    return await asyncio.wait_for(poll(), DEADLINE)
