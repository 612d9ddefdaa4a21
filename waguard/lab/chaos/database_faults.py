"""A daemon that starts and finds another database than it left, as ``faults.py`` has it."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from waguard.cli.client import ApiCallError
from waguard.core.replace import replace
from waguard.lab.chaos.harming import Fault, endure, living, unique
from waguard.lab.chaos.invariants import Facts, Harm
from waguard.lab.chaos.world import DATABASE, NotInTimeError, World, until

SAID_WITHIN: Final = 20.0  # s for the daemon to say that the database is unknown
STAYS: Final = 12.0  # s; a daemon that believes the empty database ends them within 5
ADOPTED_WITHIN: Final = 60.0  # s after the right database is back
ENDS_WITHIN: Final = (
    20.0  # s after another folder of state is back, for the daemon that did not read it
)
KIND: Final = "database_unknown"


async def empty_database(world: World, session: str, _: random.Random) -> Harm:
    """The database's files were moved away while no daemon lived; the next one finds none."""
    folder = world.database_files[0].parent
    return await _elsewhere(world, session, [folder / name for name in DATABASE])


async def volume_away(world: World, session: str, _: random.Random) -> Harm:
    """The disk of state and sessions is not mounted when the next daemon starts; once it is, that daemon ends, and the service
    manager starts one that reads it."""
    harm = await _elsewhere(world, session, [world.database_files[0].parent, world.profiles])
    try:
        async with asyncio.timeout(ENDS_WITHIN):
            await world.restart_daemon()
    except TimeoutError:
        raise NotInTimeError("the daemon goes on with what another folder said") from None
    return harm


async def _elsewhere(world: World, session: str, paths: Sequence[Path]) -> Harm:
    """Nobody may end, and all are adopted when it is back."""
    began, kept = time.time(), await living(world)
    kept -= {world.daemon.pid}
    world.daemon.signal(signal.SIGKILL)
    await world.daemon.wait()
    with _away(paths):
        await world.restart_daemon()
        harm = Harm(began=began, kept=kept, fleet="the database", within=ADOPTED_WITHIN)
        await until(lambda: _is_said(world), "the database is unknown", within=SAID_WITHIN)
        arrived = world.incoming(session, unique("to an unknown database"))
        await endure(
            world,
            harm,
            shows=lambda facts: _nobody_ended(facts, world),
            what="all workers live",
            within=SAID_WITHIN,
            stays=STAYS,
        )
        if not await _is_said(world):
            raise NotInTimeError("the daemon does not say any more that the database is unknown")
    return replace(harm, arrived=(arrived,))


@contextlib.contextmanager
def _away(paths: Sequence[Path]) -> Iterator[None]:
    """What took their place meanwhile is put away when they come back."""
    there = [path for path in paths if path.exists()]
    for path in there:
        path.rename(path.with_name(f"{path.name}.aside"))
    try:
        yield
    finally:
        for path in there:
            with contextlib.suppress(FileNotFoundError):
                path.rename(path.with_name(f"{path.name}.{time.monotonic_ns()}"))
            path.with_name(f"{path.name}.aside").rename(path)


async def _is_said(world: World) -> bool:
    try:
        found = await world.call("GET", "/health")
    except ApiCallError:  # it is starting
        return False
    return found["status"] == "degraded" and bool(found["conditions"].get(KIND))


def _nobody_ended(facts: Facts, world: World) -> bool:
    return set(facts.census.workers) == set(world.sessions)


ALL: Final[tuple[Fault, ...]] = (empty_database, volume_away)
NEEDS_SQLITE: Final = frozenset(fault.__name__.replace("_", " ") for fault in ALL)
