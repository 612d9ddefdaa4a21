"""Messages of a session at its pace: in order, nobody overtakes, and who cannot wait gets an error."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.messaging.outbox_world import World
from tests.waiting import wait_until
from waguard.config.sections import Config, Send
from waguard.core.messages.send_states import State
from waguard.errors import UnavailableError

GAP = 0.001  # s; the outbox's clock stands until a test moves it
CHATS = [f"628123456789{n}@c.us" for n in range(4)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, lambda: Config(send=Send(gap=(GAP, GAP), wait=0.05)))
    await made.start()
    yield made
    await made.stop(0.0)


def began(world: World) -> list[str]:
    return [call.chat for call in world.sessions.sends()]


async def wait_began(world: World, count: int) -> None:
    await wait_until(lambda: len(began(world)) == count, f"{count} went")


async def test_one_after_the_other_in_the_order_of_acceptance(world: World) -> None:
    sends = [world.send(chat=chat, later=True) for chat in CHATS[:3]]
    for pending in sends:
        await pending.stored
    await wait_until(lambda: began(world), "the first went")
    assert began(world) == CHATS[:1]
    world.clock.now += GAP / 2
    late = world.send(chat=CHATS[3], later=True)
    await late.stored
    assert (await world.row(late)).state is State.ACCEPTED
    assert began(world) == CHATS[:1]
    for count in range(2, 5):
        world.clock.now += GAP
        await wait_began(world, count)
    assert began(world) == CHATS


async def test_who_waits_for_a_reply_hears_that_nothing_was_sent(world: World) -> None:
    await world.result(world.send(chat=CHATS[0]))
    pending = world.send(chat=CHATS[1])
    with pytest.raises(UnavailableError, match="earlier messages"):
        await world.result(pending)
    assert (await world.row(pending)).state is State.FAILED
    world.clock.now += GAP
    await world.result(world.send(chat=CHATS[2]))
    assert began(world) == [CHATS[0], CHATS[2]]


async def test_one_that_is_cancelled_uses_no_turn(world: World) -> None:
    first, second, third = [world.send(chat=chat, later=True) for chat in CHATS[:3]]
    await wait_until(lambda: began(world), "the first went")
    await third.stored
    await world.outbox.cancel(await world.row(second))
    world.clock.now += GAP
    await wait_until(lambda: len(began(world)) == 2, "the third went")
    assert began(world) == [CHATS[0], CHATS[2]]
    assert (await world.row(first)).state is State.SENT
