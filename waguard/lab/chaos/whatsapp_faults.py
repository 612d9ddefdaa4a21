"""What WhatsApp, or the way to it, does, as ``faults.py`` has it."""

import random
import signal
import time
from typing import Final

from waguard.core.replace import replace
from waguard.core.session.page_load import FIRST_PAUSE
from waguard.lab.chaos.harming import (
    OUTAGE,
    REFUSED_WITHIN,
    Fault,
    endure,
    hurt,
    living,
    restarts,
    running,
    unique,
)
from waguard.lab.chaos.invariants import Facts, Harm
from waguard.lab.chaos.world import World, until
from waguard.lab.standin.server import RETRY_AFTER

SLOW: Final = 2.5  # s that the page's modules are late; wa-js itself waits for one
SAID_WITHIN: Final = 90.0  # s; a page is waited for 30 s, after its browser has started
# s for which WhatsApp is left alone, or half as long again: a server that answers 429 asks for more
PAUSES: Final = {"error": FIRST_PAUSE, "hang": FIRST_PAUSE, "too_often": float(RETRY_AFTER)}
LOADED_WITHIN: Final = 30.0  # s, after the pause


async def drop_socket(world: World, session: str, _: random.Random) -> Harm:
    """The page loses its connection, and gets none for seconds."""
    began, kept = time.time(), await living(world)
    world.standin.phone.drop(world.phones[session], seconds=OUTAGE)
    arrived = world.incoming(session, unique("while offline"))

    async def offline() -> bool:
        return (await world.reported(session)).link != "connected"

    await until(offline, f"{session} is seen offline", within=REFUSED_WITHIN)
    return Harm(began=began, hurt=frozenset({session}), kept=kept, arrived=(arrived,))


async def unlink(world: World, session: str, _: random.Random) -> Harm:
    """The person removes the device on the phone, and scans the new code."""
    began = time.time()
    world.standin.phone.unlink(world.phones[session])

    async def shown() -> bool:
        return "unlinked" in (await world.reported(session)).conditions

    await until(shown, f"{session} is shown as unlinked", within=REFUSED_WITHIN)
    return Harm(began=began, hurt=frozenset({session}), may_scan=frozenset({session}))


async def slow_modules(world: World, session: str, chance: random.Random) -> Harm:
    """A cold load: after a crash the page's modules are late, nearly all or just some of them."""
    part = chance.choice(["core", "rest"])
    world.standin.policy.update({"slow_modules": SLOW, "slow_part": part})  # until it has healed
    return await hurt(world, session, signal.SIGKILL, browser=True)


async def page_refused(world: World, session: str, chance: random.Random) -> Harm:
    """WhatsApp answers with 500 or 429, when a worker that was killed wants its page."""
    return await _without_page(world, session, chance.choice(["error", "too_often"]))


async def page_hangs(world: World, session: str, _: random.Random) -> Harm:
    """WhatsApp does not answer at all."""
    return await _without_page(world, session, "hang")


async def _without_page(world: World, session: str, page: str) -> Harm:
    await running(world, session)
    spent = {**await restarts(world)}
    spent[session] += 1  # the kill itself
    world.standin.policy.update({"page": page})
    harm = await hurt(world, session, signal.SIGKILL, worker=True)
    pause = PAUSES[page]
    harm = replace(
        harm,
        restarts=spent,
        not_before=harm.began + pause,
        within=pause * 1.5 + LOADED_WITHIN,
    )

    def refused(facts: Facts) -> bool:
        return (
            facts.reported is not None and "whatsapp_refuses" in facts.reported[session].conditions
        )

    await endure(
        world,
        harm,
        shows=refused,
        what=f"{session} says that WhatsApp refuses",
        within=SAID_WITHIN,
        stays=OUTAGE,
    )
    world.standin.policy.update({"page": "ok"})
    return harm


ALL: Final[tuple[Fault, ...]] = (drop_socket, unlink, slow_modules, page_refused, page_hangs)
