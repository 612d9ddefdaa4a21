"""Living workers of an earlier daemon that nobody serves yet: the database is away, or they are of
another version and wait to be replaced.

A worker without a daemon ends after ``worker.orphan_grace``. One that is greeted goes on, and keeps
what it reports: nothing is stored yet, and so nothing is acknowledged. It is greeted in its own
protocol, of which no more than this is assumed: a hello keeps it, and what it says has a frame.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from loguru import logger

from waguard.errors import WaguardError
from waguard.ports.process import Process
from waguard.supervision.session.worker_link import connected
from waguard.wire.channel import Channel
from waguard.wire.protocol import PROTOCOL, Hello
from waguard.wire.stable import StableHeartbeat, StableReport, understood
from waguard.wire.worker import WorkerRecord

Heard = Callable[[StableReport | StableHeartbeat], None]


@asynccontextmanager
async def greeted(
    records: Iterable[WorkerRecord],
    *,
    instance: str,
    after: float,
    again: float,
    heard: Heard = lambda _: None,
    lends: bool = False,
) -> AsyncIterator[None]:
    """Be their daemon inside; ``heard`` gets what is understood of any protocol. ``after``,
    ``again``: see ``Timings.greet_after``. ``lends``: what an earlier daemon lent them is not over, for those of this
    protocol."""
    tasks = [
        asyncio.create_task(
            _greet(record, instance, heard, after=after, again=again, lends=lends),
            name=f"greet {record.session}",
        )
        for record in records
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def greeted_to_the_end(
    record: WorkerRecord, process: Process, *, instance: str, again: float, heard: Heard
) -> None:
    """Be the daemon of one until it ends; see ``greeted``."""
    async with greeted([record], instance=instance, after=0.0, again=again, heard=heard):
        await process.wait()


async def _greet(
    record: WorkerRecord,
    instance: str,
    heard: Heard,
    *,
    after: float,
    again: float,
    lends: bool,
) -> None:
    hello = Hello(
        protocol=record.protocol,
        instance=instance,
        session=record.session,
        generation=record.generation,
        lends=lends and record.protocol == PROTOCOL,
        grants=True,  # with a start slot, when the session is known
    )
    await asyncio.sleep(after)
    while True:
        with suppress(WaguardError, EOFError):  # it may be ending, or about to listen again
            channel: Channel[Any] = await connected(Path(record.socket), hello, Any)
            logger.info(
                "worker greeted", event="worker_greeted", session=record.session, worker=record.pid
            )
            try:
                while True:
                    if message := understood(await channel.receive()):
                        heard(message)
            finally:
                channel.close()
        await asyncio.sleep(again)
