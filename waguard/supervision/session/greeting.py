"""Living workers of an earlier daemon that nobody serves yet: the database is away, or they are of
another version and wait to be replaced.

A worker without a daemon ends after ``worker.orphan_grace``. One that is greeted goes on, and keeps
what it reports: nothing is stored yet, and so nothing is acknowledged. It is greeted in its own
protocol, of which no more than this is assumed: a hello keeps it, and what it says has a frame.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from loguru import logger

from waguard.errors import WaguardError
from waguard.ports.process import Process
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.worker_link import connected
from waguard.wire.channel import Channel
from waguard.wire.protocol import PROTOCOL, Hello, Lend
from waguard.wire.stable import StableHeartbeat, StableReport, understood
from waguard.wire.worker import WorkerRecord, WorkerSpec

Heard = Callable[[StableReport | StableHeartbeat], None]


class Lending:
    """What a host's lease lends to workers that are only greeted. Those of another protocol are lent nothing further:
    they end in order, and what replaces them is lent its own time."""

    def __init__(self) -> None:
        self._until: float | None = None
        self._channels: set[Channel[Any]] = set()

    def lend(self, until: float) -> None:
        """They may live until then, seconds by CLOCK_BOOTTIME; so may those that are greeted later."""
        self._until = until
        for channel in self._channels:
            channel.post(Lend(until=until))

    @contextmanager
    def to(self, channel: Channel[Any]) -> Iterator[None]:
        """Lend to one that was just greeted, while it is connected."""
        if self._until is not None:
            channel.post(Lend(until=self._until))
        self._channels.add(channel)
        try:
            yield
        finally:
            self._channels.discard(channel)


@asynccontextmanager
async def greeted(
    records: Iterable[WorkerRecord],
    *,
    instance: str,
    after: float,
    again: float,
    heard: Heard = lambda _: None,
    lends: bool = False,
    lending: Lending | None = None,
) -> AsyncIterator[None]:
    """Be their daemon inside; ``heard`` gets what is understood of any protocol. ``after``,
    ``again``: see ``Timings.greet_after``. ``lends``: what an earlier daemon lent them is not over, for those of this
    protocol. ``lending``: it is over when that says so, for all."""
    tasks = [
        asyncio.create_task(
            _greet(record, instance, heard, after=after, again=again, lends=lends, lending=lending),
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


def own_greeting(ctx: SessionContext, spec: WorkerSpec | WorkerRecord, slot: int | None) -> Hello:
    """The hello of the daemon that serves the session."""
    return Hello(
        protocol=PROTOCOL,
        instance=ctx.instance,
        session=spec.session,
        generation=spec.generation,
        lends=ctx.lent_until() is not None,
        slot=slot,
        grants=True,
    )


async def greeted_to_the_end(
    ctx: SessionContext, record: WorkerRecord, process: Process, heard: Heard
) -> None:
    """Be the daemon of one until it ends; see ``greeted``. In a cluster that is soon, with what was lent to it."""
    lending = Lending() if ctx.ownership else None
    instance, again = ctx.instance, ctx.timings.greet_again
    async with greeted(
        [record], instance=instance, after=0.0, again=again, heard=heard, lending=lending
    ):
        await process.wait()


async def _greet(
    record: WorkerRecord,
    instance: str,
    heard: Heard,
    *,
    after: float,
    again: float,
    lends: bool,
    lending: Lending | None,
) -> None:
    is_ours = record.protocol == PROTOCOL
    hello = Hello(
        protocol=record.protocol,
        instance=instance,
        session=record.session,
        generation=record.generation,
        lends=lending is not None or (lends and is_ours),
        grants=True,  # with a start slot, when the session is known
    )
    await asyncio.sleep(after)
    while True:
        with suppress(WaguardError, EOFError):  # it may be ending, or about to listen again
            channel: Channel[Any] = await connected(Path(record.socket), hello, Any)
            logger.info(
                "worker greeted", event="worker_greeted", session=record.session, worker=record.pid
            )
            lent = lending.to(channel) if lending and is_ours else nullcontext()
            try:
                with lent:
                    await _hear(channel, heard)
            finally:
                channel.close()
        await asyncio.sleep(again)


async def _hear(channel: Channel[Any], heard: Heard) -> None:
    while True:
        if message := understood(await channel.receive()):
            heard(message)
