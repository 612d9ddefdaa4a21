"""Living workers of an earlier daemon that nobody serves yet: the database is away, or they are of
another version and wait to be replaced.

A worker without a daemon ends after ``worker.orphan_grace``. One that is greeted goes on, and keeps
what it reports: nothing is stored yet, and so nothing is acknowledged. It is greeted in its own
protocol, of which no more than this is assumed: a hello keeps it, and what it says has a frame.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.errors import WaguardError
from waguard.supervision.worker_link import WorkerLink
from waguard.wire.protocol import Hello, WorkerRecord

AFTER: Final = 0.5  # s; a database that answers has said by then whose they are
AGAIN: Final = 1.0  # s


@asynccontextmanager
async def greeted(records: Iterable[WorkerRecord], *, instance: str) -> AsyncIterator[None]:
    """Be their daemon inside."""
    tasks = [
        asyncio.create_task(_greet(record, instance), name=f"greet {record.session}")
        for record in records
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _greet(record: WorkerRecord, instance: str) -> None:
    hello = Hello(
        protocol=record.protocol,
        instance=instance,
        session=record.session,
        generation=record.generation,
    )
    await asyncio.sleep(AFTER)
    while True:
        with suppress(WaguardError):  # it may be ending, or about to listen again
            link = await WorkerLink.connect(Path(record.socket), hello, lambda _: None)
            logger.info("worker greeted", session=record.session, worker=record.pid)
            try:
                await link.listen()
            finally:
                link.close()
        await asyncio.sleep(AGAIN)
