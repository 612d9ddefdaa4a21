"""The deliveries to one endpoint: in order per lane, a few at a time, behind one circuit.

Theory of operation: a lane delivers its first and nothing else, so nothing is overtaken and no event
is in flight twice. Lanes take turns: the newest, the oldest, one that has failed before, so that
what the receiver cannot digest is neither the only probe nor the only one tried. A received message
waits (is *held*) while the application would drop it: until its session is connected, and the
receiver knows that. A delivery that was taken is gone from the database before the next one of its
lane begins, and few are taken without being settled: a crash repeats at most those.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from loguru import logger

from waguard.core import circuit, delivery
from waguard.core.call_backs import Fate
from waguard.core.circuit import CLOSED
from waguard.core.delivery import Answer, Cause, Dead, Delivered, DeliveryPolicy, Retry
from waguard.errors import WaguardError
from waguard.messaging.call_backs import CallBacks
from waguard.messaging.held_lanes import HeldLanes
from waguard.messaging.journal import Journal
from waguard.messaging.lane_queue import LANE_LIMIT, Key, Lane, LaneQueue
from waguard.messaging.ready_lanes import ReadyLanes
from waguard.messaging.timings import WEBHOOK
from waguard.ports.clock import Ages, WallAges
from waguard.ports.messages import DeliveryResult, Hold, MessageStore, Pending
from waguard.ports.sessions import Connection

CONCURRENT: Final = 8  # deliveries at a time, and as many that are taken and not settled yet
READ: Final = 500  # webhooks at a time
LANES_READ: Final = 4  # lanes of which more is read at the same time
LOGGED_AT: Final = frozenset({1, 2, 5, 10, 30, 60, 120})  # failed attempts that are worth a line
UNSURE: Final = (
    "the receiver said yes, and may have dropped it: meanwhile it, or somebody else, was told both "
    "that the session is connected and that it is not"
)
SESSION_LANE: Final = ""
LINKING: Final = "its number is compared with the one before"
NOT_ANNOUNCED: Final = "its session_ready is not delivered yet"

Post = Callable[[Pending, bytes], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True)
class DeliveryContext:
    """What every line shares. ``wall`` is unix time; ``gate`` says why the application would drop a
    message of this session now, None: it would not; ``connection`` how a session stands."""

    store: MessageStore
    journal: Journal
    policy: Callable[[], DeliveryPolicy]
    gate: Callable[[str], str | None]
    connection: Callable[[str], Connection]
    call_backs: CallBacks
    chance: random.Random = field(default_factory=random.Random)
    wall: Callable[[], float] = time.time
    ages: Ages = field(default_factory=lambda: WallAges(time.time))
    retry: float = WEBHOOK.retry
    """Seconds until the database is asked again."""


@dataclass(frozen=True, slots=True)
class Failing:
    """No attempt has worked since then (unix time)."""

    since: float
    error: str
    """Of the last one."""


@dataclass(frozen=True, slots=True)
class _NotYet:
    """It was not sent, or the receiver dropped it: it waits for its session."""

    why: str


@dataclass(frozen=True, slots=True)
class _Outdated:
    """It is not so any more, and what says so follows."""


_FATES: Final[Mapping[Fate, _NotYet | Dead]] = {
    Fate.DROPPED: _NotYet("the receiver was told that its session is not connected"),
    Fate.UNCERTAIN: Dead(UNSURE, Cause.UNCERTAIN),
}


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
        self._complete = complete
        self._post = post
        self._holds = holds
        self._lanes = LaneQueue(lambda item: self._save_later(DeliveryResult(id=item.id)))
        self._ready = ReadyLanes()
        self.held = HeldLanes()
        self._circuit = CLOSED
        self.failing: Failing | None = None
        self._probe: asyncio.TimerHandle | None = None
        self._in_flight = 0
        self._unsaved = 0
        self._tail = 0
        self._more = False
        self._loading = False
        self._early: list[Lane] | None = []
        """Messages that wait until all is read once: a session_ready may be among it."""
        self._lanes_read = 0
        self._reading = asyncio.Semaphore(LANES_READ)
        self._ending = False
        """Only what says how sessions stand is begun."""
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()

    def poke(self) -> None:
        """The database has more, or can be written again."""
        self._more = True
        self._pump()

    @property
    def idle(self) -> bool:
        """Everything is delivered, as far as is known."""
        return not (len(self._lanes) or self._more or self._loading)

    @property
    def quiet(self) -> bool:
        """Nothing is to be done now: what is left waits for its time, or for its session."""
        reads = self._more or self._loading or self._lanes_read
        busy = self._in_flight or self._unsaved or reads
        return not (busy or self._ready)

    @property
    def down(self) -> bool:
        """Whether its receiver takes nothing of what waits, as far as is known."""
        return self.failing is not None and self._circuit.trips > 0 and not self.idle

    @property
    def count(self) -> int:
        """Webhooks in memory."""
        return self._lanes.count

    @property
    def oldest(self) -> float | None:
        """When the first of those that wait for their receiver was queued (unix time)."""
        return min((it.waiting[0].created_at for it in self._tried()), default=None)

    def late(self, before: float) -> int:
        """Lanes whose first has been tried, or could have been, since before then (unix time)."""
        return sum(it.tried_since <= before for it in self._tried() if it.tried_since is not None)

    def _tried(self) -> Iterator[Lane]:
        return (it for it in self._lanes if it.waiting and it.held_since is None)

    def release(self, session_id: str) -> None:
        """Its session may be connected, and the receiver know it: try what waited for that."""
        for lane in self.held.release(session_id):
            lane.held_since = None
            if not lane.waiting:
                continue
            if lane.marked:
                lane.marked = False
                self._save_later(Hold(lane.waiting[0].id, None))
            self._arm(lane)
        self._pump()

    def expect_ready(self, session_id: str, *, comes: bool = True) -> None:
        """Its session_ready will be read from the database, or will not."""
        self._lanes.expect(session_id, comes=comes)

    def forget(self, session_id: str, before: float) -> None:
        """The messages of a session that were queued before then are dead letters."""
        for lane in self._lanes:
            if lane.key[0] == session_id and self._lanes.drop(lane, before):
                self._disarm(lane)
                self.held.discard(lane)
                self._go_on(lane)

    def tick(self) -> None:
        """Nothing waits for its turn that nobody else has."""
        for lane in self.held.overdue():
            self._ready.add(lane)
        self._pump()

    async def drain(self) -> None:
        """Wait until it is idle."""
        await self._until(lambda: self.idle)

    async def wind_down(self) -> None:
        """Wait until it is quiet; cut off, nothing is begun any more but session events."""
        try:
            await self._until(lambda: self.quiet)
        finally:
            self._ending = True

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._moved.clear()
            await self._moved.wait()

    async def answered(self) -> None:
        """Wait until nothing is in flight."""
        await self._until(lambda: not self._in_flight and not self._unsaved)

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is in flight has ``grace`` s to end. What is cut off is not
        settled: it is delivered again."""
        self._closed = True
        for lane in self._lanes:
            self._disarm(lane)
        if self._probe:
            self._probe.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # ---- what is in memory ----

    async def _load(self) -> None:
        while self._more and not self._closed:
            self._more = False  # what is written from now on says so again
            found = await self._read(after=self._tail, limit=READ)
            if found is None:
                self._more = True
                continue
            for item in found:
                self._tail = item.id
                if lane := self._lanes.admit(item):
                    self._go_on(lane)
            self._more = self._more or len(found) == READ
            self._try_ready()

    async def _read(self, **which: object) -> list[Pending] | None:
        """None: it could not be read, and it is time to try again."""
        try:
            return await self._ctx.store.pending(self.endpoint, **which)  # type: ignore[arg-type]  # those of ``pending``
        except Exception as error:  # noqa: BLE001 - a line that reads no more delivers no more
            if not isinstance(error, WaguardError):
                logger.exception("a bug in waguard", event="bug", endpoint=self.endpoint)
            await asyncio.sleep(self._ctx.retry)
            return None

    async def _read_lane(self, lane: Lane) -> None:
        async with self._reading:
            found: list[Pending] | None = None
            while found is None and not self._closed:
                until = lane.newest
                found = await self._read(
                    after=lane.loaded, limit=LANE_LIMIT, lane=lane.key, until=until
                )
        lane.busy = False
        self._lanes_read -= 1
        if found is not None and self._lanes.fill(
            lane, found, until=until, whole=len(found) < LANE_LIMIT
        ):
            self._go_on(lane)

    def _go_on(self, lane: Lane) -> None:
        """With its next one, after what is given up."""
        while lane.waiting and lane.expire_before is not None:
            first = lane.waiting[0]
            if first.created_at > lane.expire_before:
                break
            why = delivery.given_up(self._ctx.policy(), first.attempts, "see the ones before")
            dead = DeliveryResult(
                id=first.id, attempts=first.attempts, error=why, cause=Cause.EXPIRED
            )
            self._save_later(dead)
            if not self._lanes.pop(lane):
                return
        if lane.waiting:
            self._arm(lane)
        else:
            lane.busy = True
            self._lanes_read += 1
            self._task(partial(self._read_lane, lane), self._pump)

    def _next(self, lane: Lane) -> None:
        """Its first is done with."""
        session_id, was_announced = lane.key[0], self._lanes.is_announced(lane.key[0])
        lane.busy = False
        if self._lanes.pop(lane):
            self._go_on(lane)
        if not was_announced and self._lanes.is_announced(session_id):
            self.release(session_id)

    # ---- whose turn it is ----

    def _arm(self, lane: Lane, delay: float | None = None) -> None:
        first, ctx = lane.waiting[0], self._ctx
        self._disarm(lane)
        if delay is None:
            delay = delivery.pause(
                ctx.policy(), attempts=first.attempts, next_at=first.next_at, now=ctx.wall()
            )
        if delay <= 0:
            self._be_ready(lane)
        elif not self._closed:
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
        self._ready.add(lane)

    def _pump(self) -> None:
        if self._more and not self._loading and not self._closed:
            self._loading = True
            self._task(self._load, self._loaded)
        self._try_ready()
        self._moved.set()

    def _loaded(self) -> None:
        self._loading = False
        early, self._early = self._early, None
        for lane in early or ():
            self._ready.add(lane)
        self._pump()

    def _try_ready(self) -> None:
        now = asyncio.get_running_loop().time()
        places = circuit.places(self._circuit, now=now, most=CONCURRENT)
        while self._in_flight < places and self._may_save():
            lane = self._ready.pick()
            if lane is None:
                break
            if self._may_begin(lane):
                self._begin(lane)
        until = self._circuit.opened_until
        if not places and until is not None and self._probe is None and self._ready:
            self._probe = asyncio.get_running_loop().call_at(until, self._half_open)

    def _may_save(self) -> bool:
        """What is taken while it cannot be settled is delivered again after a crash."""
        can_write = self._ctx.journal.can_write and self._unsaved < CONCURRENT
        return can_write and not self._closed

    def _may_begin(self, lane: Lane) -> bool:
        if self._ending and not lane.of_session:
            return False
        if not self._calls_back(lane):
            return True
        if self._early is not None:
            self._early.append(lane)
            return False
        if why := self._why_not(lane.key):
            self._hold(lane, why)
            return False
        return self.held.begin(lane)

    def _calls_back(self, lane: Lane) -> bool:
        return lane.waiting[0].event == delivery.HELD and self._holds()

    def _why_not(self, key: Key) -> str | None:
        """Why the application would drop a message of this lane now."""
        session_id, name = key
        # in the session's own lane it would wait for what is behind it
        announced = name == SESSION_LANE or self._lanes.is_announced(session_id)
        return self._ctx.gate(session_id) if announced else NOT_ANNOUNCED

    def _hold(self, lane: Lane, why: str) -> None:
        """Its place is free for others. The database notes the first of a session, for how long it
        waits, and each that was tried, for its attempts count anew."""
        is_first = self.held.hold(lane, why, self._ctx.wall())
        self._lanes.shrink(lane)
        first = lane.waiting[0]
        if why is LINKING:  # a moment
            return
        if not lane.marked and (is_first or first.tried_since is not None):
            lane.marked = True
            self._save_later(Hold(first.id, lane.held_since))
        lane.tried_since = None
        lane.waiting[0] = replace(first, tried_since=None)

    def _half_open(self) -> None:
        self._probe = None
        self._pump()

    # ---- delivery ----

    def _begin(self, lane: Lane) -> None:
        lane.busy = True
        self._in_flight += 1
        calls_back = self._calls_back(lane)
        self._task(partial(self._deliver, lane, calls_back=calls_back), self._pump)

    async def _deliver(self, lane: Lane, *, calls_back: bool) -> None:
        item = lane.waiting[0]
        try:
            result = await self._deliver_once(item, calls_back=calls_back)
        except WaguardError as error:  # the database, asked for the body
            logger.debug("webhook not read, trying again", why=error.line())
            lane.busy = False
            lane.timer = asyncio.get_running_loop().call_later(self._ctx.retry, self._due, lane)
            return
        finally:
            self._in_flight -= 1
            if calls_back:
                for waiting in self.held.end(item.session_id):
                    self._ready.add(waiting)
        match result:
            case None:  # there is no such webhook any more
                self._next(lane)
            case _Outdated():
                logger.debug(
                    "webhook left out: outdated", session=item.session_id, id=item.event_id
                )
                await self._finish(lane, DeliveryResult(id=item.id))
            case _NotYet(why=why) if item.event == delivery.READY:
                lane.busy = False
                self._arm(lane, self._ctx.retry)
            case _NotYet(why=why):
                lane.busy = False
                self._hold(lane, why)
            case Dead():
                await self._dead_letter(lane, result)
            case _:
                await self._handle_answer(lane, item, result)

    async def _deliver_once(
        self, item: Pending, *, calls_back: bool
    ) -> Answer | _NotYet | _Outdated | Dead | None:
        """What came of it; None: there is no such webhook any more."""
        if item.event == delivery.READY and (changed := self._still_ready(item)):
            return changed
        body = item.body
        if body is None:
            body = await self._ctx.store.body(item.id)
        if body is None:
            return None
        body = await self._complete(body)
        if not calls_back:
            return await self._attempt(item, body)
        # again: the file that it carries may have taken its time
        if why := self._why_not((item.session_id, item.lane)):
            return _NotYet(why)
        with self._ctx.call_backs.watching(item.session_id) as window:
            answer = await self._attempt(item, body)
            if answer.status not in delivery.SUCCESS:
                return answer
        if window.fate is not Fate.TAKEN:
            self._works()
        return answer if window.fate is Fate.TAKEN else _FATES[window.fate]

    def _still_ready(self, item: Pending) -> _NotYet | _Outdated | None:
        """None: its session is connected. The application takes a ``session_ready`` at its word at
        once, and what says otherwise behind it whenever it comes to that."""
        now = self._ctx.connection(item.session_id)
        if now.why_not is None or item.lane != SESSION_LANE:  # else a person replays it
            return None
        return _Outdated() if now.known else _NotYet(now.why_not)

    async def _attempt(self, item: Pending, body: bytes) -> Answer:
        try:
            return await self._post(item, body)
        except Exception:  # noqa: BLE001 - one event must not end the lane
            logger.bind(session=item.session_id).exception("webhook ended in a bug", event="bug")
            return Answer(error="a bug in waguard")

    async def _handle_answer(self, lane: Lane, item: Pending, answer: Answer) -> None:
        ctx, policy, attempt = self._ctx, self._ctx.policy(), item.attempts + 1
        since = max(item.created_at, lane.tried_since or item.created_at)
        verdict = delivery.judge(
            policy,
            attempt=attempt,
            age=ctx.ages.age(since),
            answer=answer,
            jitter=ctx.chance.random(),
        )
        log = logger.bind(session=item.session_id, what=item.event, id=item.event_id)
        match verdict:
            case Delivered():
                self._works()
                log.debug("webhook delivered", attempt=attempt)
                lane.tried_since = None
                await self._finish(lane, DeliveryResult(id=item.id))
            case Dead():
                if not answer.works and not answer.refused:
                    self._fails(policy, answer)
                    self._expire_older(policy)
                await self._dead_letter(lane, verdict, works=answer.works)
            case Retry() if delivery.outdated(item.event, lane.behind()):
                log.debug("webhook left out: outdated")
                await self._finish(lane, DeliveryResult(id=item.id))
            case Retry():
                if attempt in LOGGED_AT:
                    log.warning(
                        "webhook not taken",
                        event="webhook_failed",
                        why=answer.summary(),
                        attempt=attempt,
                    )
                self._try_again(lane, item, answer, self._delay(policy, verdict, answer))

    async def _dead_letter(self, lane: Lane, dead: Dead, *, works: bool = True) -> None:
        """``works``: its receiver does."""
        item = lane.waiting[0]
        if works:
            self._works()
            lane.tried_since = None
        log = logger.bind(session=item.session_id, what=item.event, id=item.event_id)
        log.error("webhook given up: it is a dead letter now", event="webhook_dead", why=dead.why)
        attempts = item.attempts + 1
        await self._finish(
            lane, DeliveryResult(id=item.id, attempts=attempts, error=dead.why, cause=dead.cause)
        )

    def _works(self) -> None:
        before, self.failing = self._circuit, None
        self._circuit = circuit.worked(before, now=asyncio.get_running_loop().time())
        if self._circuit is not CLOSED:
            return
        if before.opened_until is not None:
            logger.debug("webhooks are taken again", endpoint=self.endpoint)
        if self._probe:
            self._probe.cancel()
            self._probe = None

    def _fails(self, policy: DeliveryPolicy, answer: Answer) -> None:
        before = self._circuit.trips
        since = self.failing.since if self.failing else self._ctx.wall()
        self.failing = Failing(since, answer.summary())
        self._circuit = circuit.failed(
            policy.circuit,
            self._circuit,
            now=asyncio.get_running_loop().time(),
            jitter=self._ctx.chance.random(),
            answers=answer.status is not None,
        )
        if before == 0 and self._circuit.trips:
            logger.debug("webhooks are not taken: tried one at a time", endpoint=self.endpoint)

    def _delay(self, policy: DeliveryPolicy, verdict: Retry, answer: Answer) -> float:
        """An open circuit is the receiver's fault: a message waits for that, and not longer."""
        if verdict.everyone:
            until = asyncio.get_running_loop().time() + verdict.delay
            self._circuit = circuit.quiet(self._circuit, until=until)
            return 0.0
        self._fails(policy, answer)
        return verdict.delay if verdict.asked or self._circuit.opened_until is None else 0.0

    def _try_again(self, lane: Lane, item: Pending, answer: Answer, delay: float) -> None:
        next_at, attempts = self._ctx.wall() + delay, item.attempts + 1
        self._save_later(
            DeliveryResult(
                id=item.id,
                attempts=attempts,
                next_at=next_at,
                error=answer.summary(),
                tried_since=lane.tried_since,
            )
        )
        lane.waiting[0] = replace(
            item, attempts=attempts, next_at=next_at, tried_since=lane.tried_since, body=None
        )
        lane.busy = False
        self._arm(lane, delay)

    async def _finish(self, lane: Lane, result: DeliveryResult) -> None:
        self._unsaved += 1
        self._pump()  # its place is free
        try:
            await self._ctx.journal.save(result)
        finally:
            self._unsaved -= 1
            self._next(lane)

    def _save_later(self, result: DeliveryResult | Hold) -> None:
        """For which nobody waits."""
        self._ctx.journal.save_later(result)

    def _expire_older(self, policy: DeliveryPolicy) -> None:
        """A receiver that has been dead for so long: what waits for it as long is not tried."""
        limit = self._ctx.ages.ago(policy.give_up_after)
        for lane in self._lanes:
            since = lane.tried_since
            if lane.busy or lane.held_since is not None or since is None or since > limit:
                continue
            lane.expire_before = limit
            self._disarm(lane)
            self._go_on(lane)

    def _task(self, work: Callable[[], Awaitable[None]], after: Callable[[], None]) -> None:
        async def run() -> None:
            try:
                await work()
            except Exception:  # noqa: BLE001 - the loop boundary of a line
                logger.exception("a bug in waguard", event="bug", endpoint=self.endpoint)

        task = asyncio.create_task(run(), name=f"webhook {self.endpoint}")
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if not self._closed:
                after()

        task.add_done_callback(ended)
