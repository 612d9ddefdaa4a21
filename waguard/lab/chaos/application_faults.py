"""What the application does to messages by itself, as was measured. As ``faults.py``."""

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from waguard.lab.application.controller import Mood
from waguard.lab.chaos.harming import OUTAGE, Fault, living, unique
from waguard.lab.chaos.invariants import Harm
from waguard.lab.chaos.world import FRIEND, FRIENDS, World

LARGE_FILE: Final = 6_500_000  # bytes; as base64 more than its 8 MB
SMALL_FILE: Final = 2_000
LONG_TEXTS: Final = ("\u0639" * 9_500, "\U0001f600" * 4_700, "x" * 65_500)  # its column holds none


async def receiver_away(world: World, session: str, _: random.Random) -> Harm:
    """The application does not listen."""
    del session
    return await during(world, world.app.hooks.away())


async def receiver_fails(world: World, session: str, _: random.Random) -> Harm:
    """The receiver answers 500."""
    del session
    return await during(world, _mood(world, "failing"))


async def receiver_is_slow(world: World, session: str, _: random.Random) -> Harm:
    """The receiver takes seconds for each."""
    del session
    return await during(world, _mood(world, "slow"))


async def receiver_hangs_up(world: World, session: str, _: random.Random) -> Harm:
    """In the middle of its answer."""
    del session
    return await during(world, _mood(world, "torn"))


async def receiver_loses_its_answer(world: World, session: str, _: random.Random) -> Harm:
    """The receiver has done its work, and the answer never arrives."""
    del session
    return await during(world, _mood(world, "lost"))


async def receiver_installs(world: World, session: str, _: random.Random) -> Harm:
    """The receiver redirects every request to its installer."""
    del session
    return await during(world, _mood(world, "installing"))


async def receiver_is_read_only(world: World, session: str, _: random.Random) -> Harm:
    """The receiver's database cannot be written, for it alone: it answers 200, and stores nothing."""
    del session
    return await during(world, _mood(world, "read-only"))


async def receiver_stores_no_files(world: World, session: str, chance: random.Random) -> Harm:
    """The receiver fails at a file, after it has stored the row."""
    return await during(
        world, _mood(world, "no files"), lambda: _file(world, session, chance, SMALL_FILE)
    )


async def large_file(world: World, session: str, chance: random.Random) -> Harm:
    """More than PHP takes: 413."""
    began, kept = time.time(), await living(world)
    _file(world, session, chance, LARGE_FILE)
    return Harm(began=began, kept=kept)


async def long_text(world: World, session: str, chance: random.Random) -> Harm:
    """More than its column holds, which it answers with a 200; and what comes after it."""
    began, kept, friend = time.time(), await living(world), _friend(chance)
    text = unique(chance.choice(LONG_TEXTS))
    world.unstorable.add(text)
    world.incoming(session, text, friend=friend)
    world.incoming(session, unique("after a long text"), friend=friend)
    return Harm(began=began, kept=kept)


def _file(world: World, session: str, chance: random.Random, size: int) -> None:
    media = {"mimetype": "image/png", "base64": base64.b64encode(chance.randbytes(size)).decode()}
    world.incoming(session, unique("a file"), friend=_friend(chance), media=media)


def _friend(chance: random.Random) -> str:
    return str(int(FRIEND) + chance.randrange(FRIENDS))


async def during(
    world: World, outage: AbstractAsyncContextManager[None], also: Callable[[], None] = lambda: None
) -> Harm:
    """A fault that lasts ``OUTAGE`` and hurts no process; ``also`` happens in it."""
    began, kept = time.time(), await living(world)
    async with outage:
        also()
        await asyncio.sleep(OUTAGE)
    return Harm(began=began, kept=kept)


@asynccontextmanager
async def _mood(world: World, mood: Mood) -> AsyncIterator[None]:
    with world.app.hooks.in_mood(mood):
        yield


APPLICATION_FAULTS: Final[tuple[Fault, ...]] = (
    receiver_away,
    receiver_fails,
    receiver_is_slow,
    receiver_hangs_up,
    receiver_loses_its_answer,
    receiver_installs,
    receiver_is_read_only,
    receiver_stores_no_files,
    large_file,
    long_text,
)
