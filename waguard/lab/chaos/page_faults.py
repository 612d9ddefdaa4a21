"""A page that looks healthy between two loads, as ``faults.py`` has it: it reloads itself, or its script spins."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final

from waguard.lab.chaos.harming import Fault, running
from waguard.lab.chaos.invariants import Harm
from waguard.lab.chaos.world import POLL, NotInTimeError, World

PERIOD: Final = 60  # s of ``restart.period`` here
EVERY: Final = 3.0  # s from a load to the next
SHOWN_WITHIN: Final = 240.0  # s; where the CPU is saturated a script is ended after 15 s
HEALS_WITHIN: Final = 240.0  # s; a period without a load, and another worker after a backoff


async def page_reloads_itself(world: World, session: str, _: random.Random) -> Harm:
    """Again and again, as soon as it is connected."""
    return await _again_and_again(
        world, session, world.standin.phone.reload, "page was loaded again"
    )


async def page_spins(world: World, session: str, _: random.Random) -> Harm:
    """The page's script never ends, again and again after each load; waguard ends it."""
    return await _again_and_again(
        world, session, world.standin.phone.spin, "because its script did not end"
    )


async def _again_and_again(
    world: World, session: str, strike: Callable[[str], dict[str, Any]], words: str
) -> Harm:
    """Until a condition names it."""
    await running(world, session)
    began, end = time.time(), time.monotonic() + SHOWN_WITHIN
    struck = 0.0
    while True:
        seen = await world.reported(session)
        if any(words in it for it in seen.messages):
            return Harm(began=began, hurt=frozenset({session}), within=HEALS_WITHIN)
        if time.monotonic() > end:
            raise NotInTimeError(f"no condition of {session} says: {words}")
        if seen.link == "connected" and time.monotonic() > struck + EVERY:
            strike(world.phones[session])
            struck = time.monotonic()
        await asyncio.sleep(POLL)


ALL: Final[tuple[Fault, ...]] = (page_reloads_itself, page_spins)
