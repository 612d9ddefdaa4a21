"""Where a limit is reached, or two things meet: what could be lost or doubled there."""

import asyncio

from tests.messaging.outbox_world import World
from waguard.messaging.outbox import KEPT_FOR


async def test_a_send_in_flight_is_never_forgotten() -> None:
    world = World()
    world.sessions.free.clear()
    ticket = world.send()
    world.outbox.unanswered(ticket)  # its client left
    world.clock.now += KEPT_FOR + 1
    assert world.send() is ticket
    world.sessions.free.set()
    await world.outbox.result(ticket)
    assert len(world.sessions.sends()) == 1


async def test_where_one_part_ends_and_the_next_begins_counts() -> None:
    world = World()
    for session in ("s1", "s12"):
        world.sessions.known[session] = next(iter(world.sessions.known.values()))
    one = world.send(session="s1", chat="2345678@c.us")
    other = world.send(session="s12", chat="345678@c.us")
    assert one is not other
    await asyncio.gather(world.outbox.result(one), world.outbox.result(other))
