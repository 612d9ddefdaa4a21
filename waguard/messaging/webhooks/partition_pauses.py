"""When the first webhook of a partition may be tried: at once, or after a pause."""

import asyncio
from collections.abc import Callable

from waguard.core.webhooks import delivery
from waguard.messaging.webhooks.delivery_context import DeliveryContext, QueueTasks
from waguard.messaging.webhooks.partitions import Partition
from waguard.messaging.webhooks.ready_partitions import ReadyPartitions


class PartitionPauses:
    """What may be tried is in ``ready``; ``pump`` is called when a pause has ended."""

    def __init__(
        self,
        ctx: DeliveryContext,
        ready: ReadyPartitions,
        tasks: QueueTasks,
        pump: Callable[[], None],
    ) -> None:
        self._ctx = ctx
        self._ready = ready
        self._tasks = tasks
        self._pump = pump

    def begin(self, partition: Partition, delay: float | None = None) -> None:
        """Its first may be tried after ``delay`` s; None: when the database says so."""
        first, ctx = partition.waiting[0], self._ctx
        self.cancel(partition)
        if delay is None:
            delay = delivery.pause(
                ctx.policy(), attempts=first.attempts, next_at=first.next_at, now=ctx.wall()
            )
        if delay <= 0:
            self._end(partition)
        elif not self._tasks.closed:
            partition.timer = asyncio.get_running_loop().call_later(delay, self._due, partition)

    def cancel(self, partition: Partition) -> None:
        """It is not ready, and does not become so by its time."""
        partition.ready = False  # it may still stand among those that are: then it is passed over
        if partition.timer:
            partition.timer.cancel()
            partition.timer = None

    def _due(self, partition: Partition) -> None:
        partition.timer = None
        self._end(partition)
        self._pump()

    def _end(self, partition: Partition) -> None:
        if partition.tried_since is None:
            partition.tried_since = self._ctx.wall()
        self._ready.add(partition)
