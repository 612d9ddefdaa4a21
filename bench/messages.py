"""Inbound events stored and delivered per second, against bare aiohttp to the same receiver.

    python bench/messages.py [--rounds N] [--events N]

The receiver is a process of its own and takes all. Workers are simulated: their events are handed
to the sessions as they come off the line. Floor and waguard take turns; both sign, both have eight
requests on their way at a time. A goal that is missed is said and is no failure.
"""

import argparse
import asyncio
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from loguru import logger

from waguard.config.sections import Config, Webhook
from waguard.core.fleet.network import Reading
from waguard.core.webhooks.delivery import OLD_SERVICE
from waguard.core.webhooks.session_gate import Connection
from waguard.core.webhooks.state import CONCURRENT
from waguard.host.clock import SystemClock
from waguard.host.files.media import MediaFolder
from waguard.host.memory.documents import Documents
from waguard.host.process.usage import Meter
from waguard.host.system import resources
from waguard.host.system.browsers import Browsers
from waguard.messaging.journal import Journal
from waguard.messaging.webhooks.signing import headers
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.ports.clock import WallAges
from waguard.store.sql import SqlStore
from waguard.supervision.event_bus import Bus
from waguard.supervision.proxy_records import ProxyRecords
from waguard.supervision.supervisor import Ports, Supervisor
from waguard.supervision.timings import Timings
from waguard.supervision.versions.decision import Packed
from waguard.wire.events import Event, InboundMessage

SESSIONS, CHATS = 4, 25
SECRET = b"a secret of the measurement"
GOAL_RATIO, GOAL_RATE = 0.70, 500.0


def message(number: int) -> InboundMessage:
    """A text of usual length."""
    chat = f"62811{number % CHATS:05}@c.us"
    return InboundMessage(
        id=f"false_{chat}_3EB0{number:018X}",
        chat=chat,
        sender=chat,
        to="6281180001@c.us",
        body=f"message {number}: " + "a few words of text " * 4,
        timestamp=1_732_240_000,
        from_me=False,
        kind="chat",
        sender_name="Ani",
    )


# ---- the receiver ----


async def receive() -> None:
    """Take all until told to end; its port is the first line that it prints."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[str]:
    """Its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--receive"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    port = int(await process.stdout.readline())
    try:
        yield f"http://127.0.0.1:{port}/hook"
    finally:
        process.stdin.close()
        await process.wait()


# ---- what is compared ----


async def floor(url: str, bodies: list[bytes]) -> float:
    """Seconds until the receiver has taken all, by nothing but aiohttp."""
    left = iter(bodies)
    async with aiohttp.ClientSession() as http:

        async def post() -> None:
            for body in left:
                signed = headers(
                    secrets=(SECRET,),
                    body=body,
                    timestamp=str(int(time.time())),
                    instance_url="http://127.0.0.1:3001",
                    event_id="0" * 32,
                )
                async with http.post(url, data=io.BytesIO(body), headers=signed) as response:
                    assert response.status == 200

        began = time.perf_counter()
        await asyncio.gather(*(post() for _ in range(CONCURRENT)))
        return time.perf_counter() - began


class Worker:
    """The worker's end of the line: counts what is acknowledged."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.all = asyncio.Event()

    def stored(self, seq: int) -> None:
        """See ``WorkerLink``."""
        del seq
        self._left -= 1
        if not self._left:
            self.all.set()


async def waguard(url: str, count: int, folder: Path) -> tuple[float, float]:
    """Seconds until all is stored and acknowledged, and until all is delivered."""
    config = Config(webhook=Webhook(url=url))
    store, clock = SqlStore(f"sqlite+aiosqlite:///{folder / 'waguard.db'}"), SystemClock()
    await store.open()
    media = MediaFolder(folder / "media")
    journal = Journal(store.messages, media, base="", for_global=lambda: OLD_SERVICE)
    webhooks = Webhooks(
        journal,
        lambda: config.webhook,
        (SECRET,),
        instance_url="http://127.0.0.1:3001",
        connection=lambda _: Connection(),
    )
    none: Any = None
    supervisor = Supervisor(
        lambda: config,
        Ports(
            store=store,
            inbox=journal,
            messages=store.messages,
            spawn=none,
            documents=Documents(folder / "versions"),
            clock=clock,
            ages=WallAges(clock.wall),
            meter=Meter(),
            witness=none,
            browsers=Browsers(lambda: config, folder),
            proxies=ProxyRecords(lambda: folder, store.proxies),
            host=lambda _: resources.read(),
            network=Reading,
            abandon=none,
            cpu_is_saturated=lambda: False,
            remembered=dict,
        ),
        Bus(clock),
        instance="bench",
        packed=Packed("0" * 64, "4.6.0"),
        timings=Timings(),
    )
    async with journal, webhooks:
        sessions = []
        # in the place of connections
        workers: list[Any] = [Worker(count // SESSIONS) for _ in range(SESSIONS)]
        for number in range(SESSIONS):
            row = await store.create(f"s{number}", 1, account_id=None, priority=0)
            sessions.append(supervisor.registry.add(row))
        assert await webhooks.drain(10.0)
        began = time.perf_counter()
        for number in range(count):
            event = Event(seq=number, at=1_732_240_000.0, body=message(number))
            place = number % SESSIONS
            sessions[place].traffic.intake.handle(event, workers[place])
        await asyncio.gather(*(worker.all.wait() for worker in workers))
        stored = time.perf_counter() - began
        assert await webhooks.drain(300.0)
        delivered = time.perf_counter() - began
        await supervisor.stop()
    await store.close()
    return stored, delivered


async def measure(rounds: int, count: int) -> None:
    """The table."""
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    bodies = [b"%d" % number + b" " * 500 for number in range(count)]
    floors, stores, deliveries = [], [], []
    async with receiver() as url:
        await floor(url, bodies[:200])
        for _ in range(rounds):
            floors.append(count / await floor(url, bodies))
            with tempfile.TemporaryDirectory(prefix="wg-bench-", dir=Path.cwd()) as folder:
                stored, delivered = await waguard(url, count, Path(folder))
            stores.append(count / stored)
            deliveries.append(count / delivered)
    bare, kept, reported = map(statistics.median, (floors, stores, deliveries))
    print(f"{count} events, {SESSIONS} sessions with {CHATS} chats each, SQLite with fsync")
    print(f"floor, delivered/s:      {_spread(floors)}")
    print(f"waguard, stored/s:       {_spread(stores)}")
    print(f"waguard, delivered/s:    {_spread(deliveries)}")
    print(f"stored ≥ {GOAL_RATE:g}/s: {'yes' if kept >= GOAL_RATE else 'no'}")
    print(f"delivered ≥ {GOAL_RATE:g}/s: {'yes' if reported >= GOAL_RATE else 'no'}")
    reached = reported / bare
    print(
        f"≥ {GOAL_RATIO:.0%} of the floor: {reached:.0%}, {'yes' if reached >= GOAL_RATIO else 'no'}"
    )


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}…{max(values):.0f})"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=3_000)
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(receive() if given.receive else measure(given.rounds, given.events))


if __name__ == "__main__":
    main()
