"""The partitions of one endpoint whose first may be tried now, and which is next.

The newest, the oldest, one that has failed before, in turn: what the receiver cannot digest is
neither the only probe of an open circuit nor the only one that is tried behind a closed one.
"""

from collections import deque
from itertools import cycle

from waguard.messaging.webhooks.partitions import Partition


class ReadyPartitions:
    """A partition that was taken out stays in its place, and is passed over there."""

    def __init__(self) -> None:
        self._fresh: deque[Partition] = deque()
        self._failed: deque[Partition] = deque()
        self._picks = cycle((self._newest, self._oldest, self._retried))

    def __bool__(self) -> bool:
        return any(_may_go(partition) for partition in (*self._fresh, *self._failed))

    def add(self, partition: Partition) -> None:
        """Its first may be tried."""
        if partition.waiting and not partition.busy and not partition.ready:
            partition.ready = True
            (self._failed if partition.waiting[0].attempts else self._fresh).append(partition)

    def pick(self) -> Partition | None:
        """Remove the next one; None: there is none."""
        while self._fresh or self._failed:
            partition = next(self._picks)()
            if partition and _may_go(partition):
                partition.ready = False
                return partition
        return None

    def _newest(self) -> Partition | None:
        return self._fresh.pop() if self._fresh else None

    def _oldest(self) -> Partition | None:
        return self._fresh.popleft() if self._fresh else None

    def _retried(self) -> Partition | None:
        return self._failed.popleft() if self._failed else None


def _may_go(partition: Partition) -> bool:
    return partition.ready and not partition.busy and bool(partition.waiting)
