"""What several daemons do to each other, as ``faults.py`` has it: of two versions, or on two hosts."""

import asyncio
import os
import random
import signal
import time
from typing import Any, Final

from waguard.cli.client import ApiCallError
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import SESSION_EVENTS
from waguard.host.process.children import read_records
from waguard.lab.chaos.harming import Fault, living, restarts, unique
from waguard.lab.chaos.invariants import BrokenError, Harm, unhealed
from waguard.lab.chaos.world import POLL, NotInTimeError, World, until
from waguard.wire.protocol import PROTOCOL

AT_ONCE: Final = 2  # workers that are replaced at the same time: ``restore.concurrency``
ORPHAN_GRACE: Final = 10.0  # s that a worker of the other version lives without a daemon
WELL_WITHIN: Final = 90.0  # s for all sessions to be connected after an orderly restart
REPLACED_WITHIN: Final = 60.0  # s for all workers of another version, ``AT_ONCE`` at a time
UNTOUCHED_WITHIN: Final = 10.0  # s; nothing has to heal
SENT_WITHIN: Final = 60.0  # s for a send whose session waits for its new worker
GIVES_UP_WITHIN: Final = 60.0  # s; the lease is renewed each 5 s
EXIT_INSTANCE: Final = 3
BUSY: Final = 503
# read by each Python that starts with it in its path: daemon, fork server and workers
OTHER_VERSION: Final = """\
from waguard.wire import protocol

protocol.PROTOCOL += {step}
"""


async def other_protocol(world: World, session: str, chance: random.Random) -> Harm:
    """An upgrade, or the way back: the daemon is killed, and the next one finds workers that speak
    another protocol. Meanwhile the application goes on sending."""
    del session
    await world.stop_daemon()
    await world.restart_daemon(_other_version(world, chance.choice([-1, 1])))
    await _all_well(world, Harm(began=time.time()))
    if PROTOCOL in (found := [record.protocol for _, record in read_records(world.records)]):
        raise NotInTimeError(f"workers of another version speak {found}")
    began, due = time.time(), await restarts(world)  # the next daemon remembers them
    seen = await world.census()
    old = {name: pids[0] for name, pids in seen.workers.items()}
    gone = frozenset(old.values()) | {pid for pids in seen.browsers.values() for pid in pids}
    world.daemon.signal(signal.SIGKILL)
    await world.restart_daemon()
    world.meanwhile += [asyncio.create_task(sends(world, name)) for name in world.sessions]
    return Harm(
        began=began,
        gone=gone,
        within=REPLACED_WITHIN,
        restarts=due,
        outdated=old,
        at_once=AT_ONCE,
    )


def _other_version(world: World, step: int) -> dict[str, str]:
    folder = world.folder / "other-version"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(OTHER_VERSION.format(step=step))
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "WAGUARD_WORKER__ORPHAN_GRACE": str(ORPHAN_GRACE)}


async def _all_well(world: World, harm: Harm) -> None:
    async def well() -> bool:
        return not unhealed(await world.facts(harm, since=len(world.receiver.received)), harm)

    await until(well, "all sessions are healthy", within=WELL_WITHIN)


async def sends(
    world: World, session: str, *, within: float = SENT_WITHIN, poll: float = POLL
) -> None:
    """As the application does: it tries again where waguard says so. Raises ``BrokenError``."""
    text, deadline = unique("during an upgrade"), time.monotonic() + within
    while True:
        try:
            seen = await world.send(session, text)
        except ApiCallError as error:
            if error.answered not in {0, BUSY}:
                raise BrokenError([f"{session}: a send was answered {error.line()}"]) from None
            if time.monotonic() > deadline:
                raise BrokenError([f"{session}: not sent: {error.line()}"]) from None
            await asyncio.sleep(poll)
        else:
            if len(seen) != 1:
                raise BrokenError([f"{session}: the phone saw a message {len(seen)} times"])
            return


async def second_host(world: World, session: str, _: random.Random) -> Harm:
    """A daemon with another runtime folder is started on the same database: it must touch nothing,
    and give up."""
    del session
    harm = Harm(
        began=time.time(),
        kept=await living(world),
        restarts=await restarts(world),
        within=UNTOUCHED_WITHIN,
    )
    before, since = await _rows(world), len(world.receiver.received)
    second = asyncio.create_task(world.daemon.second(_elsewhere(world)), name="second host")
    arrived = [world.incoming(name, unique("with two daemons")) for name in world.sessions]
    try:
        async with asyncio.timeout(GIVES_UP_WITHIN):
            while not second.done():
                await asyncio.wait([second], timeout=POLL)
                _require_same(before, await _rows(world))
    except TimeoutError:
        raise NotInTimeError(f"not within {GIVES_UP_WITHIN:g} s: the other daemon ends") from None
    if (code := second.result()) != EXIT_INSTANCE:
        raise BrokenError([f"the other daemon ended with {code}"])
    _require_same(before, await _rows(world))
    events = [one["event"] for one in world.receiver.received[since:]]
    if odd := SESSION_EVENTS & set(events):
        raise BrokenError([f"with two daemons the application got {', '.join(sorted(odd))}"])
    return replace(harm, arrived=tuple(arrived))


def _elsewhere(world: World) -> dict[str, str]:
    """Another host, as far as one machine can be two."""
    folder = world.folder / "second"
    return {
        "WAGUARD_API__PORT": "0",
        "WAGUARD_DATABASE__URL": world.url,
        "WAGUARD_PATHS__RUNTIME": str(folder / "run"),
        "WAGUARD_PATHS__STATE": str(folder / "state"),
    }


async def _rows(world: World) -> list[tuple[Any, ...]]:
    columns = "session_id, status, last_connected_at, disconnected_at, assigned_instance_url"
    return await world.select(f"SELECT {columns} FROM whatsapp_accounts ORDER BY session_id")  # noqa: S608 - our own words


def _require_same(before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]) -> None:
    """Raises ``BrokenError``."""
    if before != after:
        raise BrokenError([f"with two daemons {before} became {after}"])


ALL: Final[tuple[Fault, ...]] = (other_protocol, second_host)
