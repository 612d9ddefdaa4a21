"""The ways to break it. Each does its harm to a world and says what may and must come of it.

A fault returns when it is over (the disk has room again, systemd has started the daemon): from there
the time to heal is counted. Waiting for a condition has a deadline; where the fault *is* a time (a
disk that is full for so long), it is a constant beside it.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from waguard.chaos.invariants import Harm
from waguard.chaos.processes import Census
from waguard.chaos.world import DATABASE, NotInTimeError, World, until
from waguard.client import ApiCallError

Fault = Callable[[World, str, random.Random], Awaitable[Harm]]

HANG_SEEN: Final = 1.0  # s without an answer, after which the watchdog ends a daemon (systemd: 30)
OUTAGE: Final = 3.0  # s that a database, disk or network is away
SUSPENDED: Final = 6.5  # s; more than the daemon takes for its own standing still
AFTER_SUSPEND: Final = 3.0  # s in which a false alarm would show: the watch looks each second
SLOW: Final = 2.5  # s that the page's modules are late; wa-js itself waits for one
A_LOT: Final = 20_000  # characters; a file that is open has room in its last page
REFUSED_WITHIN: Final = 20.0  # s for a start that must be refused
RUNS_WITHIN: Final = 60.0  # s for a session whose worker is just being replaced
EXIT_INSTANCE, EXIT_PORT = 3, 4
_CREDENTIALS: Final = (
    "IndexedDB/https_web.whatsapp.com_0.indexeddb.leveldb",
    "Local Storage/leveldb",
)


# ---- processes ----


async def kill_daemon(world: World, session: str, _: random.Random) -> Harm:
    """Its workers live on, the next daemon adopts them; what came meanwhile is told."""
    return await _without_daemon(world, session)


async def hang_daemon(world: World, session: str, _: random.Random) -> Harm:
    """Its watchdog ends it: that is systemd's part, played by the campaign."""
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
    arrived = world.incoming(session, _text("nobody home"))
    await world.restart_daemon()
    return Harm(began=began, kept=kept, arrived=(arrived,))


async def kill_worker(world: World, session: str, _: random.Random) -> Harm:
    """Chromium goes with it."""
    return await _signal(world, session, signal.SIGKILL, worker=True)


async def hang_worker(world: World, session: str, _: random.Random) -> Harm:
    """It is silent, and so is its Chromium for it."""
    return await _signal(world, session, signal.SIGSTOP, worker=True)


async def kill_browser(world: World, session: str, _: random.Random) -> Harm:
    """The pipe ends."""
    return await _signal(world, session, signal.SIGKILL, browser=True)


async def hang_browser(world: World, session: str, _: random.Random) -> Harm:
    """Nothing tells of it but silence."""
    return await _signal(world, session, signal.SIGSTOP, browser=True)


async def kill_renderer(world: World, session: str, _: random.Random) -> Harm:
    """The page crashes, the browser lives."""
    return await _signal(world, session, signal.SIGKILL, renderers=True)


async def hang_renderer(world: World, session: str, _: random.Random) -> Harm:
    """The page is silent, the browser answers."""
    return await _signal(world, session, signal.SIGSTOP, renderers=True)


async def kill_fork_server(world: World, session: str, _: random.Random) -> Harm:
    """And then a browser: its new worker needs another server."""
    for pid in (await world.census()).fork_servers:
        _kill(pid)
    return await _signal(world, session, signal.SIGKILL, browser=True)


async def suspend(world: World, session: str, _: random.Random) -> Harm:
    """The laptop's lid: all stand still, and go on as if nothing had been."""
    began, kept = time.time(), await living(world)
    frozen = (await world.census()).all  # parents first: nobody sees another stopped
    for pid in frozen:
        _kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(SUSPENDED)
        arrived = world.incoming(session, _text("while asleep"))
    finally:
        for pid in reversed(frozen):
            _kill(pid, signal.SIGCONT)
    return Harm(began=began, kept=kept, arrived=(arrived,), watched=AFTER_SUSPEND)


async def _running(world: World, session: str) -> tuple[Census, float] | None:
    """It may just be replaced, for an ack that was late."""
    seen, began = await world.census(), time.time()
    runs = seen.browsers.get(session) and seen.workers.get(session)
    return (seen, began) if runs else None


async def _signal(
    world: World,
    session: str,
    number: signal.Signals,
    *,
    worker: bool = False,
    browser: bool = False,
    renderers: bool = False,
) -> Harm:
    seen, began = await until(lambda: _running(world, session), "it runs", within=RUNS_WITHIN)
    browsers = seen.browsers[session]
    doomed = {
        *(seen.workers[session] if worker else ()),
        *(browsers if browser else ()),
        *(pid for owner in browsers for pid in seen.renderers.get(owner, ()) if renderers),
    }
    if not doomed:
        raise NotInTimeError(f"{session} has no such process")
    for pid in doomed:
        _kill(pid, number)
    return Harm(began=began, hurt=frozenset({session}), gone=frozenset(doomed))


# ---- profiles ----


async def damage_running(world: World, session: str, chance: random.Random) -> Harm:
    """Files are overwritten under a living browser, which is then killed."""
    began, may_scan = time.time(), _without_copy(world, session)
    _damage(world.at(session).profile, chance)
    harm = await _signal(world, session, signal.SIGKILL, browser=True)
    return Harm(began=began, hurt=harm.hurt, gone=harm.gone, may_scan=may_scan)


async def damage_killed(world: World, session: str, chance: random.Random) -> Harm:
    """The browser is killed first, and its files are overwritten before it is started again."""
    with _paused(world):  # the daemon would be quicker
        harm = await _signal(world, session, signal.SIGKILL, browser=True)
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
        await _signal(world, session, signal.SIGKILL, browser=True)
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
        connection.execute("BEGIN EXCLUSIVE")
        try:
            harm = await _signal(world, session, signal.SIGKILL, browser=True)
            await asyncio.sleep(OUTAGE)
        finally:
            connection.execute("ROLLBACK")
    return harm


async def lose_database(world: World, session: str, _: random.Random) -> Harm:
    """Its files are away for seconds, and a browser dies meanwhile."""
    folder = world.database_files[0].parent
    for name in DATABASE:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rename(folder / f"{name}.aside")
    try:
        harm = await _signal(world, session, signal.SIGKILL, browser=True)
        await asyncio.sleep(OUTAGE)
    finally:
        for name in DATABASE:
            with contextlib.suppress(FileNotFoundError):
                (folder / f"{name}.aside").rename(folder / name)
    return harm


async def row_lies(world: World, session: str, chance: random.Random) -> Harm:
    """Somebody writes another status into the row."""
    return _update(world, session, chance.choice(["disconnected", "failed", "qr_scanning"]))


async def row_outside_the_enum(world: World, session: str, _: random.Random) -> Harm:
    """And one that no version of waguard ever writes."""
    return _update(world, session, "error")


def _update(world: World, session: str, status: str) -> Harm:
    began = time.time()
    with world.database() as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        changed = connection.execute(
            "UPDATE whatsapp_accounts SET status = ? WHERE session_id = ?", (status, session)
        )
        if changed.rowcount != 1:
            raise NotInTimeError(f"there is no row of {session}")
    return Harm(began=began, hurt=frozenset({session}))


# ---- the machine ----


async def fill_disk(world: World, session: str, _: random.Random) -> Harm:
    """No byte is free for profiles and database; a browser dies, and messages come to the others."""
    if world.disk is None:
        raise NotInTimeError("there is no disk of its own to fill")
    filler = world.disk / "filler"
    # on a full disk nothing starts
    await until(lambda: _running(world, session), f"{session} runs", within=RUNS_WITHIN)
    try:
        _fill(filler)
        harm = await _signal(world, session, signal.SIGKILL, browser=True)
        arrived = tuple(world.incoming(each, _text("x" * A_LOT)) for each in world.sessions)
        await asyncio.sleep(OUTAGE)
    finally:
        filler.unlink(missing_ok=True)
    return replace(harm, arrived=arrived)


def _fill(path: Path) -> None:
    free = os.statvfs(path.parent)
    with path.open("wb") as file:
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        with contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(4096))


async def take_port(world: World, session: str, _: random.Random) -> Harm:
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
    """It is refused, and costs the first one nothing."""
    del session
    began, kept = time.time(), await living(world)
    code = await world.daemon.second()
    if code != EXIT_INSTANCE:
        raise NotInTimeError(f"a second instance ended with {code}")
    return Harm(began=began, kept=kept)


# ---- WhatsApp ----


async def drop_socket(world: World, session: str, _: random.Random) -> Harm:
    """The page loses its connection, and gets none for seconds."""
    began, kept = time.time(), await living(world)
    world.standin.phone.drop(world.phones[session], seconds=OUTAGE)
    arrived = world.incoming(session, _text("while offline"))

    async def offline() -> bool:
        return (await world.told(session)).link != "connected"

    await until(offline, f"{session} is seen offline", within=REFUSED_WITHIN)
    return Harm(began=began, hurt=frozenset({session}), kept=kept, arrived=(arrived,))


async def unlink(world: World, session: str, _: random.Random) -> Harm:
    """The person removes the device on the phone, and scans the new code."""
    began = time.time()
    world.standin.phone.unlink(world.phones[session])
    return Harm(began=began, hurt=frozenset({session}), may_scan=frozenset({session}))


async def slow_modules(world: World, session: str, chance: random.Random) -> Harm:
    """A cold load: after a crash the page's modules are late, nearly all or just some of them."""
    part = chance.choice(["core", "rest"])
    world.standin.policy.update({"slow_modules": SLOW, "slow_part": part})  # until it has healed
    return await _signal(world, session, signal.SIGKILL, browser=True)


# ---- small things ----


async def living(world: World) -> frozenset[int]:
    """Daemon, workers and browsers; their other processes may come and go."""
    seen = await world.census()
    by = (seen.workers, seen.browsers)
    return frozenset((*seen.daemons, *(p for pids in by for ps in pids.values() for p in ps)))


def _kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _text(about: str) -> str:
    """A text that no other message has."""
    return f"{about} {time.monotonic_ns()}"


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
        fill_disk,
        take_port,
        second_instance,
        drop_socket,
        unlink,
        slow_modules,
    )
}
"""By name, in words."""

NEEDS_DISK: Final = "fill disk"
NEEDS_SQLITE: Final = frozenset({"lock database", "lose database"})
UNWRITABLE: Final = frozenset({NEEDS_DISK}) | NEEDS_SQLITE
"""While they last nobody can write to the database."""
