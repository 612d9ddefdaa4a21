"""Where a limit is reached, or two things meet: what could be lost or doubled there."""

import asyncio
from pathlib import Path

from tests.messaging.outbox_world import outbox
from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.messaging.outbox.commands import text


async def test_a_send_in_flight_is_never_forgotten(tmp_path: Path) -> None:
    async with outbox(tmp_path) as world:
        world.sessions.free.clear()
        pending = world.send()
        world.outbox.unanswered(pending)  # its client left
        world.clock.now += REPEATED_FOR + 1
        assert world.send() is pending
        world.sessions.free.set()
        await world.result(pending)
        assert len(world.sessions.sends()) == 1


async def test_where_one_part_ends_and_the_next_begins_counts(tmp_path: Path) -> None:
    async with outbox(tmp_path) as world:
        for session in ("s1", "s12"):
            world.sessions.known[session] = next(iter(world.sessions.known.values()))
        one = world.accept(text("2345678@c.us", "hi"), session="s1")
        other = world.accept(text("345678@c.us", "hi"), session="s12")
        assert one is not other
        await asyncio.gather(world.result(one), world.result(other))
