"""What is pending for an endpoint, read from the database: of all partitions, and more of one."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from loguru import logger

from waguard.errors import WaguardError
from waguard.messaging.webhooks.delivery_context import DeliveryContext, QueueTasks
from waguard.messaging.webhooks.partitions import Partition, Partitions
from waguard.messaging.webhooks.ready_partitions import ReadyPartitions
from waguard.ports.webhooks import Pending

AT_ONCE: Final = 4  # partitions of which more is read at the same time


class PartitionReader:
    """Fills ``queue``; ``go_on`` gets each partition that has something to begin with, ``pump`` is called
    when something was read."""

    def __init__(
        self,
        endpoint: str,
        ctx: DeliveryContext,
        queue: Partitions,
        ready: ReadyPartitions,
        tasks: QueueTasks,
        *,
        go_on: Callable[[Partition], None],
        pump: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._ctx = ctx
        self._queue = queue
        self._ready = ready
        self._tasks = tasks
        self._go_on = go_on
        self._pump = pump
        self._tail = 0
        self._more = False
        self._loading = False
        self._early: list[Partition] | None = []
        """Messages that wait until all is read once: a session_ready may be among it."""
        self._reading_now = 0
        self._reading = asyncio.Semaphore(AT_ONCE)

    def poke(self) -> None:
        """The database has more."""
        self._more = True

    @property
    def unread(self) -> bool:
        """Whether the database may have partitions that are not known here."""
        return self._more or self._loading

    @property
    def busy(self) -> bool:
        """Whether anything is being read, or is to be."""
        return self.unread or self._reading_now > 0

    def read(self) -> None:
        """Begin to read what the database has more, unless that is begun."""
        if self._more and not self._loading and not self._tasks.closed:
            self._loading = True
            self._tasks.start(self._load, self._loaded)

    def read_on(self, partition: Partition) -> None:
        """Read what follows in a partition."""
        partition.busy = True
        self._reading_now += 1
        self._tasks.start(partial(self._read_partition, partition), self._pump)

    def defers(self, partition: Partition) -> bool:
        """Whether a message must wait until all is read once; then it is ready again."""
        if self._early is None:
            return False
        self._early.append(partition)
        return True

    async def _load(self) -> None:
        most = self._ctx.window.read
        while self._more and not self._tasks.closed:
            self._more = False  # what is written from now on says so again
            found = await self._read(after=self._tail, limit=most)
            if found is None:
                self._more = True
                continue
            for item in found:
                self._tail = item.id
                if partition := self._queue.admit(item):
                    self._go_on(partition)
            self._more = self._more or len(found) == most
            self._pump()

    def _loaded(self) -> None:
        self._loading = False
        early, self._early = self._early, None
        for partition in early or ():
            self._ready.add(partition)
        self._pump()

    async def _read_partition(self, partition: Partition) -> None:
        most = self._ctx.window.partition
        async with self._reading:
            found: list[Pending] | None = None
            while found is None and not self._tasks.closed:
                until = partition.newest
                found = await self._read(
                    after=partition.loaded, limit=most, partition=partition.key, until=until
                )
        partition.busy = False
        self._reading_now -= 1
        if found is not None and self._queue.fill(
            partition, found, until=until, whole=len(found) < most
        ):
            self._go_on(partition)

    async def _read(self, **which: object) -> list[Pending] | None:
        """None: it could not be read, and it is time to try again."""
        try:
            return await self._ctx.store.pending(self._endpoint, **which)  # type: ignore[arg-type]  # those of ``pending``
        except Exception as error:  # noqa: BLE001 - a queue that reads no more delivers no more
            if not isinstance(error, WaguardError):
                logger.exception("a bug in waguard", event="bug", endpoint=self._endpoint)
            await asyncio.sleep(self._ctx.retry)
            return None
