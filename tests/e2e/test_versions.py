"""A new build of WhatsApp Web breaks what drives it, at an hour at which nobody is there."""

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.conftest import World
from waguard.lab.standin.versions import REVISION, Way

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(600)]

FRIEND = "6281190001"
HEALED = 240.0  # s; on a quiet machine it is a sixth of that
EVERY = 0.5  # s between two messages of a session
RULES = {
    "GOOD_AFTER": "1",
    "WELL_FOR": "1",
    "TRIAL_LIMIT": "120",
    "PAUSE": "2",
    "CANARY_AFTER": "8",
    "CANARY_FOR": "1",
}


@dataclass
class Traffic:
    """All sessions write to a friend, again and again, whatever becomes of it."""

    world: World
    sessions: Collection[str]
    acknowledged: dict[str, float] = field(default_factory=dict)
    """By session: when a send of the page that it has now was last acknowledged."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for session in self.sessions:
                group.create_task(self._write(session))

    async def _write(self, session: str) -> None:
        for number in itertools.count():
            code, _ = await self.world.daemon.send(session, FRIEND, f"{session} {number}")
            if code == 200:
                self.acknowledged[session] = asyncio.get_running_loop().time()
            await asyncio.sleep(EVERY)


@contextlib.asynccontextmanager
async def fleet(world: World, count: int, **rules: str) -> AsyncIterator[Traffic]:
    """So many sessions, with the first build proven, and their traffic."""
    world.daemon.settings = {**world.daemon.settings, "WAGUARD_LOG__LEVEL": "INFO"}
    named = {f"WAGUARD_VERSIONS__{name}": value for name, value in (RULES | rules).items()}
    world.daemon.settings = {**world.daemon.settings, **named}
    await world.daemon.start()
    phones = {f"s{n}": f"628118000{n}" for n in range(1, count + 1)}
    for session, phone in phones.items():
        await world.daemon.pair(world.standin, session, phone)
    traffic = Traffic(world, phones)
    task = asyncio.create_task(traffic.run())
    try:
        await world.daemon.until(lambda: stands(world, REVISION, "good"))
        yield traffic
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def versions(world: World) -> dict[str, Any]:
    code, reported = await world.daemon.call("GET", "/api/versions")
    assert code == 200, reported
    found: dict[str, Any] = reported
    return found


async def stands(world: World, revision: int, *standings: str) -> bool:
    """Whether this version is one of those."""
    rows = (await versions(world))["versions"]
    return any(one["revision"] == revision and one["status"] in standings for one in rows)


async def at_three(world: World) -> None:
    """WhatsApp has all pages load themselves anew."""
    for phone in world.standin.whatsapp.devices:
        world.standin.phone.reload(phone)


async def restarted(traffic: Traffic, *, but: int) -> None:
    """Those that have another version than this one get another worker."""
    daemon = traffic.world.daemon
    for session in traffic.sessions:
        if (await daemon.status(session))["version"]["page"] != but:
            code, reported = await daemon.call("POST", f"/api/sessions/{session}/reconnect", {})
            assert code == 200, reported


async def well(traffic: Traffic, *revisions: int) -> None:
    """Wait until all are connected with one of these, and WhatsApp takes what they send."""
    daemon = traffic.world.daemon
    began = asyncio.get_running_loop().time()

    async def all_well() -> bool:
        for session in traffic.sessions:
            reported = await daemon.status(session)
            page = (reported["version"] or {}).get("page")
            if (reported["status"], reported["conditions"]) != (
                "connected",
                [],
            ) or page not in revisions:
                return False
        return True

    async def acknowledged() -> bool:
        if not await all_well():
            return False
        since = asyncio.get_running_loop().time()
        while not all(traffic.acknowledged.get(one, began) > since for one in traffic.sessions):
            if not await all_well():
                return False
            await asyncio.sleep(EVERY)
        return True

    await daemon.until(acknowledged, deadline=HEALED)


async def why(world: World, *arguments: str) -> str:
    """What ``waguard why`` says."""
    command = [sys.executable, "-P", "-m", "waguard", "why", *arguments]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=world.daemon.folder,
        env={**os.environ, **world.daemon.settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.long
async def test_a_new_version_breaks_the_sends_of_all_and_nobody_is_there(world: World) -> None:
    phone = world.standin.phone
    async with fleet(world, 4) as traffic:
        bad = phone.releases.publish(way="convention")["revision"]
        await at_three(world)
        await world.daemon.until(lambda: stands(world, bad, "held"), deadline=HEALED)
        better = phone.releases.publish()["revision"]  # before a canary tries the bad one again
        await well(traffic, REVISION, better)
        reported = await why(world)
        assert f"Cause: WhatsApp Web {bad} breaks sessions: its page throws at sends" in reported
        assert f"all sessions get version {REVISION}" in reported
        assert f"Done: WhatsApp Web {bad} is suspected" in reported

        # a later good one is taken, by two canaries first; the others get it at their next load
        async def released() -> bool:
            return (await versions(world))["held_from"] is None

        await world.daemon.until(released, deadline=HEALED)
        await restarted(traffic, but=better)
        await well(traffic, better)
        assert f"WhatsApp Web {better} works, as canaries showed" in await why(world)

        # a pin is left when WhatsApp refuses what is pinned
        code, answer = await world.daemon.call("POST", "/api/versions/pin", {"revision": REVISION})
        assert code == 200, answer
        await restarted(traffic, but=REVISION)
        await well(traffic, REVISION)
        phone.releases.refuse(better)
        await well(traffic, better)
        assert (await versions(world))["pinned"] is None
        newest = phone.releases.publish()["revision"]  # nobody has seen it
        phone.releases.refuse(newest)
        await well(traffic, newest)
        assert f"WhatsApp refuses WhatsApp Web {REVISION} as too old" in await why(world)
        assert world.receiver.count("qr_code_generated") == len(traffic.sessions), "nobody scanned"


@pytest.mark.long
@pytest.mark.parametrize("way", ["renamed", "unacked"])
async def test_a_part_of_the_accounts_is_enough(world: World, way: Way) -> None:
    settings = {"WAGUARD_SEND__TIMEOUT": "2", "WAGUARD_SEND__ACK_LIMIT": "4"}
    world.daemon.settings = {**world.daemon.settings, **settings}
    async with fleet(world, 4):
        hurt = ("6281180001", "6281180002")
        bad = world.standin.phone.releases.publish(way=way, broken_for=hurt)["revision"]
        await at_three(world)
        await world.daemon.until(lambda: stands(world, bad, "held"), deadline=HEALED)
        for session in ("s1", "s2"):

            async def cured(session: str = session) -> bool:
                reported = await world.daemon.status(session)
                version = reported["version"] or {}  # None: no page is there
                return (reported["status"], version.get("page")) == ("connected", REVISION)

            await world.daemon.until(cured, deadline=HEALED)


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("way", ["reloads", "spins"])
async def test_a_build_whose_pages_do_not_stay_is_left(world: World, way: Way) -> None:
    """Its script is ended after 15 s, three times with each of two sessions, and once more each."""
    async with fleet(world, 3) as traffic:
        bad = world.standin.phone.releases.publish(way=way)["revision"]
        await at_three(world)
        await world.daemon.until(lambda: stands(world, bad, "held"), deadline=2 * HEALED)

        async def all_older() -> bool:
            reported = [await world.daemon.status(session) for session in traffic.sessions]
            found = {(it["status"], (it["version"] or {}).get("page")) for it in reported}
            return found == {("connected", REVISION)}

        await world.daemon.until(all_older, deadline=HEALED)
        words = (
            f"WhatsApp Web {bad} breaks sessions: its page never becomes ready, or does not stay"
        )
        assert words in await why(world)
