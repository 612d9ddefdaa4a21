"""Fifty deaths of the daemon, seen from outside: for its connected sessions nothing happens."""

import asyncio
import json
import os
import random
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon, Process
from tests.e2e.test_start_and_stop import run_waguard
from tests.waiting import wait_until
from waguard.host.files.lock import read_pid_file
from waguard.host.process import procfs

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.long, pytest.mark.timeout(900)]

PHONES: Final = {f"s{n}": f"628118000{n}" for n in range(1, 5)}
KILLS: Final = 50
SEED: Final = 11
TABLES: Final = ("whatsapp_accounts", "waguard_sessions")
POLL: Final = 0.01  # s
STARTING: Final = 0.8  # s after its run began at most; it is restored after half of that
ADOPTED: Final = 1.5  # s after all are adopted at most
NEWS: Final = {"lifecycle", "link", "session_disconnected", "session_ready"}
REPORTED: Final = ("status", "phone_number", "connected_at")


class Database:
    """Read directly; each write of a session's row is counted, also one that changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def watch(self) -> None:
        """From now on."""
        with closing(sqlite3.connect(self._path, timeout=30)) as database, database:
            database.execute("CREATE TABLE seen_writes (what TEXT)")
            for table in TABLES:
                for what in ("INSERT", "UPDATE", "DELETE"):
                    database.execute(
                        f"CREATE TRIGGER seen_{what}_{table} AFTER {what} ON {table} BEGIN"
                        f" INSERT INTO seen_writes VALUES ('{what} {table}'); END"
                    )

    def writes(self) -> list[str]:
        """What was done to the tables of sessions."""
        return [what for (what,) in self._query("SELECT what FROM seen_writes")]

    def rows(self) -> list[Any]:
        """Every column of every session."""
        return [row for table in TABLES for row in self._query(f"SELECT * FROM {table} ORDER BY 1")]

    def entries(self) -> Counter[str]:
        """Of the sessions' trails, by kind."""
        found = self._query("SELECT kind FROM waguard_events WHERE session_id IS NOT NULL")
        return Counter(kind for (kind,) in found)

    def _query(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()


@dataclass
class Observer:
    """What daemons say by the API, from the moment when they answer until they are killed."""

    daemon: Daemon
    events: list[dict[str, Any]] = field(default_factory=list)
    """Of sessions, each that the daemon's stream has; it is read from its beginning."""
    counts: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(connected, disconnected) of /health."""
    answer: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    """(session, *TOLD) of /health/detailed."""
    lifecycles: Counter[str] = field(default_factory=Counter)
    streams: int = 0

    @asynccontextmanager
    async def life(self, end: signal.Signals = signal.SIGKILL) -> AsyncIterator[int]:
        """The pid of a new daemon whose run has begun; ``end`` is sent to it at the end."""
        process = await self.daemon.spawn()
        watching = asyncio.create_task(self._watch(process))
        try:
            await wait_until(lambda: begun(self.daemon, process), "its run begins")
            yield process.pid
        except BaseException:
            end = signal.SIGTERM  # a test that fails leaves no worker
            raise
        finally:
            await self.daemon.stop(end)
            await watching

    async def _watch(self, process: Process) -> None:
        """Until it is dead."""
        while process.returncode is None:
            holder = read_pid_file(self.daemon.folder / "run")
            if holder and holder.pid == process.pid:
                self.daemon.base = holder.api
                listening = self._repeat(process, self._listen)
                await asyncio.gather(listening, self._repeat(process, self._poll))
                return
            await asyncio.sleep(POLL)

    async def _repeat(self, process: Process, do: Callable[[], Any]) -> None:
        while process.returncode is None:
            with suppress(aiohttp.ClientError, ConnectionError):
                await do()
            await asyncio.sleep(POLL)

    async def _listen(self) -> None:
        headers = {"X-Api-Key": self.daemon.key, "Last-Event-ID": "0"}
        async with self.daemon.http.get(
            f"{self.daemon.base}/api/events", headers=headers
        ) as response:
            assert response.status == 200
            self.streams += 1
            async for line in response.content:
                if line.startswith(b"data: "):
                    event = json.loads(line.removeprefix(b"data: "))
                    if event["session_id"] is not None:
                        self.events.append(event)

    async def _poll(self) -> None:
        _, reported = await self.daemon.call("GET", "/health/detailed")
        counted = reported["sessions"]
        self.counts[counted["connected"], counted["disconnected"]] += 1
        for one in reported["details"] or ():
            self.answer[one["session_id"], *(one[name] for name in REPORTED)] += 1
            self.lifecycles[one["lifecycle"]] += 1


def begun(daemon: Daemon, process: Process) -> bool:
    """Whether its run is on the disk: dying from now on is an incident."""
    assert process.returncode is None, daemon.log()
    with suppress(FileNotFoundError):
        run = json.loads((daemon.folder / "state/run.json").read_text())
        return bool(run["pid"] == process.pid)
    return False


async def adopted(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """All sessions, when their workers have said how they stand."""
    await daemon.is_up()
    return {
        session: await daemon.wait_status(session, "connected", lifecycle="running")
        for session in PHONES
    }


def processes(answer: dict[str, dict[str, Any]]) -> list[tuple[int, int | None]]:
    """Workers and browsers: pids and when they were started."""
    pids = [one[name] for one in answer.values() for name in ("worker_pid", "browser_pid")]
    return [(pid, procfs.start_time(pid)) for pid in pids]


async def paired(world: World, database: Database) -> dict[str, dict[str, Any]]:
    """All sessions, connected; everything about that is written and delivered."""
    await world.daemon.start()
    for session, phone in PHONES.items():
        await world.daemon.pair(world.standin, session, phone)
    await wait_until(
        lambda: database.entries()["status"] >= 2 * len(PHONES), "each status is on the trail"
    )
    await wait_until(
        lambda: world.receiver.count("session_ready") == len(PHONES), "each is announced"
    )
    await world.daemon.until_delivered()
    return await adopted(world.daemon)


async def test_fifty_deaths_of_the_daemon_are_nothing_to_its_sessions(world: World) -> None:
    daemon, moments = world.daemon, random.Random(SEED)
    database = Database(daemon.folder / "state/waguard.db")
    before = await paired(world, database)
    assert daemon.process
    killed, running = [daemon.process.pid], processes(before)
    await daemon.stop(signal.SIGKILL)
    database.watch()
    rows, entries, delivered = database.rows(), database.entries(), len(world.receiver.received)
    observer, early = Observer(daemon), 0

    while len(killed) < KILLS:
        async with observer.life() as pid:
            if moments.random() < 0.5:
                early += 1
                await asyncio.sleep(moments.uniform(0, STARTING))
            else:
                assert processes(await adopted(daemon)) == running
                await asyncio.sleep(moments.uniform(0, ADOPTED))
            killed.append(pid)

    async with observer.life(signal.SIGTERM):
        after = await adopted(daemon)
        assert processes(after) == running
        assert Counter(await why(daemon, killed[-1])) == Counter(killed)
        assert database.writes() == []
        assert database.rows() == rows
        assert set(database.entries() - entries) == {"adopted"}
        assert observer.events == []
        assert world.receiver.received[delivered:] == []
        assert set(observer.counts) <= {(len(PHONES), 0), (0, 0)}, "all, or none is known yet"
        assert set(observer.answer) == {
            (s, *(before[s][name] for name in REPORTED)) for s in PHONES
        }
        assert set(observer.lifecycles) <= {"adopting", "running"}
        assert observer.streams >= KILLS - early, "who is killed late was heard"

        # that all of this would have been seen: the death of a worker is news
        os.kill(after["s1"]["worker_pid"], signal.SIGKILL)
        await world.receiver.wait_for("session_disconnected", after=delivered)
        await world.receiver.wait_for("session_ready", after=delivered)
        await wait_until(lambda: {it["event"] for it in observer.events} >= NEWS, "it is streamed")
        await wait_until(lambda: (len(PHONES) - 1, 1) in observer.counts, "it is counted")
        await wait_until(lambda: "UPDATE whatsapp_accounts" in database.writes(), "it is written")


async def why(daemon: Daemon, newest: int) -> list[int]:
    """The pids of the daemons whose deaths it reports, up to this one's; each incident is over."""

    async def over() -> bool:
        _, answer = await daemon.call("GET", "/api/incidents")
        incidents = answer["incidents"]
        reported = any(f"(pid {newest})" in " ".join(one["sentences"]) for one in incidents)
        return reported and all(one["ended"] for one in incidents)

    await daemon.until(over)
    said = await run_waguard(daemon, "why")
    return [int(pid) for pid in re.findall(r"waguard \(pid (\d+)\) was killed", said.stdout)]
