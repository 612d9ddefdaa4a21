"""The ways to lose or double a message, for a campaign with traffic. As ``faults.py``.

What destroys a profile is not among them: WhatsApp's own store of messages goes with it.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from waguard.chaos.faults import FAULTS, OUTAGE, Fault, living
from waguard.chaos.invariants import Harm
from waguard.chaos.world import World
from waguard.rehearsal import Mood

LATE: Final = 7.0  # s for the server's ack; more than a send waits for it


async def receiver_away(world: World, session: str, _: random.Random) -> Harm:
    """The application does not listen."""
    del session
    return await _while(world, world.receiver.away())


async def receiver_fails(world: World, session: str, _: random.Random) -> Harm:
    """It answers 500."""
    del session
    return await _while(world, _mood(world, "failing"))


async def receiver_is_slow(world: World, session: str, _: random.Random) -> Harm:
    """It takes seconds for each."""
    del session
    return await _while(world, _mood(world, "slow"))


async def receiver_hangs_up(world: World, session: str, _: random.Random) -> Harm:
    """In the middle of its answer."""
    del session
    return await _while(world, _mood(world, "torn"))


async def late_acks(world: World, session: str, _: random.Random) -> Harm:
    """WhatsApp's server answers, when nobody waits any more."""
    del session
    return await _while(world, _policy(world, ack_delay=LATE))


async def no_acks(world: World, session: str, chance: random.Random) -> Harm:
    """It never answers; what was sent it has, or has not."""
    del session
    return await _while(world, _policy(world, never_answer=chance.choice(["recorded", "lost"])))


async def drop_in_mid_send(world: World, session: str, _: random.Random) -> Harm:
    """The socket goes as soon as the message has left."""
    began = time.time()
    async with _policy(world, never_answer="drop"):
        await asyncio.sleep(OUTAGE)
    del session
    return Harm(began=began)


async def _while(world: World, outage: AbstractAsyncContextManager[None]) -> Harm:
    began, kept = time.time(), await living(world)
    async with outage:
        await asyncio.sleep(OUTAGE)
    return Harm(began=began, kept=kept)


@asynccontextmanager
async def _mood(world: World, mood: Mood) -> AsyncIterator[None]:
    world.receiver.mood = mood
    try:
        yield
    finally:
        world.receiver.mood = "well"


@asynccontextmanager
async def _policy(world: World, **changes: object) -> AsyncIterator[None]:
    world.standin.policy.update(changes)
    try:
        yield
    finally:
        world.standin.policy.update({"never_answer": "", "ack_delay": 0.0})


_OF_ALL: Final = (
    "kill daemon",
    "hang daemon",
    "kill worker",
    "hang worker",
    "kill browser",
    "hang browser",
    "kill renderer",
    "hang renderer",
    "suspend",
    "lock database",
    "lose database",
    "fill disk",
    "drop socket",
    "slow modules",
)
MESSAGE_FAULTS: Final[Mapping[str, Fault]] = {name: FAULTS[name] for name in _OF_ALL} | {
    fault.__name__.replace("_", " "): fault
    for fault in (
        receiver_away,
        receiver_fails,
        receiver_is_slow,
        receiver_hangs_up,
        late_acks,
        no_acks,
        drop_in_mid_send,
    )
}
"""By name, in words."""
