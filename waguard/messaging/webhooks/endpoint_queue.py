"""The deliveries to one endpoint: in order per partition, a few at a time, behind one circuit.

Theory of operation: a partition delivers its first and nothing else, so nothing is overtaken and no event
is in flight twice. Partitions alternate: the newest, the oldest, one that has failed before, so that
what the receiver cannot digest is neither the only probe nor the only one tried. A received message
waits (is *held*) while the application would drop it: until its session is connected, and the
receiver knows that. A delivery that was taken is gone from the database before the next one of its
partition begins, and few are taken without being saved: a crash repeats at most those.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from loguru import logger

from waguard.errors import WaguardError
from waguard.messaging.webhooks.attempt import Attempts, Post
from waguard.messaging.webhooks.delivery_context import DeliveryContext, QueueTasks
from waguard.messaging.webhooks.delivery_handler import DeliveryHandler
from waguard.messaging.webhooks.partition_scheduler import PartitionScheduler
from waguard.messaging.webhooks.partitions import Partition
from waguard.messaging.webhooks.receiver_circuit import Failing, ReceiverCircuit

CONCURRENT: Final = 8  # deliveries at a time, and as many that are taken and not saved yet


class EndpointQueue:
    """``complete`` makes a body as it is sent, ``post`` one attempt; ``holds``: does the receiver
    call back. Begins with the first ``poke``."""

    def __init__(
        self,
        endpoint: str,
        ctx: DeliveryContext,
        *,
        complete: Callable[[bytes], Awaitable[bytes]],
        post: Post,
        holds: Callable[[], bool],
    ) -> None:
        self.endpoint = endpoint
        self._ctx = ctx
        self._tasks = QueueTasks(endpoint)
        self.partitions = PartitionScheduler(endpoint, ctx, self._tasks, self._pump)
        self._circuit = ReceiverCircuit(endpoint, ctx, self._pump)
        self._attempts = Attempts(
            ctx,
            complete=complete,
            post=post,
            holds=holds,
            is_announced=self.partitions.is_announced,
        )
        self._handler = DeliveryHandler(ctx, self.partitions, self._circuit, self._pump)
        self._in_flight = 0
        self._ending = False
        """Only what says how sessions stand is begun."""
        self._moved = asyncio.Event()

    def poke(self) -> None:
        """The database has more, or can be written again."""
        self.partitions.reader.poke()
        self._pump()

    @property
    def idle(self) -> bool:
        """Everything is delivered, as far as is known."""
        return not (len(self.partitions) or self.partitions.reader.unread)

    @property
    def quiet(self) -> bool:
        """Nothing is to be done now: what is left waits for its time, or for its session."""
        busy = self._in_flight or self._handler.unsaved or self.partitions.reader.busy
        return not (busy or self.partitions.ready)

    @property
    def failing(self) -> Failing | None:
        """None: the last attempt has worked."""
        return self._circuit.failing

    @property
    def down(self) -> bool:
        """Whether its receiver takes nothing of what waits, as far as is known."""
        return self.failing is not None and self._circuit.state.trips > 0 and not self.idle

    async def drain(self) -> None:
        """Wait until it is idle."""
        await self._until(lambda: self.idle)

    async def wind_down(self) -> None:
        """Wait until it is quiet; cut off, nothing is begun any more but session events."""
        try:
            await self._until(lambda: self.quiet)
        finally:
            self._ending = True

    async def answered(self) -> None:
        """Wait until nothing is in flight."""
        await self._until(self.is_saved)

    def is_saved(self) -> bool:
        """Whether nothing is in flight, and the database has all results."""
        return not self._in_flight and not self._handler.unsaved

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._moved.clear()
            await self._moved.wait()

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is in flight has ``grace`` s to end. What is cut off is not
        saved: it is delivered again."""
        self._tasks.closed = True
        self.partitions.close()
        self._circuit.close()
        await self._tasks.close(grace)

    # ---- what is next ----

    def _pump(self) -> None:
        self.partitions.reader.read()
        self._try_ready()
        self._moved.set()

    def _try_ready(self) -> None:
        places = self._circuit.places(CONCURRENT)
        while self._in_flight < places and self._may_save():
            partition = self.partitions.ready.pick()
            if partition is None:
                break
            if self._may_begin(partition):
                self._begin(partition)
        if not places and self.partitions.ready:
            self._circuit.await_probe()

    def _may_save(self) -> bool:
        """What is taken while it cannot be saved is delivered again after a crash."""
        can_write = self._ctx.journal.can_write and self._handler.unsaved < CONCURRENT
        return can_write and not self._tasks.closed

    def _may_begin(self, partition: Partition) -> bool:
        if self._ending and not partition.of_session:
            return False
        if not self._attempts.calls_back(partition.waiting[0]):
            return True
        if self.partitions.reader.defers(partition):
            return False
        if why := self._attempts.why_not(partition.key):
            self.partitions.hold(partition, why)
            return False
        return self.partitions.held.begin(partition)

    # ---- delivery ----

    def _begin(self, partition: Partition) -> None:
        partition.busy = True
        self._in_flight += 1
        calls_back = self._attempts.calls_back(partition.waiting[0])
        self._tasks.start(partial(self._deliver, partition, calls_back=calls_back), self._pump)

    async def _deliver(self, partition: Partition, *, calls_back: bool) -> None:
        item = partition.waiting[0]
        try:
            result = await self._attempts.deliver(item, calls_back=calls_back)
        except WaguardError as error:  # the database, asked for the body
            logger.debug("webhook not read, trying again", why=error.line())
            partition.busy = False
            self.partitions.pauses.begin(partition, self._ctx.retry)
            return
        finally:
            self._in_flight -= 1
            if calls_back:
                for waiting in self.partitions.held.end(item.session_id):
                    self.partitions.ready.add(waiting)
        await self._handler.handle(partition, item, result)
