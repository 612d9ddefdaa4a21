"""Two daemons on one database: one supervises, and the other one touches nothing."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon, short_folder
from tests.store.conftest import new_database

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(180)]

PHONE, PERSON = "6281180001", "6281180002"
# s; workers of a daemon that is gone end soon, and so does its lease
QUICK: Mapping[str, str] = {"WAGUARD_WORKER__ORPHAN_GRACE": "3", "WAGUARD_LEASE__MARGIN": "3"}
# the same, but who waits does so for some seconds: what it says meanwhile is to be seen
SLOW: Mapping[str, str] = {**QUICK, "WAGUARD_LEASE__MARGIN": "30"}

on_sqlite = pytest.param("sqlite", id="sqlite")
on_postgresql = pytest.param("postgresql", id="postgresql", marks=pytest.mark.long)
everywhere = pytest.mark.parametrize("pair", [on_sqlite, on_postgresql], indirect=True)
short = pytest.mark.parametrize("pair", [on_sqlite], indirect=True)


@dataclass
class Pair:
    """Two daemons on one database and the same profiles, with runtime folders of their own."""

    world: World
    first: Daemon
    second: Daemon
    url: str

    def configure(self, settings: Mapping[str, str]) -> None:
        for daemon in (self.first, self.second):
            daemon.settings = {**daemon.settings, **settings}

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Its rows, committed."""
        engine = create_async_engine(self.url, poolclass=NullPool)
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    async def epoch(self) -> int:
        [(number,)] = await self.query("SELECT epoch FROM waguard_lease")
        return int(number)

    async def trail(self) -> Counter[str]:
        """How often what was noted of the session."""
        rows = await self.query("SELECT kind FROM waguard_events WHERE session_id = 's1'")
        return Counter(kind for (kind,) in rows)

    async def connected_on_trail(self) -> bool:
        """Whether that was noted: a moment after the application heard of it."""
        rows = await self.query("SELECT * FROM waguard_events WHERE session_id = 's1'")
        return any(
            kind == "status" and after == "connected" for _, _, _, kind, _, after, *_ in rows
        )

    async def receive(self, words: str) -> None:
        """Somebody writes, and the application gets it."""
        self.world.standin.phone.incoming(phone=PHONE, from_=PERSON, body=words)
        await self.world.receiver.wait_for(
            "message_received", where=lambda it: it["message"]["body"] == words
        )

    async def until_delivered(self) -> None:
        """All is delivered, and the database knows it: a kill would repeat what is in between."""

        async def nothing_waits() -> bool:
            return (
                await self.query("SELECT 1 FROM waguard_deliveries WHERE state = 'pending'") == []
            )

        await self.first.until(nothing_waits)

    def doubled(self) -> list[str]:
        """Received messages that the application got more than once."""
        deliveries = self.world.receiver.received
        got = [it["data"]["message"] for it in deliveries if it["event"] == "message_received"]
        return [name for name, count in Counter(it["id"] for it in got).items() if count > 1]


@pytest.fixture
async def pair(request: pytest.FixtureRequest, world: World, tmp_path: Any) -> AsyncIterator[Pair]:
    first = world.daemon
    url = await new_database(request.param, request, tmp_path)
    profiles = str(first.folder / "sessions")
    first.settings = {**first.settings, **QUICK, "WAGUARD_DATABASE__URL": url}
    with short_folder() as folder:
        settings = {**first.settings, "WAGUARD_PATHS__SESSIONS": profiles}
        async with Daemon(folder, settings) as second:
            yield Pair(world, first, second, url)


async def logs(daemon: Daemon, words: str) -> bool:
    return words in daemon.log()


async def ended(daemon: Daemon) -> int:
    assert daemon.process
    async with asyncio.timeout(90):
        return await daemon.process.wait()


def explanation(daemon: Daemon) -> str:
    """What it said on its way out."""
    [line] = [line for line in daemon.log().splitlines() if line.startswith("waguard: ")]
    return line


@everywhere
async def test_a_second_daemon_touches_nothing_and_gives_up_naming_the_holder(pair: Pair) -> None:
    pair.configure(SLOW)
    first, second = pair.first, pair.second
    await first.start()
    await first.pair(pair.world.standin, "s1", PHONE)
    await pair.world.receiver.wait_for("session_ready")
    await first.until(pair.connected_on_trail)
    before, worker = await pair.trail(), (await first.status("s1"))["worker_pid"]
    await second.start(ready=False)
    await second.until(lambda: logs(second, "lease held"))
    assert first.process
    named = f"in {first.folder.resolve() / 'run'} (pid {first.process.pid})"
    code, health = await second.call("GET", "/health", key=False)
    assert (code, health["status"]) == (503, "degraded")
    assert "has the database's lease" in health["error"]
    assert (await second.call("GET", "/health/ready", key=False))[0] == 503
    code, health = await second.call("GET", "/health/detailed")
    assert code == 200
    assert any(named in problem for problem in health["problems"]), health
    for method, path in (
        ("GET", "/api/sessions"),
        ("GET", "/api/sessions/s1/status"),
        ("DELETE", "/api/sessions/s1"),
        ("GET", "/api/webhooks/dead"),
    ):
        code, reported = await second.call(method, path)
        assert code == 503, (path, reported)
        assert named in reported["error"], (path, reported)
    code, reported = await second.send("s1", PERSON, "not from here")
    assert code == 503, reported
    for number in range(10):
        await pair.receive(f"message {number}")
    assert await ended(second) == 3
    line = explanation(second)
    assert "another instance holds the database's lease" in line
    assert named in line
    assert pair.doubled() == []
    assert await pair.trail() == before
    rows = await pair.query("SELECT status, phone_number FROM whatsapp_accounts")
    assert rows == [("connected", PHONE)]
    reported = await first.status("s1")
    assert (reported["worker_pid"], reported["restarts"]) == (worker, 0)
    assert await pair.epoch() == 1


@pytest.mark.long  # what `make test` sees of it: test_life (adoption), tests/supervision/test_lease.py
@everywhere
async def test_after_a_kill_the_same_one_goes_on_at_once_until_it_finds_a_newer_epoch(
    pair: Pair,
) -> None:
    pair.configure({"WAGUARD_WORKER__ORPHAN_GRACE": "60"})
    first = pair.first
    await first.start()
    reported = await first.pair(pair.world.standin, "s1", PHONE)
    await first.stop(signal.SIGKILL)
    began = time.monotonic()
    await first.start()
    again = await first.wait_status("s1", "connected", lifecycle="running")
    print(f"connected again {time.monotonic() - began:.2f} s after the start")
    assert again["worker_pid"] == reported["worker_pid"]
    assert "lease held" not in first.log()
    assert await pair.epoch() == 2

    await pair.receive("before")
    await pair.until_delivered()
    deliveries = len(pair.world.receiver.received)
    await pair.query(
        "UPDATE waguard_lease SET epoch = epoch + 1, machine = 'm2', host = 'beta',"
        " runtime = '/run/waguard', pid = 4711, instance = 'another'"
    )
    assert await ended(first) == 3
    line = explanation(first)
    assert "another instance has taken the database's lease over" in line
    assert "the waguard on beta in /run/waguard (pid 4711)" in line
    assert first.left_behind() == []
    # what is in the database is the other one's: nothing is written there, and nothing is told of it
    assert await pair.query("SELECT status FROM whatsapp_accounts") == [("connected",)]
    assert await pair.epoch() == 3
    assert pair.world.receiver.received[deliveries:] == []


@pytest.mark.long
@everywhere
async def test_after_a_kill_another_one_takes_over_when_the_lease_has_expired(pair: Pair) -> None:
    first, second = pair.first, pair.second
    await first.start()
    await first.pair(pair.world.standin, "s1", PHONE)
    await pair.receive("before")
    await pair.until_delivered()
    await first.stop(signal.SIGKILL)
    began = time.monotonic()
    await second.start(ready=False)
    await second.until(lambda: logs(second, "lease held"))
    assert (await second.call("GET", "/health", key=False))[0] == 503
    await second.until(lambda: logs(second, "the database's lease is taken"))
    print(f"taken over {time.monotonic() - began:.2f} s after the kill")
    await second.until(lambda: second.answers("/health/ready"))
    await second.wait_status("s1", "connected")
    assert await pair.epoch() == 2
    await pair.receive("after")
    assert pair.doubled() == []
    # the first one comes back: now it is the other one
    await first.start(ready=False)
    assert await ended(first) == 3
    assert f"in {second.folder.resolve() / 'run'}" in explanation(first)


@pytest.mark.long
@everywhere
async def test_after_an_orderly_stop_another_one_begins_at_once(pair: Pair) -> None:
    first, second = pair.first, pair.second
    await first.start()
    await first.pair(pair.world.standin, "s1", PHONE)
    assert await first.stop() == 0
    await second.start()
    await second.wait_status("s1", "connected")
    assert "lease held" not in second.log()
    assert await pair.epoch() == 2


@pytest.mark.long
@short
async def test_a_holder_whose_database_was_away_for_longer_than_the_lease_goes_on(
    pair: Pair,
) -> None:
    first = pair.first
    await first.start()
    reported = await first.pair(pair.world.standin, "s1", PHONE)
    await pair.receive("before")
    engine = create_async_engine(pair.url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text("BEGIN EXCLUSIVE"))

        async def expired() -> bool:
            query = "SELECT renewed_at + lasts < (julianday('now') - 2440587.5) * 86400 FROM waguard_lease"
            return bool(await connection.scalar(text(query)))

        await first.until(expired)
        await first.until(lambda: logs(first, "lease is not renewed, trying again"))
        assert (await first.status("s1"))["status"] == "connected"
        assert (await first.call("GET", "/health", key=False))[0] == 200
        pair.world.standin.phone.incoming(phone=PHONE, from_=PERSON, body="meanwhile")
        await connection.execute(text("ROLLBACK"))
    await first.until(lambda: logs(first, "the database's lease is renewed again"))
    await pair.world.receiver.wait_for(
        "message_received", where=lambda it: it["message"]["body"] == "meanwhile"
    )
    code, sent = await first.send("s1", PERSON, "it goes on")
    assert code == 200, sent
    assert (await first.status("s1"))["worker_pid"] == reported["worker_pid"]
    assert await pair.epoch() == 1
    assert pair.doubled() == []


@pytest.mark.long
@short
async def test_one_that_is_started_while_the_database_is_away_adopts_when_it_is_back(
    pair: Pair,
) -> None:
    pair.configure({"WAGUARD_WORKER__ORPHAN_GRACE": "60"})
    first = pair.first
    await first.start()
    reported = await first.pair(pair.world.standin, "s1", PHONE)
    await first.stop(signal.SIGKILL)
    engine = create_async_engine(pair.url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text("BEGIN EXCLUSIVE"))
        await first.start(ready=False)
        await first.until(lambda: logs(first, "the database is not open; trying again"))
        await connection.execute(text("ROLLBACK"))
    await first.until(lambda: first.answers("/health/ready"))
    again = await first.wait_status("s1", "connected", lifecycle="running")
    assert again["worker_pid"] == reported["worker_pid"]
    assert await pair.epoch() == 2


@pytest.mark.long
@everywhere
async def test_a_holder_that_stood_still_finds_the_other_one_and_ends(pair: Pair) -> None:
    first, second = pair.first, pair.second
    await first.start()
    await first.pair(pair.world.standin, "s1", PHONE)
    await pair.receive("before")
    await pair.until_delivered()
    assert first.process
    first.process.send_signal(signal.SIGSTOP)
    try:
        await second.start(ready=False)
        await second.until(lambda: logs(second, "the database's lease is taken"))
        pair.world.standin.phone.incoming(phone=PHONE, from_=PERSON, body="meanwhile")
    finally:
        first.process.send_signal(signal.SIGCONT)
    assert await ended(first) == 3
    assert f"in {second.folder.resolve() / 'run'}" in explanation(first)
    # its browsers are gone, and the profiles free for the other one
    await second.wait_status("s1", "connected")
    await pair.world.receiver.wait_for(
        "message_received", where=lambda it: it["message"]["body"] == "meanwhile"
    )
    await pair.receive("after")
    assert pair.doubled() == []
    assert await pair.epoch() == 2


@pytest.mark.long
@short
async def test_who_waits_stops_when_asked_to(pair: Pair) -> None:
    pair.configure(SLOW)
    await pair.first.start()
    await pair.second.start(ready=False)
    await pair.second.until(lambda: logs(pair.second, "lease held"))
    assert await pair.second.stop() == 0
    assert await pair.epoch() == 1


@pytest.mark.long
@short
async def test_two_clones_end_with_one(pair: Pair) -> None:
    """The later one stays; the earlier one says what the two have in common."""
    first = pair.first
    await first.start()
    await pair.query("UPDATE waguard_lease SET epoch = epoch + 1, instance = 'clone'")
    assert await ended(first) == 3
    assert "same machine-id and runtime folder" in explanation(first)
