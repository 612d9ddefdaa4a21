"""The time of a message is a part of it."""

import pytest

from tests.messaging.outbox_world import World


async def test_another_time_is_another_message(world: World) -> None:
    times = [world.clock.wall() + 600 * day for day in range(1, 8)]
    sends = [world.send("a reminder", send_at=at) for at in times]
    for pending in sends:
        await world.result(pending)
    assert len({pending.id for pending in sends}) == 7
    assert world.send("a reminder", send_at=times[0]) is sends[0]


async def test_the_same_key_at_another_time_is_refused(world: World) -> None:
    at = world.clock.wall() + 600
    await world.result(world.send(key="k", send_at=at))
    with pytest.raises(Exception, match="used for another message"):
        world.send(key="k", send_at=at + 1)
