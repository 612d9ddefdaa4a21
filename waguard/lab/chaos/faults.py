"""The ways to break it. Each does its harm to a world and says what may and must come of it.

A fault returns when it is over (the disk has room again, systemd has started the daemon): from there
the time to heal is counted. Waiting for a condition has a deadline; where the fault *is* a time (a
disk that is full for so long), it is a constant beside it.

Here is what concerns processes, profiles and the database; the machine is in ``host_faults.py``,
WhatsApp in ``whatsapp_faults.py`` and ``version_faults.py``, and several versions or hosts in ``daemon_faults.py``.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from waguard.cli.client import ApiCallError
from waguard.core.replace import replace
from waguard.lab.chaos import (
    daemon_faults,
    database_faults,
    host_faults,
    lack_faults,
    page_faults,
    version_faults,
    whatsapp_faults,
)
from waguard.lab.chaos.harming import (
    OUTAGE,
    REFUSED_WITHIN,
    Fault,
    hurt,
    kill,
    living,
    unique,
    write_row,
)
from waguard.lab.chaos.invariants import Harm
from waguard.lab.chaos.world import DATABASE, World, until

HANG_SEEN: Final = 1.0  # s without an answer, after which the watchdog ends a daemon (systemd: 30)
SUSPENDED: Final = 6.5  # s; more than the daemon takes for its own standing still
AFTER_SUSPEND: Final = 3.0  # s in which a false alarm would show: the watch looks each second
_CREDENTIALS: Final = (
    "IndexedDB/https_web.whatsapp.com_0.indexeddb.leveldb",
    "Local Storage/leveldb",
)


async def kill_daemon(world: World, session: str, _: random.Random) -> Harm:
    """The daemon is killed. Its workers live on, the next daemon adopts them; what came meanwhile is reported."""
    return await _without_daemon(world, session)


async def hang_daemon(world: World, session: str, _: random.Random) -> Harm:
    """The daemon hangs. Its watchdog ends it: that is systemd's part, played by the campaign."""
    world.daemon.signal(signal.SIGSTOP)

    async def silent() -> bool:
        try:
            await world.call("GET", "/health/live", within=HANG_SEEN)
        except ApiCallError:
            return True
        return False

    await until(silent, "a stopped daemon is silent", within=REFUSED_WITHIN)
    return await _without_daemon(world, session)


async def _without_daemon(world: World, session: str) -> Harm:
    began, kept = time.time(), await living(world)
    kept -= {world.daemon.pid}
    world.daemon.signal(signal.SIGKILL)
    await world.daemon.wait()
    arrived = world.incoming(session, unique("nobody home"))
    await world.restart_daemon()
    return Harm(began=began, kept=kept, arrived=(arrived,))


async def kill_worker(world: World, session: str, _: random.Random) -> Harm:
    """Chromium goes with it."""
    return await hurt(world, session, signal.SIGKILL, worker=True)


async def hang_worker(world: World, session: str, _: random.Random) -> Harm:
    """The worker is silent, and so is its Chromium for it."""
    return await hurt(world, session, signal.SIGSTOP, worker=True)


async def kill_browser(world: World, session: str, _: random.Random) -> Harm:
    """The pipe ends."""
    return await hurt(world, session, signal.SIGKILL, browser=True)


async def hang_browser(world: World, session: str, _: random.Random) -> Harm:
    """The browser only stops answering."""
    return await hurt(world, session, signal.SIGSTOP, browser=True)


async def kill_renderer(world: World, session: str, _: random.Random) -> Harm:
    """The page crashes, the browser lives."""
    return await hurt(world, session, signal.SIGKILL, renderers=True)


async def hang_renderer(world: World, session: str, _: random.Random) -> Harm:
    """The page is silent, the browser answers."""
    return await hurt(world, session, signal.SIGSTOP, renderers=True)


async def kill_worker_of_stopped_renderer(world: World, session: str, _: random.Random) -> Harm:
    """The page is stopped, and does not notice that worker and browser are gone."""
    stopped = await hurt(world, session, signal.SIGSTOP, renderers=True)
    killed = await hurt(world, session, signal.SIGKILL, worker=True)
    return replace(killed, gone=stopped.gone | killed.gone)


async def kill_fork_server(world: World, session: str, _: random.Random) -> Harm:
    """And then a browser: its new worker needs another server."""
    for pid in (await world.census()).fork_servers:
        kill(pid)
    return await hurt(world, session, signal.SIGKILL, browser=True)


async def suspend(world: World, session: str, _: random.Random) -> Harm:
    """The laptop's lid: all stand still, and go on as if nothing had been."""
    began, kept = time.time(), await living(world)
    frozen = (await world.census()).all  # parents first: nobody sees another stopped
    for pid in frozen:
        kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(SUSPENDED)
        arrived = world.incoming(session, unique("while asleep"))
    finally:
        for pid in reversed(frozen):
            kill(pid, signal.SIGCONT)
    return Harm(began=began, kept=kept, arrived=(arrived,), watched=AFTER_SUSPEND)


# ---- profiles ----


async def damage_running(world: World, session: str, chance: random.Random) -> Harm:
    """Files are overwritten under a living browser, which is then killed."""
    began, may_scan = time.time(), _without_copy(world, session)
    _damage(world.at(session).profile, chance)
    harm = await hurt(world, session, signal.SIGKILL, browser=True)
    return Harm(began=began, hurt=harm.hurt, gone=harm.gone, may_scan=may_scan)


async def damage_killed(world: World, session: str, chance: random.Random) -> Harm:
    """The browser is killed first, and its files are overwritten before it is started again."""
    with _paused(world):  # the daemon would be quicker
        harm = await hurt(world, session, signal.SIGKILL, browser=True)
        may_scan = _without_copy(world, session)
        await _left_alone(world, session)
        _damage(world.at(session).profile, chance)
    return Harm(began=harm.began, hurt=harm.hurt, gone=harm.gone, may_scan=may_scan)


async def damage_stopped(world: World, session: str, chance: random.Random) -> Harm:
    """While nothing runs."""
    began = time.time()
    await world.stop_daemon()
    may_scan = _without_copy(world, session)
    _damage(world.at(session).profile, chance)
    await world.restart_daemon()
    return Harm(began=began, may_scan=may_scan)


async def remove_running(world: World, session: str, _: random.Random) -> Harm:
    """The profile's folder is deleted under a living browser, which does not notice."""
    began, may_scan = time.time(), _without_copy(world, session)
    shutil.rmtree(world.at(session).profile)
    if may_scan:  # nothing would be won by a restart, so none is made: its next one is awaited
        await hurt(world, session, signal.SIGKILL, browser=True)
    return Harm(began=began, hurt=frozenset({session}), may_scan=may_scan)


async def remove_stopped(world: World, session: str, _: random.Random) -> Harm:
    """While nothing runs."""
    began = time.time()
    await world.stop_daemon()
    may_scan = _without_copy(world, session)
    shutil.rmtree(world.at(session).profile)
    await world.restart_daemon()
    return Harm(began=began, hurt=frozenset({session}), may_scan=may_scan)


def _without_copy(world: World, session: str) -> frozenset[str]:
    """Who may need a scan when its profile is destroyed now."""
    return frozenset() if world.has_copy(session) else frozenset({session})


async def _left_alone(world: World, session: str) -> None:
    async def alone() -> bool:
        seen = await world.census()
        return not seen.workers.get(session) and not seen.browsers.get(session)

    await until(alone, f"{session} has neither worker nor browser", within=REFUSED_WITHIN)


def _damage(profile: Path, chance: random.Random) -> None:
    """One file of the credentials' databases: overwritten, cut or deleted."""
    folder = profile / "Default" / chance.choice(_CREDENTIALS)
    names = sorted(path for path in folder.iterdir() if path.suffix in {"", ".log", ".ldb"})
    wanted = [
        path for path in names if path.name.startswith(("MANIFEST", "CURRENT")) or path.suffix
    ]
    path = chance.choice(wanted)
    size = path.stat().st_size
    match chance.randrange(3):
        case 0:
            path.write_bytes(chance.randbytes(max(size, 64)))
        case 1:
            os.truncate(path, size // 2)
        case _:
            path.unlink()


@contextlib.contextmanager
def _paused(world: World) -> Iterator[None]:
    world.daemon.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        world.daemon.signal(signal.SIGCONT)


# ---- the database ----


async def lock_database(world: World, session: str, _: random.Random) -> Harm:
    """Somebody else writes for seconds, and a browser dies meanwhile."""
    with world.database() as connection:
        connection.execute("PRAGMA busy_timeout = 0")
        while not _locked(connection):  # noqa: ASYNC110 - the application of this very process may be writing
            await asyncio.sleep(0.02)
        try:
            harm = await hurt(world, session, signal.SIGKILL, browser=True)
            await asyncio.sleep(OUTAGE)
        finally:
            connection.execute("ROLLBACK")
    return harm


def _locked(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True


async def lose_database(world: World, session: str, _: random.Random) -> Harm:
    """The database's files are away for seconds, and a browser dies meanwhile."""
    folder = world.database_files[0].parent
    for name in DATABASE:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rename(folder / f"{name}.aside")
    try:
        harm = await hurt(world, session, signal.SIGKILL, browser=True)
        await asyncio.sleep(OUTAGE)
    finally:
        for name in DATABASE:
            with contextlib.suppress(FileNotFoundError):
                (folder / f"{name}.aside").rename(folder / name)
    return harm


async def row_lies(world: World, session: str, chance: random.Random) -> Harm:
    """Somebody writes another status into the row."""
    return write_row(world, session, chance.choice(["disconnected", "failed", "qr_scanning"]))


async def row_outside_the_enum(world: World, session: str, _: random.Random) -> Harm:
    """And one that no version of waguard ever writes."""
    return write_row(world, session, "error")


FAULTS: Final[Mapping[str, Fault]] = {
    fault.__name__.replace("_", " "): fault
    for fault in (
        kill_daemon,
        hang_daemon,
        kill_worker,
        hang_worker,
        kill_browser,
        hang_browser,
        kill_renderer,
        hang_renderer,
        kill_worker_of_stopped_renderer,
        kill_fork_server,
        suspend,
        damage_running,
        damage_killed,
        damage_stopped,
        remove_running,
        remove_stopped,
        lock_database,
        lose_database,
        row_lies,
        row_outside_the_enum,
        *database_faults.ALL,
        *host_faults.ALL,
        *lack_faults.ALL,
        *page_faults.ALL,
        *whatsapp_faults.ALL,
        *version_faults.ALL,
        *daemon_faults.ALL,
    )
}
"""By name, in words."""

NEEDS_CLOCK: Final = "clock steps"
NEEDS_DISK: Final = frozenset({"fill disk", "no inodes", "one disk for all", "read only"})
NEEDS_SQLITE: Final = frozenset({"lock database", "lose database"}) | database_faults.NEEDS_SQLITE
UNWRITABLE: Final = frozenset({"fill disk", "no inodes", "one disk for all"}) | NEEDS_SQLITE
"""While they last nobody can write to the database."""
