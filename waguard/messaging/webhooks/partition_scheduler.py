"""Which partitions of an endpoint may be tried when: their pauses, and what waits for its session."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from waguard.core.webhooks import delivery
from waguard.core.webhooks.delivery import Cause, DeliveryPolicy
from waguard.messaging.webhooks.delivery_context import LINKING, DeliveryContext, QueueTasks
from waguard.messaging.webhooks.held_partitions import HeldPartitions
from waguard.messaging.webhooks.partition_pauses import PartitionPauses
from waguard.messaging.webhooks.partition_reader import PartitionReader
from waguard.messaging.webhooks.partitions import Partition, Partitions
from waguard.messaging.webhooks.ready_partitions import ReadyPartitions
from waguard.ports.webhooks import DeliveryResult, Hold, Pending


class PartitionScheduler:
    """``pump`` is called when one more may be tried."""

    def __init__(
        self, endpoint: str, ctx: DeliveryContext, tasks: QueueTasks, pump: Callable[[], None]
    ) -> None:
        self._ctx = ctx
        self._pump = pump
        self._queue = Partitions(self._leave_out, ctx.window)
        self.ready = ReadyPartitions()
        self.held = HeldPartitions()
        self.pauses = PartitionPauses(ctx, self.ready, tasks, pump)
        self.reader = PartitionReader(
            endpoint, ctx, self._queue, self.ready, tasks, go_on=self.go_on, pump=pump
        )

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def count(self) -> int:
        """Webhooks in memory."""
        return self._queue.count

    @property
    def oldest(self) -> float | None:
        """When the first of those that wait for their receiver was queued (unix time)."""
        return min((it.waiting[0].created_at for it in self._tried()), default=None)

    def late(self, before: float) -> int:
        """Partitions whose first has been tried, or could have been, since before then (unix time)."""
        return sum(it.tried_since <= before for it in self._tried() if it.tried_since is not None)

    def _tried(self) -> Iterator[Partition]:
        return (it for it in self._queue if it.waiting and it.held_since is None)

    def is_announced(self, session_id: str) -> bool:
        """Whether no ``session_ready`` of this session is still to be delivered."""
        return self._queue.is_announced(session_id)

    def expect_ready(self, session_id: str, *, comes: bool = True) -> None:
        """Its session_ready will be read from the database, or will not."""
        self._queue.expect(session_id, comes=comes)

    def close(self) -> None:
        """Nothing comes by its time any more."""
        for partition in self._queue:
            self.pauses.cancel(partition)

    # ---- what waits for its session ----

    def hold(self, partition: Partition, why: str) -> None:
        """Its place is free for others. The database notes the first of a session, for how long it
        waits, and each that was tried, for its attempts count from 0 again."""
        is_first = self.held.hold(partition, why, self._ctx.wall())
        self._queue.shrink(partition)
        first = partition.waiting[0]
        if why is LINKING:  # a moment
            return
        if not partition.marked and (is_first or first.tried_since is not None):
            partition.marked = True
            self._ctx.journal.save_later(Hold(first.id, partition.held_since))
        partition.tried_since = None
        partition.waiting[0] = replace(first, tried_since=None)

    def release(self, session_id: str) -> None:
        """Its session may be connected, and the receiver know it: try what waited for that."""
        for partition in self.held.release(session_id):
            partition.held_since = None
            if not partition.waiting:
                continue
            if partition.marked:
                partition.marked = False
                self._ctx.journal.save_later(Hold(partition.waiting[0].id, None))
            self.pauses.begin(partition)
        self._pump()

    def forget(self, session_id: str, before: float) -> None:
        """The messages of a session that were queued before then are dead letters."""
        for partition in self._queue:
            if partition.key[0] == session_id and self._queue.drop(partition, before):
                self.pauses.cancel(partition)
                self.held.discard(partition)
                self.go_on(partition)

    def tick(self) -> None:
        """Nothing waits for its turn that nobody else has."""
        for partition in self.held.overdue():
            self.ready.add(partition)
        self._pump()

    # ---- the next one ----

    def go_on(self, partition: Partition) -> None:
        """With its next one, after what has expired."""
        while partition.waiting and partition.expire_before is not None:
            first = partition.waiting[0]
            if first.created_at > partition.expire_before:
                break
            why = delivery.given_up(self._ctx.policy(), first.attempts, "see the ones before")
            dead = DeliveryResult(
                id=first.id, attempts=first.attempts, error=why, cause=Cause.EXPIRED
            )
            self._ctx.journal.save_later(dead)
            if not self._queue.pop(partition):
                return
        if partition.waiting:
            self.pauses.begin(partition)
        else:
            self.reader.read_on(partition)

    def next(self, partition: Partition) -> None:
        """Its first is done with."""
        session_id, was_announced = partition.key[0], self.is_announced(partition.key[0])
        partition.busy = False
        if self._queue.pop(partition):
            self.go_on(partition)
        if not was_announced and self.is_announced(session_id):
            self.release(session_id)

    def expire_older(self, policy: DeliveryPolicy) -> None:
        """A receiver that has been dead for so long: what waits for it as long is not tried."""
        limit = self._ctx.ages.ago(policy.give_up_after)
        for partition in self._queue:
            since = partition.tried_since
            if partition.busy or partition.held_since is not None or since is None or since > limit:
                continue
            partition.expire_before = limit
            self.pauses.cancel(partition)
            self.go_on(partition)

    def _leave_out(self, item: Pending) -> None:
        self._ctx.journal.save_later(DeliveryResult(id=item.id))
