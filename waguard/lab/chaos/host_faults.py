"""What is wrong with the machine, as ``faults.py`` has it: its disk, its port, its Chromium, its clock."""

import asyncio
import contextlib
import random
import signal
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from waguard.core.replace import replace
from waguard.lab.chaos.harming import (
    OUTAGE,
    REFUSED_WITHIN,
    Fault,
    before_a_kill,
    endure,
    hurt,
    kill,
    living,
    restarts,
    running,
    unique,
    write_row,
)
from waguard.lab.chaos.invariants import Facts, Harm, unhealed
from waguard.lab.chaos.mounts import filled, mounted
from waguard.lab.chaos.world import NotInTimeError, World, until

A_LOT: Final = 20_000  # characters; a file that is open has room in its last page
WAITS_WITHIN: Final = 20.0  # s for a session whose worker was killed to say for what it waits
STARTS_WITHIN: Final = 60.0  # s for a session to start when what it waited for is there again
CORRECTED_WITHIN: Final = 15.0  # s; the reconciler looks each 3 s
ADOPTED_WITHIN: Final = 30.0  # s for a daemon with the right time to take the workers over
FAKETIME: Final = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
"""By which one daemon alone has another time; None: it is not installed."""
STEPS: Final = (1, 24)  # hours
SLOW_START: Final = 150.0  # s; each read of a clock costs a daemon more then
SHOWN_WITHIN: Final = 60.0  # s for a step to be seen, or for all to be well before the next
AFTER_STEP: Final = 8.0  # s in which it would show: the reconciler runs twice, the watch 8 times
EXIT_INSTANCE, EXIT_PORT = 3, 4


async def fill_disk(world: World, session: str, _: random.Random) -> Harm:
    """No byte is free for profiles and database; a browser dies, and messages come to the others."""
    if world.disk is None:
        raise NotInTimeError("there is no disk of its own to fill")
    # on a full disk nothing starts, and a browser may die of it before it is ended
    seen, began = await running(world, session)
    gone = frozenset(seen.browsers[session])
    with filled(world.disk):
        for pid in gone:
            kill(pid)
        arrived = tuple(world.incoming(each, unique("x" * A_LOT)) for each in world.sessions)
        await asyncio.sleep(OUTAGE)
    return Harm(began=began, hurt=frozenset({session}), gone=gone, arrived=arrived)


async def occupy_port(world: World, session: str, _: random.Random) -> Harm:
    """At a restart somebody else has it: the start is refused, and tried again."""
    del session
    began = time.time()
    await world.stop_daemon()
    with socket.create_server(("127.0.0.1", world.port)):
        await world.daemon.start()
        code = await asyncio.wait_for(world.daemon.wait(), REFUSED_WITHIN)
    if code != EXIT_PORT:
        raise NotInTimeError(f"with its port taken the daemon ended with {code}")
    await world.restart_daemon()
    return Harm(began=began)


async def second_instance(world: World, session: str, _: random.Random) -> Harm:
    """A second instance is refused, and costs the first one nothing."""
    del session
    began, kept = time.time(), await living(world)
    code = await world.daemon.second()
    if code != EXIT_INSTANCE:
        raise NotInTimeError(f"a second instance ended with {code}")
    return Harm(began=began, kept=kept)


async def executable_missing(world: World, session: str, chance: random.Random) -> Harm:
    """An upgrade of Chromium: its file is away, or not complete yet, and a worker is killed."""
    spent, others = await before_a_kill(world, session)
    with _away(world.executable) as place:
        if chance.randrange(2):
            place.touch(0o600)
        harm = await hurt(world, session, signal.SIGKILL, worker=True)
        harm = replace(harm, kept=others, restarts=spent, fleet=str(place), within=STARTS_WITHIN)
        await endure(
            world,
            harm,
            shows=lambda facts: _waits(facts, session, str(place)),
            what=f"{session} waits for Chromium",
            within=WAITS_WITHIN,
            stays=OUTAGE,
        )
    return harm


async def sessions_folder_gone(world: World, session: str, chance: random.Random) -> Harm:
    """The disk with the profiles is not mounted, and a worker is killed: the link to it leads
    nowhere, or the mount point is empty. The other browsers live on the files that they have open.

    Nothing can be written there: a browser that lives creates the folders of its profile again.
    """
    spent, others = await before_a_kill(world, session)
    empty = chance.randrange(2) and world.disk is not None
    with _covered(world.profiles) if empty else _led_nowhere(world.profiles) as place:
        harm = await hurt(world, session, signal.SIGKILL, worker=True)
        harm = replace(harm, kept=others, restarts=spent, fleet=str(place), within=STARTS_WITHIN)
        await endure(
            world,
            harm,
            shows=lambda facts: _waits(facts, session, str(place)),
            what=f"{session} waits for its profile",
            within=WAITS_WITHIN,
            stays=OUTAGE,
        )
    return harm


@contextlib.contextmanager
def _away(place: Path) -> Iterator[Path]:
    """While the body runs it is elsewhere; what takes its place is gone in the end."""
    elsewhere = place.with_name(f"{place.name}.away")
    place.rename(elsewhere)
    try:
        yield place
    finally:
        place.unlink(missing_ok=True)
        elsewhere.replace(place)


@contextlib.contextmanager
def _led_nowhere(folder: Path) -> Iterator[Path]:
    with _away(folder) as place:
        place.symlink_to(folder.with_name("not-mounted"))
        yield place


@contextlib.contextmanager
def _covered(folder: Path) -> Iterator[Path]:
    with mounted(folder, "ro,size=64k,mode=700") as is_mounted:
        if not is_mounted:
            raise NotInTimeError(f"nothing can be mounted on {folder}")
        yield folder


def _waits(facts: Facts, session: str, words: str) -> bool:
    return facts.reported is not None and words in facts.reported[session].waits


async def clock_steps(world: World, session: str, chance: random.Random) -> Harm:
    """The daemon's wall clock is put back and forward; the machine's own is left alone. Nothing fails
    meanwhile, and supervision moves: it corrects a row.

    Another daemon adopts the workers for that, and one with the right time does so after it.
    """
    began, kept, clock = (
        time.time(),
        await living(world) - {world.daemon.pid},
        world.folder / "clock",
    )
    clock.write_text("+0")
    world.daemon.signal(signal.SIGKILL)
    await world.restart_daemon(_faked(clock))
    await world.daemon.ready(within=SLOW_START)
    spent = await restarts(world)
    harm = Harm(began=began, kept=kept, restarts=spent, within=ADOPTED_WITHIN)
    arrived = []
    for hours in chance.sample([-chance.choice(STEPS), chance.choice(STEPS)], 2):
        clock.write_text(f"{hours * 3600:+d}")
        await until(partial(_is_at, world, hours), "the step is seen", within=SHOWN_WITHIN)
        arrived.append(world.incoming(session, unique(f"{hours:+d} h")))
        write_row(world, session, "failed")
        await until(
            partial(_is_corrected, world, session), "its row is corrected", within=CORRECTED_WITHIN
        )
        await endure(
            world,
            harm,
            shows=lambda facts: not unhealed(facts, harm),
            what=f"all sessions are healthy {hours:+d} h away",
            within=SHOWN_WITHIN,
            stays=AFTER_STEP,
        )
    world.daemon.signal(signal.SIGKILL)
    await world.restart_daemon()
    return replace(harm, arrived=tuple(arrived))


def _faked(clock: Path) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",  # s; else the file is read at each read of a clock
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


async def _is_at(world: World, hours: int) -> bool:
    reported = await world.call("GET", "/health")
    shown = datetime.fromisoformat(reported["timestamp"]).timestamp()
    return abs(shown - time.time() - hours * 3600) < 600  # noqa: PLR2004 - less than any step


async def _is_corrected(world: World, session: str) -> bool:
    rows = await world.rows()
    return rows is not None and rows[session] == "connected"


ALL: Final[tuple[Fault, ...]] = (
    fill_disk,
    occupy_port,
    second_instance,
    executable_missing,
    sessions_folder_gone,
    clock_steps,
)
