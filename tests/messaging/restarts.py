"""A daemon that comes again, as tests have it."""

import asyncio
from typing import Any

from tests.messaging.outbox_world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.messages.send_states import State
from waguard.messaging.outbox.pending_sends import PendingSend


async def restart(world: World) -> None:
    await world.kill()
    world.sessions.free.set()
    await world.start()


async def state(world: World, pending: PendingSend, *wanted: State) -> State:
    """Its state, once it is one of these."""

    async def poll() -> State:
        while (row := await world.row(pending)).state not in wanted:
            await asyncio.sleep(0.005)
        return row.state

    return await asyncio.wait_for(poll(), DEADLINE)


async def in_flight(world: World, **how: Any) -> PendingSend:
    world.sessions.free.clear()
    pending = world.send(**how)
    await wait_until(world.sessions.sends, "the command has left")
    return pending
