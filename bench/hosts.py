"""What several hosts cost, and how soon a lost one's sessions are back: ``python -m bench.hosts [--sessions 1000]
[--seconds 60] [--members 3]``.

Three daemons share simulated sessions by etcd and PostgreSQL; a fourth one beside them, without a cluster, has as many as one
of these, and is measured in the same windows, so that a busy machine is the same for all. Each session has a small profile,
whose credentials are shipped: without them no other host could take it over. Then all processes of one host are killed.
"""

import argparse
import asyncio
import contextlib
import os
import re
import secrets
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bench.rig import Daemon, cpu, in_a_folder, left_behind, pss
from tests.cluster import etcd_servers
from tests.cluster.etcd_servers import Member
from tests.ports import reserved_port
from tests.profile import leveldb_files
from tests.store import servers
from tests.store.application import SqlApplication
from waguard.core.profile.snapshots import STORED_AFTER
from waguard.profile import owner_mark
from waguard.profile.lock import ProfileLock

HOSTS = 3
WINDOWS = 6
CALM = (
    25.0 + STORED_AFTER
)  # s until what came up is at rest: each profile is read once more for what came late
PATIENT = 600.0  # s
EACH = 0.5  # s between two looks, which cost the daemons something
LOST = 600.0  # s after which the bench ends, whatever has not come up again
PROGRAM = (sys.executable, str(Path(__file__).with_name("simulated.py")), "daemon")
NO_PAGE: Any = SimpleNamespace(url="http://127.0.0.1:9/", browser_args=[])
# a simulated session takes no memory to speak of
SETTINGS = {
    "WAGUARD_ADMISSION__SESSION_MEMORY": "3",
    "WAGUARD_ADMISSION__MEMORY_PRESSURE": "100",
    "WAGUARD_LIMITS__DISK_RESERVE": "0",
}
_CONNECTED = re.compile(rb'^waguard_sessions\{status="connected"\} (\S+)', re.MULTILINE)
_PARTS = (0.01, 0.5, 0.9, 1.0)
_AFTER = (15, 30, 60, 90, 120, 180, 240, 300, 450)  # s


class Fleet:
    """The hosts h0, h1 and h2, and a daemon that has no cluster."""

    def __init__(self, hosts: Sequence[Daemon], alone: Daemon, database: AsyncEngine) -> None:
        self.hosts = hosts
        self.alone = alone
        self.database = database

    async def fill(self, count: int) -> None:
        """So many sessions on the hosts, and as many as one of these has alone."""

        async def on(daemon: Daemon, names: Sequence[str]) -> None:
            for name in names:
                while not await is_created(daemon, {"session_id": name, "workspace_id": 1}):
                    await asyncio.sleep(EACH)
                await asyncio.to_thread(pair, daemon.profile(name))

        names = [f"s628{number:07}" for number in range(count)]
        shares = [names[place::HOSTS] for place in range(HOSTS)]
        async with asyncio.timeout(PATIENT + count):
            await asyncio.gather(on(self.alone, shares[0]), *map(on, self.hosts, shares))
            for daemon, share in zip((*self.hosts, self.alone), (*shares, shares[0]), strict=True):
                while await connected([daemon]) < len(share):
                    await asyncio.sleep(1)

    async def owned_by(self, *names: str) -> int:
        """Sessions that these hosts own, by the database."""
        which = ", ".join(f"'{it}'" for it in names)
        return await self._count(f"waguard_owners WHERE host IN ({which})")

    async def until_shipped(self, count: int) -> None:
        """Wait until other hosts could take so many sessions over."""
        async with asyncio.timeout(PATIENT):
            while await self._count("waguard_credentials WHERE files IS NOT NULL") < count:
                await asyncio.sleep(EACH)

    async def _count(self, rows: str) -> int:
        async with self.database.connect() as connection:
            return int((await connection.scalar(text(f"SELECT count(*) FROM {rows}"))) or 0)


def pair(profile: Path) -> None:
    """What a page would have stored of a paired session, but smaller. Blocks."""
    for name in (leveldb_files.INDEXED, leveldb_files.LOCAL):
        made = leveldb_files.database(profile / name)
        (made / "000006.log").write_bytes(leveldb_files.log(leveldb_files.batch("credentials")))
    with ProfileLock(profile) as lock:
        owner_mark.claim(profile, lock.descriptor, after_pairing=True)


async def is_created(daemon: Daemon, body: dict[str, Any]) -> bool:
    """Whether it is, after a try; a host whose lease is late says 503."""
    async with daemon.request("POST", "/api/sessions", body) as answer:
        if answer.status != 503:
            answer.raise_for_status()
        return bool(answer.status != 503)


async def connected(daemons: Sequence[Daemon]) -> int:
    """Connected sessions, by what the daemons say of their own."""
    found = 0
    for daemon in daemons:
        async with daemon.request("GET", "/metrics") as answer:
            said = _CONNECTED.search(await answer.read())
            found += int(float(said[1])) if said else 0
    return found


@contextlib.asynccontextmanager
async def running(
    folder: Path, server: servers.Server, members: Sequence[Member]
) -> AsyncIterator[Fleet]:
    """All are ready."""
    key = folder / "shared-key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    maintenance = SqlApplication(server.url(server.maintenance))
    for name in ("together", "alone"):
        await maintenance.run_alone(f"CREATE DATABASE {name}")
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        names = [*(f"h{number}" for number in range(HOSTS)), "alone"]
        daemons = [Daemon(folder / it, NO_PAGE, http, PROGRAM) for it in names]
        endpoints = ", ".join(f'"{it.endpoint}"' for it in members)
        for name, daemon in zip(names, daemons, strict=True):
            await stack.enter_async_context(daemon)
            port = stack.enter_context(reserved_port())
            daemon.settings |= SETTINGS | {"WAGUARD_API__PORT": str(port)}
            if name == "alone":
                daemon.settings["WAGUARD_DATABASE__URL"] = server.url("alone")
            else:
                daemon.settings |= {
                    "WAGUARD_DATABASE__URL": server.url("together"),
                    "WAGUARD_CLUSTER__ENGINE": "etcd",
                    "WAGUARD_CLUSTER__ENDPOINTS": f"[{endpoints}]",
                    "WAGUARD_CLUSTER__HOST": name,
                    "WAGUARD_CLUSTER__ADDRESS": f"http://127.0.0.1:{port}",
                    "WAGUARD_CLUSTER__KEY_FILE": str(key),
                }
            await daemon.start()
            await daemon.ready()
        database = create_async_engine(server.url("together"), pool_size=1)
        stack.push_async_callback(database.dispose)
        *hosts, alone = daemons
        yield Fleet(hosts, alone, database)


def writes(members: Sequence[Member]) -> int:
    """Of the store, by its revision: nobody else writes there."""
    return int(members[0].ask("kv/range", key="AA==")["header"]["revision"])


async def at_rest(fleet: Fleet, members: Sequence[Member], seconds: float) -> None:
    """Print what the daemons use, and how often they write to etcd."""
    used: dict[str, list[float]] = {"cluster": [], "alone": []}
    rates = []
    for _ in range(WINDOWS):
        before = [cpu([it.pid]) for it in (*fleet.hosts, fleet.alone)]
        revision, began = await asyncio.to_thread(writes, members), time.monotonic()
        await asyncio.sleep(seconds / WINDOWS)
        after = [cpu([it.pid]) for it in (*fleet.hosts, fleet.alone)]
        took = time.monotonic() - began
        rates.append((await asyncio.to_thread(writes, members) - revision) / took / HOSTS)
        *each, alone = (100 * (b - a) / took for a, b in zip(before, after, strict=True))
        used["cluster"].append(statistics.mean(each))
        used["alone"].append(alone)
    differences = [a - b for a, b in zip(used["cluster"], used["alone"], strict=True)]
    memory = [pss([it.pid]) for it in (*fleet.hosts, fleet.alone)]
    print(
        f"writes to etcd, a second and host: {statistics.mean(rates):.2f} (most {max(rates):.2f})"
    )
    for name, found in used.items():
        print(f"CPU of a daemon, {name:7}: {statistics.median(found):.2f} % of a core")
    print(
        f"  difference, window by window: {statistics.median(differences):+.2f}"
        f" ({min(differences):+.2f} to {max(differences):+.2f})"
    )
    print(f"memory of a daemon, MB PSS: {', '.join(f'{it:.1f}' for it in memory[:-1])}", end="")
    print(f" in the cluster, {memory[-1]:.1f} alone, {max(memory[:-1]) - memory[-1]:+.1f} at most")


async def lost(fleet: Fleet) -> None:
    """Print how soon the sessions of a host that is killed are owned and connected: ends after ``LOST`` at the latest."""
    first, *others = fleet.hosts
    names = [it.folder.name for it in others]
    owned_before, connected_before = await fleet.owned_by(*names), await connected(others)
    gone = await fleet.owned_by(first.folder.name)
    seen: dict[str, list[tuple[float, int]]] = {"owned": [], "connected": []}
    began = time.monotonic()
    for pid in left_behind(first.folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await first.kill()
    print(f"a host with {gone} sessions is killed", flush=True)
    while (at := time.monotonic() - began) < LOST and (
        not seen["connected"] or seen["connected"][-1][1] < gone
    ):
        seen["owned"].append((at, await fleet.owned_by(*names) - owned_before))
        seen["connected"].append((at, await connected(others) - connected_before))
        await asyncio.sleep(EACH)
    print("  s until" + " " * 5 + "".join(f"{part:>8.0%}" for part in _PARTS))
    for what, found in seen.items():
        reached = [next((at for at, it in found if it >= part * gone), None) for part in _PARTS]
        print(
            f"  {what:12}" + "".join("   never" if it is None else f"{it:8.1f}" for it in reached)
        )
    last = seen["owned"][-1][0]
    for after in (it for it in _AFTER if it <= last):
        counts = [[it for at, it in found if at <= after][-1] for found in seen.values()]
        print(f"  after {after:3} s: {counts[0]} owned, {counts[1]} connected")
    shares = [await fleet.owned_by(it) for it in names]
    print(f"  then owned by the others: {shares}", flush=True)


async def measure(folder: Path, count: int, seconds: float, members: int) -> None:
    """All of it."""
    with ExitStack() as stack:
        server = stack.enter_context(servers.postgresql())
        etcd = stack.enter_context(etcd_servers.etcd(members))
        async with running(folder, server, etcd) as fleet:
            began = time.monotonic()
            await fleet.fill(count)
            print(f"{count} sessions came up in {time.monotonic() - began:.0f} s", flush=True)
            await fleet.until_shipped(count)
            await asyncio.sleep(CALM)
            await at_rest(fleet, etcd, seconds)
            sys.stdout.flush()
            await lost(fleet)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--members", type=int, default=3)
    given = parser.parse_args()
    return asyncio.run(
        in_a_folder(
            "wg-hosts-", lambda it: measure(it, given.sessions, given.seconds, given.members)
        )
    )


if __name__ == "__main__":
    sys.exit(main())
