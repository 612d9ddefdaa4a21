"""A new build of WhatsApp Web, as ``faults.py`` has it: all get it at once, and nobody is there.

It is over, and all well, when the version was left, its incident names it, and a later good one is taken.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from waguard.errors import WaguardError
from waguard.lab.chaos.harming import Fault, restarts, unique
from waguard.lab.chaos.invariants import Harm
from waguard.lab.chaos.world import World, until
from waguard.lab.standin.versions import Way

RULES: Final = {
    "GOOD_AFTER": "1",
    "WELL_FOR": "1",
    "TRIAL_LIMIT": "120",
    "PAUSE": "2",
    "CANARY_AFTER": "8",
    "CANARY_FOR": "1",
}
"""Settings of ``[versions]``: what takes minutes and hours takes seconds."""
EVERY: Final = 0.5  # s between two messages of a session
PROVEN_WITHIN: Final = 90.0  # s
LEFT_WITHIN: Final = (
    300.0  # s; a page that is never ready is waited for 50 s, and three of them have to be
)
TAKEN_WITHIN: Final = 180.0  # s; two canaries


async def new_version_breaks_sends(world: World, _s: str, _c: random.Random) -> Harm:
    """The page throws at each send; no session is parked, and no restart counted."""
    return await _broken(world, "convention", {**await restarts(world)})


async def new_version_lacks_exports(world: World, _s: str, _c: random.Random) -> Harm:
    """wa-js does not find what sends a message."""
    return await _broken(world, "renamed", None)


async def new_version_is_never_ready(world: World, _: str, chance: random.Random) -> Harm:
    """The page loads, and never becomes ready or reports its state."""
    way: Way = chance.choice(["never_ready", "unregistered", "throws"])
    return await _broken(world, way, None)


async def pinned_version_too_old(world: World, _s: str, _c: random.Random) -> Harm:
    """WhatsApp refuses what an operator pinned; nobody has seen the version that it serves."""
    began, revision = time.time(), await _proven(world)
    await world.call("POST", "/api/versions/pin", {"revision": revision})
    await _on(world, revision, "store")
    newer = world.standin.phone.releases.publish()["revision"]
    world.standin.phone.releases.refuse(newer)
    await _on(world, newer, "network", by_itself=True)
    return Harm(began=began)


async def _broken(world: World, way: Way, spent: dict[str, int] | None) -> Harm:
    await _proven(world)
    began, releases = time.time(), world.standin.phone.releases
    bad = releases.publish(way=way)["revision"]
    for phone in world.phones.values():
        world.standin.phone.reload(phone)
    async with _writing(world):
        await until(lambda: _stands(world, bad, "held"), f"{bad} is held back", within=LEFT_WITHIN)
    releases.publish()
    world.meanwhile.append(asyncio.create_task(_write_until_released(world)))
    return Harm(
        began=began,
        fleet=f"WhatsApp Web {bad} breaks sessions: ",
        restarts=spent,
        within=TAKEN_WITHIN,
    )


async def _proven(world: World) -> int:
    """All have what the network serves, and waguard knows that it works. Its revision."""
    revision = world.standin.whatsapp.versions.served().number
    await _on(world, revision, "network")
    async with _writing(world):
        await until(
            lambda: _stands(world, revision, "good"), f"{revision} is good", within=PROVEN_WITHIN
        )
    return revision


async def _on(world: World, revision: int, served_by: str, *, by_itself: bool = False) -> None:
    """All sessions are connected with it; unless that comes ``by_itself`` they get another worker."""
    asked: set[str] = set()

    async def all_on() -> bool:
        missing = 0
        for session in world.sessions:
            view = await world.call("GET", f"/api/sessions/{session}/status")
            version = view["version"] or {}
            if (version.get("page"), version.get("served_by")) == (revision, served_by):
                missing += view["link"] != "connected"
                continue
            missing += 1
            if not by_itself and view["link"] == "connected" and session not in asked:
                asked.add(session)
                await world.call("POST", f"/api/sessions/{session}/reconnect", {})
        return not missing

    await until(all_on, f"all have {revision} from the {served_by}", within=PROVEN_WITHIN)


async def _stands(world: World, revision: int, state: str) -> bool:
    rows: list[dict[str, Any]] = (await world.call("GET", "/api/versions"))["versions"]
    return any((one["revision"], one["status"]) == (revision, state) for one in rows)


async def _write_until_released(world: World) -> None:
    """Raises ``NotInTimeError``."""

    async def released() -> bool:
        return (await world.call("GET", "/api/versions"))["held_from"] is None

    async with _writing(world):
        await until(released, "the later version is taken", within=TAKEN_WITHIN)


@contextlib.asynccontextmanager
async def _writing(world: World) -> AsyncIterator[None]:
    """All sessions write to a friend meanwhile, whatever becomes of it."""

    async def write(session: str) -> None:
        while True:
            with contextlib.suppress(WaguardError):
                await world.send(session, unique("a new version"))
            await asyncio.sleep(EVERY)

    tasks = [asyncio.create_task(write(session)) for session in world.sessions]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


ALL: Final[tuple[Fault, ...]] = (
    new_version_breaks_sends,
    new_version_lacks_exports,
    new_version_is_never_ready,
    pinned_version_too_old,
)
