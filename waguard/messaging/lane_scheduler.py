"""Which lanes of an endpoint may be tried when: their pauses, and what waits for its session."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

from waguard.core import delivery
from waguard.core.delivery import Cause, DeliveryPolicy
from waguard.messaging.delivery_context import LINKING, DeliveryContext, QueueTasks
from waguard.messaging.held_lanes import HeldLanes
from waguard.messaging.lane_queue import Lane, LaneQueue
from waguard.messaging.lane_reader import LaneReader
from waguard.messaging.ready_lanes import ReadyLanes
from waguard.ports.messages import DeliveryResult, Hold, Pending


class LaneScheduler:
    """``pump`` is called when one more may be tried."""

    def __init__(
        self, endpoint: str, ctx: DeliveryContext, tasks: QueueTasks, pump: Callable[[], None]
    ) -> None:
        self._ctx = ctx
        self._tasks = tasks
        self._pump = pump
        self._queue = LaneQueue(self._leave_out, ctx.window)
        self.ready = ReadyLanes()
        self.held = HeldLanes()
        self.reader = LaneReader(
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
        """Lanes whose first has been tried, or could have been, since before then (unix time)."""
        return sum(it.tried_since <= before for it in self._tried() if it.tried_since is not None)

    def _tried(self) -> Iterator[Lane]:
        return (it for it in self._queue if it.waiting and it.held_since is None)

    def is_announced(self, session_id: str) -> bool:
        """Whether no ``session_ready`` of this session is still to be delivered."""
        return self._queue.is_announced(session_id)

    def expect_ready(self, session_id: str, *, comes: bool = True) -> None:
        """Its session_ready will be read from the database, or will not."""
        self._queue.expect(session_id, comes=comes)

    def close(self) -> None:
        """Nothing comes by its time any more."""
        for lane in self._queue:
            self._disarm(lane)

    # ---- what waits for its session ----

    def hold(self, lane: Lane, why: str) -> None:
        """Its place is free for others. The database notes the first of a session, for how long it
        waits, and each that was tried, for its attempts count anew."""
        is_first = self.held.hold(lane, why, self._ctx.wall())
        self._queue.shrink(lane)
        first = lane.waiting[0]
        if why is LINKING:  # a moment
            return
        if not lane.marked and (is_first or first.tried_since is not None):
            lane.marked = True
            self._ctx.journal.save_later(Hold(first.id, lane.held_since))
        lane.tried_since = None
        lane.waiting[0] = replace(first, tried_since=None)

    def release(self, session_id: str) -> None:
        """Its session may be connected, and the receiver know it: try what waited for that."""
        for lane in self.held.release(session_id):
            lane.held_since = None
            if not lane.waiting:
                continue
            if lane.marked:
                lane.marked = False
                self._ctx.journal.save_later(Hold(lane.waiting[0].id, None))
            self.arm(lane)
        self._pump()

    def forget(self, session_id: str, before: float) -> None:
        """The messages of a session that were queued before then are dead letters."""
        for lane in self._queue:
            if lane.key[0] == session_id and self._queue.drop(lane, before):
                self._disarm(lane)
                self.held.discard(lane)
                self.go_on(lane)

    def tick(self) -> None:
        """Nothing waits for its turn that nobody else has."""
        for lane in self.held.overdue():
            self.ready.add(lane)
        self._pump()

    # ---- the next one ----

    def go_on(self, lane: Lane) -> None:
        """With its next one, after what has expired."""
        while lane.waiting and lane.expire_before is not None:
            first = lane.waiting[0]
            if first.created_at > lane.expire_before:
                break
            why = delivery.given_up(self._ctx.policy(), first.attempts, "see the ones before")
            dead = DeliveryResult(
                id=first.id, attempts=first.attempts, error=why, cause=Cause.EXPIRED
            )
            self._ctx.journal.save_later(dead)
            if not self._queue.pop(lane):
                return
        if lane.waiting:
            self.arm(lane)
        else:
            self.reader.read_on(lane)

    def next(self, lane: Lane) -> None:
        """Its first is done with."""
        session_id, was_announced = lane.key[0], self.is_announced(lane.key[0])
        lane.busy = False
        if self._queue.pop(lane):
            self.go_on(lane)
        if not was_announced and self.is_announced(session_id):
            self.release(session_id)

    def expire_older(self, policy: DeliveryPolicy) -> None:
        """A receiver that has been dead for so long: what waits for it as long is not tried."""
        limit = self._ctx.ages.ago(policy.give_up_after)
        for lane in self._queue:
            since = lane.tried_since
            if lane.busy or lane.held_since is not None or since is None or since > limit:
                continue
            lane.expire_before = limit
            self._disarm(lane)
            self.go_on(lane)

    def _leave_out(self, item: Pending) -> None:
        self._ctx.journal.save_later(DeliveryResult(id=item.id))

    # ---- pauses ----

    def arm(self, lane: Lane, delay: float | None = None) -> None:
        """Its first may be tried after ``delay`` s; None: when the database says so."""
        first, ctx = lane.waiting[0], self._ctx
        self._disarm(lane)
        if delay is None:
            delay = delivery.pause(
                ctx.policy(), attempts=first.attempts, next_at=first.next_at, now=ctx.wall()
            )
        if delay <= 0:
            self._be_ready(lane)
        elif not self._tasks.closed:
            lane.timer = asyncio.get_running_loop().call_later(delay, self._due, lane)

    def _disarm(self, lane: Lane) -> None:
        lane.ready = False  # it may still stand among those that are: then it is passed over
        if lane.timer:
            lane.timer.cancel()
            lane.timer = None

    def _due(self, lane: Lane) -> None:
        lane.timer = None
        self._be_ready(lane)
        self._pump()

    def _be_ready(self, lane: Lane) -> None:
        if lane.tried_since is None:
            lane.tried_since = self._ctx.wall()
        self.ready.add(lane)
