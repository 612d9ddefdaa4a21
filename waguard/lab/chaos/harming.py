"""What the faults have in common: who runs, how a process is hurt, and what holds while it lasts."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from msgspec import Struct

from waguard.lab.chaos.invariants import ROW_LIMIT, BrokenError, Facts, Harm, Rows, always
from waguard.lab.chaos.processes import Census
from waguard.lab.chaos.world import POLL, NotInTimeError, World, until

Fault = Callable[[World, str, random.Random], Awaitable[Harm]]

OUTAGE: Final = 3.0  # s that something is away
REFUSED_WITHIN: Final = 20.0  # s for a start that must be refused
RUNS_WITHIN: Final = 60.0  # s for a session whose worker is just being replaced


class Pace(Struct, frozen=True, kw_only=True):
    """How often and for how long is watched, in seconds."""

    poll: float = POLL
    row_limit: float = ROW_LIMIT
    """For a row to follow."""


PACE: Final = Pace()


async def living(world: World) -> frozenset[int]:
    """Daemon, workers and browsers; their other processes may come and go."""
    seen = await world.census()
    by = (seen.workers, seen.browsers)
    return frozenset((*seen.daemons, *(p for pids in by for ps in pids.values() for p in ps)))


async def running(world: World, session: str) -> tuple[Census, float]:
    """The processes when it runs, and when they were looked for; its worker may just be replaced,
    for an ack that was late. Raises ``NotInTimeError``."""

    async def runs() -> tuple[Census, float] | None:
        seen, at = await world.census(), time.time()
        return (seen, at) if seen.browsers.get(session) and seen.workers.get(session) else None

    return await until(runs, f"{session} runs", within=RUNS_WITHIN)


async def hurt(
    world: World,
    session: str,
    number: signal.Signals,
    *,
    worker: bool = False,
    browser: bool = False,
    renderers: bool = False,
) -> Harm:
    """Send a signal to some of its processes. Raises ``NotInTimeError`` where there are none."""
    seen, began = await running(world, session)
    browsers = seen.browsers[session]
    doomed = {
        *(seen.workers[session] if worker else ()),
        *(browsers if browser else ()),
        *(pid for owner in browsers for pid in seen.renderers.get(owner, ()) if renderers),
    }
    if not doomed:
        raise NotInTimeError(f"{session} has no such process")
    for pid in doomed:
        kill(pid, number)
    return Harm(began=began, hurt=frozenset({session}), gone=frozenset(doomed))


def write_row(world: World, session: str, status: str) -> Harm:
    """Past waguard, into SQLite. Raises ``NotInTimeError`` where there is no row."""
    began = time.time()
    with world.database() as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        changed = connection.execute(
            "UPDATE whatsapp_accounts SET status = ? WHERE session_id = ?", (status, session)
        )
        if changed.rowcount != 1:
            raise NotInTimeError(f"there is no row of {session}")
    return Harm(began=began, hurt=frozenset({session}))


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Harmless where it has gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def unique(about: str) -> str:
    """A text that no other message has."""
    return f"{about} {time.monotonic_ns()}"


async def restarts(world: World) -> Mapping[str, int]:
    """How many each session has had. Raises ``WaguardError``."""
    return {session: (await world.reported(session)).restarts for session in world.sessions}


async def before_a_kill(world: World, session: str) -> tuple[dict[str, int], frozenset[int]]:
    """How many restarts each may have had when its worker is killed once, and what else lives."""
    seen, _ = await running(world, session)
    spent = {**await restarts(world)}
    spent[session] += 1  # the kill itself
    own = {*seen.workers[session], *seen.browsers[session]}
    return spent, await living(world) - own


async def endure(
    world: World,
    harm: Harm,
    *,
    shows: Callable[[Facts], bool],
    what: str,
    within: float,
    stays: float,
    pace: Pace = PACE,
) -> None:
    """Wait until the world ``shows`` it, and see that it does so for ``stays`` seconds.

    All the while the harm's invariants hold. Raises ``BrokenError``, ``NotInTimeError``.
    """
    rows, since = Rows(pace.row_limit), len(world.receiver.received)
    deadline, shown_at = time.monotonic() + within, 0.0
    while True:
        facts = await world.facts(harm, since=since)
        now = time.monotonic()
        if found := [*always(facts, harm), *rows.wrong(facts, now)]:
            raise BrokenError([f"while it lasts: {one}" for one in found])
        if shows(facts):
            shown_at = shown_at or now
            if now >= shown_at + stays:
                return
        elif shown_at:
            raise BrokenError([f"it did not stay so: {what}"])
        elif now > deadline:
            raise NotInTimeError(f"not within {within:g} s: {what}")
        await asyncio.sleep(pace.poll)
