"""What waited over a night, delivered: seconds, order, memory.

    python -m bench.night [--messages N] [--chats N] [--delay S] [--stored]

Messages of one session wait in many chats, the receiver answers each request after ``--delay`` seconds. Without
``--stored`` one message of a session is at the receiver at a time. With it the receiver writes a row for each
into its table, which waguard looks up (``webhook.stored``), and eight are. The receiver is a process of its own.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web
from loguru import logger

from tests.messaging.gateway import Gateway, gateway
from tests.messaging.receiver import event
from tests.store.application import SqlApplication
from tests.store.tables import CHATS
from waguard.core.webhooks.session_gate import Connection

SESSION = "a"
ROW = (
    "INSERT INTO chats (workspace_id, whatsapp_account_id, whatsapp_message_id, contact_id, type, metadata)"
    " SELECT 1, id, ?, 1, 'inbound', '' FROM whatsapp_accounts"
)
LIMIT = 900.0  # s


async def receive(database: str, delay: float) -> None:
    """Take all until told to end. The first line is its port, the last says what came."""
    numbers = dict[str, list[int]]()
    rows = sqlite3.connect(database, timeout=30.0, isolation_level=None) if database else None

    async def handle(request: web.Request) -> web.Response:
        data = json.loads(await request.read())["data"]
        await asyncio.sleep(delay)
        _, chat, number = data["message"]["id"].split("_")
        numbers.setdefault(chat, []).append(int(number))
        if rows:
            rows.execute(ROW, (data["message"]["id"],))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
    every = [it for those in numbers.values() for it in those]
    overtaken = sum(a > b for those in numbers.values() for a, b in itertools.pairwise(those))
    said = {"taken": len(every), "repeated": len(every) - len(set(every)), "overtaken": overtaken}
    print(json.dumps(said), flush=True)


@contextlib.asynccontextmanager
async def receiver(database: Path | None, delay: float) -> AsyncIterator[str]:
    """Its address; what came is printed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "bench.night",
            "--receive",
            str(database or ""),
            "--delay",
            str(delay),
        ),
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
        print((await process.stdout.read()).decode().strip())
        await process.wait()


async def wait(it: Gateway, messages: int, chats: int) -> None:
    """Have them wait for their session."""
    it.connections[SESSION] = Connection(why_not="it is not connected")
    for first in range(0, messages, 500):
        some = range(first, min(first + 500, messages))
        await it.stored(*(message(number, chats) for number in some))


def message(number: int, chats: int) -> Any:
    """A text of usual length."""
    payload = {"id": f"false_62811{number % chats:05}@c.us_{number}", "body": "a few words " * 8}
    return event(number, session=SESSION, message=payload)


async def night(folder: Path, given: argparse.Namespace) -> None:
    """One run."""
    path = folder / "w.db"
    process, most = psutil.Process(), 0
    settings: dict[str, Any] = {"stored": "chats.whatsapp_message_id"} if given.stored else {}
    async with (
        receiver(path if given.stored else None, given.delay) as url,
        gateway(folder, url, policy=None, **settings) as it,
    ):
        application = SqlApplication(f"sqlite+aiosqlite:///{path}")
        if given.stored:
            await application.run(*CHATS["sqlite"])
            await application.insert(SESSION, 1, status="connected", phone_number="4917")
        await wait(it, given.messages, given.chats)
        before, began, cpu = process.memory_info().rss, time.perf_counter(), time.process_time()
        del it.connections[SESSION]
        it.webhooks.check()
        draining = asyncio.create_task(it.webhooks.drain(LIMIT))
        while not draining.done():
            most = max(most, process.memory_info().rss)
            await asyncio.wait([draining], timeout=0.2)
        assert await draining
        took, used = time.perf_counter() - began, time.process_time() - cpu
    print(
        f"{given.messages} in {given.chats} chats, {given.delay * 1000:g} ms each: {took:.1f} s,"
        f" {1000 * used / given.messages:.2f} ms of a core a message, {before >> 20} → {most >> 20} MB"
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--chats", type=int, default=200)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--receive", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.receive is not None:
        asyncio.run(receive(given.receive, given.delay))
        return
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    with tempfile.TemporaryDirectory(prefix="wg-night-", dir=Path.cwd()) as folder:
        asyncio.run(night(Path(folder), given))


if __name__ == "__main__":
    main()
