"""The lanes of one endpoint whose first may be tried now, and whose turn it is.

The newest, the oldest, one that has failed before, in turn: what the receiver cannot digest is
neither the only probe of an open circuit nor the only one that is tried behind a closed one.
"""

from collections import deque
from itertools import cycle

from waguard.messaging.lane_queue import Lane


class ReadyLanes:
    """A lane that was taken out stays in its place, and is passed over there."""

    def __init__(self) -> None:
        self._fresh: deque[Lane] = deque()
        self._failed: deque[Lane] = deque()
        self._picks = cycle((self._newest, self._oldest, self._retried))

    def __bool__(self) -> bool:
        return any(_may_go(lane) for lane in (*self._fresh, *self._failed))

    def add(self, lane: Lane) -> None:
        """Its first may be tried."""
        if lane.waiting and not lane.busy and not lane.ready:
            lane.ready = True
            (self._failed if lane.waiting[0].attempts else self._fresh).append(lane)

    def pick(self) -> Lane | None:
        """Take out the one whose turn it is; None: there is none."""
        while self._fresh or self._failed:
            lane = next(self._picks)()
            if lane and _may_go(lane):
                lane.ready = False
                return lane
        return None

    def _newest(self) -> Lane | None:
        return self._fresh.pop() if self._fresh else None

    def _oldest(self) -> Lane | None:
        return self._fresh.popleft() if self._fresh else None

    def _retried(self) -> Lane | None:
        return self._failed.popleft() if self._failed else None


def _may_go(lane: Lane) -> bool:
    return lane.ready and not lane.busy and bool(lane.waiting)
