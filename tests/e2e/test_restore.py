"""A fleet that is saved under load, its host thrown away, and restored on another one: connected without a scan,
nothing twice, and what is lost is listed."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon, settings_for, short_folder

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(600),
]

PHONES: Final = {"s1": "6281180001", "s2": "6281180002"}
FRIENDS: Final = [f"62811900{number:02}" for number in range(20)]
EACH: Final = 0.01  # s between two messages to two sessions: 200 a second
BETWEEN: Final = 10
SNAPSHOT_WITHIN: Final = 150.0  # s: Chromium writes what it needs to connect 60 s late


async def waguard(settings: Mapping[str, str], folder: Path, *argv: str) -> Any:
    """What a command prints as JSON."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "waguard", *argv, "--json"),
        cwd=folder,
        env=os.environ | dict(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


class Traffic:
    """Messages in and out, while it lasts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.incoming: list[str] = []
        self.outgoing: list[str] = []

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def write(self, text: str, session: str, friend: str) -> None:
        self.incoming.append(text)
        self.world.standin.phone.incoming(phone=PHONES[session], from_=friend, body=text)

    async def _receive(self) -> None:
        number = 0
        while True:
            for session in PHONES:
                self.write(f"in {session} {number}", session, FRIENDS[number % len(FRIENDS)])
            number += 1
            await asyncio.sleep(EACH)  # people write as fast as that

    async def _send(self) -> None:
        number = 0
        while True:
            self.outgoing.append(f"out {number}")
            await self.world.daemon.send("s1", FRIENDS[number % 3], f"out {number}")
            number += 1

    def at_the_server(self) -> Counter[str]:
        """How often WhatsApp's server has each that was sent."""
        bodies = (it.get("body") for it in self.world.standin.phone.messages(PHONES["s1"]))
        return Counter(body for body in bodies if body and body.startswith("out "))


def received(world: World) -> Counter[str]:
    """How often the application got each, but for what is marked."""
    found = (it["data"] for it in world.receiver.received if it["event"] == "message_received")
    return Counter(it["message"]["body"] for it in found if not it.get("restored"))


def waiting(daemon: Daemon) -> set[str]:
    """The texts of what may have been delivered before the restore."""
    with contextlib.closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
        query = "SELECT body FROM waguard_deliveries WHERE cause = 'restored'"
        rows = database.execute(query).fetchall()
    return {json.loads(body)["data"].get("message", {}).get("body") for (body,) in rows}


async def test_a_host_thrown_away_under_load(world: World) -> None:
    old, traffic = world.daemon, Traffic(world)
    await old.start()
    for session, phone in PHONES.items():
        await old.pair(world.standin, session, phone)

    async def saved() -> Any:
        made = await waguard(old.settings, old.folder, "backup", ".")
        return all(it["snapshot"] for it in made["sessions"])

    await old.until(saved, deadline=SNAPSHOT_WITHIN)
    async with traffic.flowing():
        await old.until(lambda: _after(len(traffic.incoming) > 100 and len(received(world)) > 50))
        backup = await waguard(old.settings, old.folder, "backup", ".")
    traffic.write("since", "s2", FRIENDS[0])
    await old.until(lambda: _after(received(world).keys() >= set(traffic.incoming)))
    await old.until_delivered()
    before = received(world)
    assert max(before.values()) == 1
    await _die(old)
    between = {f"between {number}" for number in range(BETWEEN)}
    for number, text in enumerate(sorted(between)):  # nobody can know whether the old host got them
        traffic.write(text, "s2", FRIENDS[number])

    with short_folder() as folder:
        hook = old.settings["WAGUARD_WEBHOOK__URL"]
        settings = settings_for(world.standin, hook, folder)
        file = str(shutil.copy(old.folder / Path(backup["file"]).name, folder / "backup.tar"))
        for place in ("state", "sessions", "run"):
            shutil.rmtree(old.folder / place)
        done = await waguard(settings, folder, "restore", file, "--old-host-is-dead")
        assert done["restored"] == ["s1", "s2"]
        assert any("received and changed since" in line for line in done["lost"])
        async with Daemon(folder, settings) as new:
            await new.start()
            for session in PHONES:
                await new.wait_status(session, "connected")
            await new.until(lambda: _after(waiting(new) >= between))
            traffic.write("new", "s1", FRIENDS[0])
            await new.until(lambda: _after(received(world)["new"] == 1))
            assert received(world) == before | Counter(["new"])
            assert waiting(new) <= set(traffic.incoming)
            assert set(traffic.at_the_server().values()) == {1}
            await _release(new)
            marked = await new.until(lambda: _after(_marked(world) >= between))
            assert marked
            assert received(world) == before | Counter(["new"])


async def _after(value: Any) -> Any:
    return value


def _marked(world: World) -> set[str]:
    found = (it["data"] for it in world.receiver.received if it["event"] == "message_received")
    return {it["message"]["body"] for it in found if it.get("restored")}


async def _die(daemon: Daemon) -> None:
    """As a host dies: all at once."""
    workers = [(await daemon.status(session))["worker_pid"] for session in PHONES]
    await daemon.stop(signal.SIGKILL)
    for pid in workers:
        os.killpg(pid, signal.SIGKILL)

    async def gone() -> bool:
        return not daemon.left_behind()

    await daemon.until(gone)


async def _release(daemon: Daemon) -> None:
    async def types() -> set[str]:
        _, health = await daemon.call("GET", "/health/detailed")
        return {it["type"] for it in health["conditions"]}

    wanted = {"ratchets_rolled_back", "letters_restored"}

    async def shown() -> bool:
        return wanted <= await types()

    await daemon.until(shown)
    code, answer = await daemon.call("POST", "/api/restored/groups/release")
    assert (code, answer["released"]) == (200, len(PHONES))
    code, answer = await daemon.call("POST", "/api/restored/webhooks/release")
    assert (code, answer["replayed"] >= BETWEEN) == (200, True)

    async def over() -> bool:
        return not wanted & await types()

    await daemon.until(over)
