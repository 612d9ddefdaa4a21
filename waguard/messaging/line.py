"""The deliveries to one endpoint: in order per lane, a few at a time, behind one circuit.

Theory of operation: the database is the queue, and this holds its beginning, without the large
bodies. A lane (a chat, or the session itself) delivers its first and nothing else, so nothing is
overtaken and no event is in flight twice. A lane whose first may be tried is *ready*; lanes are
tried in turn, so that a message which the receiver cannot digest is not the only probe. A delivery
that was taken is gone from the database before the next one of its lane begins: a crash repeats at
most the one of each lane that was in flight.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from loguru import logger

from waguard.errors import WaguardError
from waguard.messaging.journal import Journal
from waguard.policy import circuit, delivery
from waguard.policy.circuit import CLOSED
from waguard.policy.delivery import Answer, Dead, Delivered, DeliveryPolicy, Retry
from waguard.ports import MessageStore, Pending, Settlement

CONCURRENT: Final = 8  # deliveries at a time
WINDOW: Final = 10_000  # webhooks in memory; more are read when half of them are gone
READ: Final = 500  # of them at a time
RETRY: Final = 1.0  # s until the database is asked again
TOLD_AT: Final = frozenset({1, 2, 5, 10, 30, 60, 120})  # failed attempts that are worth a line

Post = Callable[[Pending, bytes], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True)
class Means:
    """What every line shares. ``wall`` is unix time."""

    store: MessageStore
    journal: Journal
    policy: Callable[[], DeliveryPolicy]
    chance: random.Random = field(default_factory=random.Random)
    wall: Callable[[], float] = time.time


@dataclass(slots=True, eq=False)
class _Lane:
    waiting: deque[Pending] = field(default_factory=deque)
    busy: bool = False
    """Its first is in flight, or is being settled."""
    timer: asyncio.TimerHandle | None = None
    """Its first is not to be tried yet."""


class Line:
    """``post`` makes one attempt. Begins with the first ``poke``."""

    def __init__(self, endpoint: str, post: Post, means: Means) -> None:
        self._endpoint = endpoint
        self._post = post
        self._means = means
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._circuit = CLOSED
        self._probe: asyncio.TimerHandle | None = None
        self._in_flight = 0
        self._count = 0
        self._tail = 0
        self._more = False
        self._loading = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()

    def poke(self) -> None:
        """The database has more."""
        self._more = True
        self._pump()

    @property
    def idle(self) -> bool:
        """Everything is delivered, as far as is known."""
        return not (self._lanes or self._more or self._loading)

    async def drain(self) -> None:
        """Wait until it is idle."""
        while not self.idle:
            self._moved.clear()
            await self._moved.wait()

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is in flight has ``grace`` s to end."""
        self._closed = True
        for lane in self._lanes.values():
            self._disarm(lane)
        if self._probe:
            self._probe.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # ---- the window ----

    async def _load(self) -> None:
        while self._more and self._count <= WINDOW // 2 and not self._closed:
            self._more = False  # what is written from now on says so again
            try:
                found = await self._means.store.pending(
                    self._endpoint, after=self._tail, limit=READ
                )
            except Exception as error:  # noqa: BLE001 - a line that reads no more delivers no more
                self._more = True
                if not isinstance(error, WaguardError):
                    logger.exception("a bug in waguard", endpoint=self._endpoint)
                await asyncio.sleep(RETRY)
                continue
            for item in found:
                self._admit(item)
            self._more = self._more or len(found) == READ
            self._try_ready()

    def _admit(self, item: Pending) -> None:
        self._tail = item.id
        key = (item.session_id, item.lane)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        elif item.event in delivery.SESSION_EVENTS:
            self._leave_out_outdated(lane, item)
        lane.waiting.append(item)
        self._count += 1
        if len(lane.waiting) == 1 and not lane.busy:
            self._arm(lane, max(0.0, item.next_at - self._means.wall()))

    def _leave_out_outdated(self, lane: _Lane, newer: Pending) -> None:
        kept: deque[Pending] = deque()
        for place, item in enumerate(lane.waiting):
            if (place == 0 and lane.busy) or not delivery.outdated(item.event, (newer.event,)):
                kept.append(item)
            else:
                self._means.journal.post(Settlement(id=item.id))
                self._count -= 1
        lane.waiting = kept
        if not kept:
            self._disarm(lane)

    def _disarm(self, lane: _Lane) -> None:
        if lane.timer:
            lane.timer.cancel()
            lane.timer = None
        if lane in self._ready:
            self._ready.remove(lane)

    def _arm(self, lane: _Lane, delay: float) -> None:
        if delay <= 0:
            self._ready.append(lane)
        elif not self._closed:
            lane.timer = asyncio.get_running_loop().call_later(delay, self._due, lane)

    def _due(self, lane: _Lane) -> None:
        lane.timer = None
        self._ready.append(lane)
        self._pump()

    # ---- delivery ----

    def _pump(self) -> None:
        if self._more and not self._loading and not self._closed and self._count <= WINDOW // 2:
            self._loading = True
            self._task(self._load, self._loaded)
        self._try_ready()
        self._moved.set()

    def _loaded(self) -> None:
        self._loading = False
        self._pump()

    def _try_ready(self) -> None:
        now = asyncio.get_running_loop().time()
        places = circuit.places(self._circuit, now=now, most=CONCURRENT)
        while self._ready and self._in_flight < places and not self._closed:
            lane = self._ready.popleft()
            lane.busy = True
            self._in_flight += 1
            self._task(partial(self._deliver, lane), self._pump)
        until = self._circuit.opened_until
        if self._ready and not places and until is not None and self._probe is None:
            self._probe = asyncio.get_running_loop().call_at(until, self._half_open)

    def _half_open(self) -> None:
        self._probe = None
        self._pump()

    async def _deliver(self, lane: _Lane) -> None:
        item = lane.waiting[0]
        try:
            answer = await self._attempt(item)
        except WaguardError as error:  # the database, asked for the body
            logger.debug("webhook not read, trying again", why=error.line())
            lane.busy = False
            self._arm(lane, RETRY)
            return
        finally:
            self._in_flight -= 1
        if answer is None:  # there is no such webhook any more
            self._next(lane)
        else:
            await self._judge(lane, item, answer)

    async def _attempt(self, item: Pending) -> Answer | None:
        """None: there is no such webhook any more."""
        body = item.body
        if body is None:
            body = await self._means.store.body(item.id)
        if body is None:
            return None
        try:
            return await self._post(item, body)
        except Exception:  # noqa: BLE001 - one event must not end the lane
            logger.bind(session=item.session_id).exception("webhook ended in a bug")
            return Answer(error="a bug in waguard")

    async def _judge(self, lane: _Lane, item: Pending, answer: Answer) -> None:
        means, policy, attempt = self._means, self._means.policy(), item.attempts + 1
        verdict = delivery.judge(
            policy,
            attempt=attempt,
            age=means.wall() - item.created_at,
            answer=answer,
            jitter=means.chance.random(),
        )
        log = logger.bind(session=item.session_id, what=item.event, id=item.event_id)
        match verdict:
            case Delivered():
                self._works()
                log.debug("webhook delivered", attempt=attempt)
                await self._settle(lane, Settlement(id=item.id))
            case Dead(why=why):
                log.error("webhook given up: it is a dead letter now", why=why)
                if answer.status is not None and answer.status < delivery.SERVER_ERROR:
                    self._works()
                elif not answer.refused:
                    self._fails(policy)
                    self._give_up_older(policy, answer)
                await self._settle(lane, Settlement(id=item.id, attempts=attempt, error=why))
            case Retry() if delivery.outdated(item.event, _behind(lane)):
                log.debug("webhook left out: outdated")
                await self._settle(lane, Settlement(id=item.id))
            case Retry():
                if attempt in TOLD_AT:
                    log.warning("webhook not taken", why=answer.told(), attempt=attempt)
                self._try_again(lane, item, answer, self._delay(policy, verdict))

    def _works(self) -> None:
        if self._circuit.opened_until is not None:
            logger.info("webhooks are taken again", endpoint=self._endpoint)
        self._circuit = CLOSED
        if self._probe:
            self._probe.cancel()
            self._probe = None

    def _fails(self, policy: DeliveryPolicy) -> None:
        before = self._circuit.trips
        self._circuit = circuit.failed(
            policy.circuit,
            self._circuit,
            now=asyncio.get_running_loop().time(),
            jitter=self._means.chance.random(),
        )
        if before == 0 and self._circuit.trips:
            logger.error("webhooks are not taken: tried one at a time", endpoint=self._endpoint)

    def _delay(self, policy: DeliveryPolicy, verdict: Retry) -> float:
        """An open circuit is the receiver's fault: a message waits for that, and not longer."""
        if verdict.everyone:
            until = asyncio.get_running_loop().time() + verdict.delay
            self._circuit = circuit.quiet(self._circuit, until=until)
            return 0.0
        self._fails(policy)
        return verdict.delay if verdict.asked or self._circuit.opened_until is None else 0.0

    def _try_again(self, lane: _Lane, item: Pending, answer: Answer, delay: float) -> None:
        next_at, attempts = self._means.wall() + delay, item.attempts + 1
        self._means.journal.post(
            Settlement(id=item.id, attempts=attempts, next_at=next_at, error=answer.told())
        )
        lane.waiting[0] = replace(item, attempts=attempts, next_at=next_at)
        lane.busy = False
        self._arm(lane, delay)

    async def _settle(self, lane: _Lane, settlement: Settlement) -> None:
        self._pump()  # its place is free
        try:
            await self._means.journal.settle(settlement)
        finally:
            self._next(lane)

    def _next(self, lane: _Lane) -> None:
        """Its first is done with."""
        item = lane.waiting.popleft()
        self._count -= 1
        lane.busy = False
        if lane.waiting:
            self._arm(lane, max(0.0, lane.waiting[0].next_at - self._means.wall()))
        else:
            del self._lanes[item.session_id, item.lane]

    def _give_up_older(self, policy: DeliveryPolicy, answer: Answer) -> None:
        """A receiver that has been dead for so long: what waits for it as long is not tried."""
        limit = self._means.wall() - policy.give_up_after
        for key, lane in list(self._lanes.items()):
            while not lane.busy and lane.waiting and lane.waiting[0].created_at <= limit:
                item = lane.waiting.popleft()
                self._count -= 1
                why = delivery.given_up(policy, item.attempts, answer.told())
                self._means.journal.post(Settlement(id=item.id, attempts=item.attempts, error=why))
            if not lane.waiting:
                self._disarm(lane)
                del self._lanes[key]

    def _task(self, work: Callable[[], Awaitable[None]], after: Callable[[], None]) -> None:
        async def run() -> None:
            try:
                await work()
            except Exception:  # noqa: BLE001 - the loop boundary of a line
                logger.exception("a bug in waguard", endpoint=self._endpoint)

        task = asyncio.create_task(run(), name=f"webhook {self._endpoint}")
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if not self._closed:
                after()

        task.add_done_callback(ended)


def _behind(lane: _Lane) -> list[str]:
    return [item.event for place, item in enumerate(lane.waiting) if place]
