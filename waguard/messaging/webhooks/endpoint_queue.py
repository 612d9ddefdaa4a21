"""The shell of one delivery queue: it performs what ``core.webhooks.queue`` decides, and says what came of it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from loguru import logger
from msgspec import Struct

from waguard.core.replace import replace
from waguard.core.webhooks.circuit import Circuit
from waguard.core.webhooks.delivery import Answer
from waguard.core.webhooks.facts import (
    Answered,
    Attempt,
    Closed,
    Configured,
    DeadLettered,
    Effect,
    Ending,
    Fact,
    Failed,
    Later,
    Leaving,
    Load,
    Loaded,
    LoadPartition,
    LoadSession,
    Lookup,
    LookupDone,
    Lost,
    Now,
    PartitionLoaded,
    Poked,
    Rewound,
    Save,
    Saved,
    SaveLater,
    SessionLoaded,
    TimerDue,
)
from waguard.core.webhooks.owned import all_here
from waguard.core.webhooks.partition import MemoryWindow
from waguard.core.webhooks.pending import Pending
from waguard.core.webhooks.queue import advance
from waguard.core.webhooks.retry_policy import DeliveryPolicy
from waguard.core.webhooks.state import Queue
from waguard.errors import NotOwnedError, WaguardError
from waguard.messaging.webhooks.attempt import Attempts, Bodies
from waguard.messaging.webhooks.delivery_context import DeliveryContext

if TYPE_CHECKING:
    from loguru import Logger

READS: Final = 4  # partitions of which more is read at the same time


class Settings(Struct, frozen=True, kw_only=True):
    """Read at each fact: a reload reaches them. All as ``Configured`` has them."""

    policy: Callable[[], DeliveryPolicy]
    holds: Callable[[], bool]
    uses_lookup: Callable[[], bool]
    gets_ready: Callable[[], bool]
    url: Callable[[], str | None]

    def read(self) -> Configured:
        """As they are."""
        return Configured(
            policy=self.policy(),
            holds=self.holds(),
            uses_lookup=self.uses_lookup(),
            gets_ready=self.gets_ready(),
            url=self.url(),
        )


class EndpointQueue:
    """``state`` is the newest value: anybody may read it, at any time. Begins with the first ``poke``."""

    def __init__(
        self,
        endpoint: str,
        ctx: DeliveryContext,
        attempts: Attempts,
        settings: Settings,
        window: MemoryWindow,
        acquired: Collection[str] | None = None,
    ) -> None:
        """``acquired``: in a cluster the sessions whose webhooks it delivers; of one that is acquired later it hears by
        ``Acquired``."""
        self.endpoint = endpoint
        self._ctx = ctx
        self._attempts = attempts
        self._settings = settings
        self._configured = it = settings.read()
        self.state = Queue(
            policy=it.policy,
            holds=it.holds,
            uses_lookup=it.uses_lookup,
            url=it.url,
            window=window,
        )
        if acquired is not None:
            self.state = replace(self.state, owned=all_here(acquired))
        self._tasks: dict[asyncio.Future[None], str] = {}
        """With their sessions; "": with none, or it is a write, which is not cut off."""
        self._reader = _Reader(endpoint, ctx, attempts.bodies, lambda: self.state)
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()

    def poke(self) -> None:
        """The database has more, or can be written again."""
        self.post(Poked())

    def post(self, fact: Fact) -> None:
        """Handle it, and begin what follows."""
        configured = self._settings.read()
        if configured != self._configured:
            self._configured = configured
            self._advance(configured)
        self._advance(fact)
        self._set_timer()
        self._moved.set()

    def _advance(self, fact: Fact) -> None:
        before = self.state.receiver.circuit
        self.state, effects = advance(self.state, fact, self._now(fact))
        _log_circuit(self.endpoint, before, self.state.receiver.circuit)
        for effect in effects:
            self._perform(effect)
        self._attempts.bodies.tidy(self.state)

    def _now(self, fact: Fact) -> Now:
        ctx, expired, long = self._ctx, float("-inf"), float("-inf")
        answer = fact.outcome if isinstance(fact, Answered) else None
        if isinstance(answer, Answer) and not answer.delivered:
            policy, ago = self.state.policy, ctx.ages.ago
            expired, long = ago(policy.give_up_after), ago(policy.only_chat)
        return Now(
            at=self._loop.time(),
            wall=ctx.wall(),
            chance=ctx.chance.random(),
            can_write=ctx.journal.can_write,
            expired=expired,
            long=long,
        )

    def _set_timer(self) -> None:
        wake = None if self.state.closed else self.state.wake
        if self._timer is not None:
            if self._timer.when() == wake:
                return
            self._timer.cancel()
        self._timer = None if wake is None else self._loop.call_at(wake, self._due)

    def _due(self) -> None:
        self._timer = None
        with self._logging_bugs():
            self.post(TimerDue())

    # ---- waiting for it ----

    async def drain(self) -> None:
        """Wait until it is idle."""
        await self._until(lambda: self.state.idle)

    async def wind_down(self) -> None:
        """Wait until it is quiet; cut off, nothing is begun any more but session events."""
        try:
            await self._until(lambda: self.state.quiet)
        finally:
            self.post(Ending())

    async def answered(self) -> None:
        """Wait until nothing is in flight, and the database has all results."""
        await self._until(lambda: self.state.is_saved)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._moved.clear()
            await self._moved.wait()

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is in flight has ``grace`` s to end. What is cut off is not
        saved: it is delivered again."""
        self.post(Closed())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._tasks:  # an answer is followed by the write of its result
                    await asyncio.wait(self._tasks)
        await _end(list(self._tasks))

    # ---- sessions that come and go ----

    async def release(self, session: str, grace: float) -> None:
        """Begin nothing more of a session; what is in flight has ``grace`` s to end."""
        self.post(Leaving(session=session))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._until(lambda: self.state.is_saved_of(session))

    async def lose(self, session: str | None) -> None:
        """Forget a session; None: all that was read, for the database is an older state of itself. What is in flight of
        it is cut off."""
        if session is None:  # a write is no task
            cut: set[asyncio.Future[None]] = {
                it for it in self._tasks if isinstance(it, asyncio.Task)
            }
            self._attempts.bodies.clear()
            self.post(Rewound())
        else:
            cut = {it for it, of in self._tasks.items() if of == session}
            self.post(Lost(session=session))
        await _end(list(cut))

    # ---- what the queue wants done ----

    def _perform(self, effect: Effect) -> None:  # noqa: C901 - one line an effect
        match effect:
            case Attempt():
                self._start(partial(self._attempt, effect), effect.item.session_id)
            case Save():
                self._save(effect)
            case SaveLater(result=result):
                self._ctx.journal.save_later(result)
            case Load() | LoadPartition() | LoadSession() if self.state.closed:
                pass  # nothing more is begun
            case Load():
                self._start(partial(self._reader.load, effect))
            case LoadPartition():
                self._start(partial(self._reader.load_partition, effect), effect.key[0])
            case LoadSession(session=session):
                self._start(partial(self._reader.load_session, effect), session)
            case Lookup(item=item):
                self._start(partial(_stored_there, self._attempts, item), item.session_id)
            case Failed(item=item, why=why, attempt=attempt):
                _log(item).warning(
                    "webhook delivery failed", event="webhook_failed", why=why, attempt=attempt
                )
            case DeadLettered(item=item, why=why, stored=True):
                _log(item).warning(
                    "webhook stored, and answered with an error", event="webhook_stored", why=why
                )
            case DeadLettered(item=item, why=why):
                _log(item).error("webhook is a dead letter now", event="webhook_dead", why=why)
            case _:
                raise AssertionError(effect)

    def _start(self, work: Callable[[], Awaitable[Fact | None]], session: str = "") -> None:
        """Do it by itself, for a session or for all; what comes of it is a fact. A bug is logged."""

        async def run() -> None:
            with self._logging_bugs():
                if (fact := await work()) is not None:
                    self.post(fact)

        task = asyncio.create_task(run(), name=f"webhook {self.endpoint}")
        self._tasks[task] = session
        task.add_done_callback(self._tasks.pop)

    @contextlib.contextmanager
    def _logging_bugs(self) -> Iterator[None]:
        """Around what the event loop calls: nobody above it hears of an error."""
        try:
            yield
        except Exception:  # noqa: BLE001 - the loop boundary of a queue
            logger.exception("a bug in waguard", event="bug", endpoint=self.endpoint)

    async def _attempt(self, effect: Attempt) -> Fact:
        item = effect.item
        try:
            outcome = await self._attempts.deliver(
                item,
                calls_back=effect.calls_back,
                lookup_first=effect.lookup_first,
                is_announced=lambda: self.state.is_announced(item.key),
            )
        except Exception:  # noqa: BLE001 - its place would never be free again
            self._attempts.log_bug(item)
            outcome = Answer(error="a bug in waguard", bug=True, reached=False)
        if not isinstance(outcome, Later):
            self._attempts.bodies.drop(item.id)
        return Answered(key=item.key, id=item.id, outcome=outcome)

    def _save(self, effect: Save) -> None:
        saved = self._ctx.journal.save_later(effect.result)
        self._tasks[saved] = ""
        saved.add_done_callback(partial(self._saved, effect))

    def _saved(self, effect: Save, saved: "asyncio.Future[None]") -> None:
        self._tasks.pop(saved)
        if saved.cancelled():  # the webhook is delivered again
            return
        with self._logging_bugs():
            if isinstance(saved.exception(), NotOwnedError):
                # before the keeper hears of the loss; else it would hold up the others
                self.post(Lost(session=effect.key[0]))
            else:  # where the database refuses it for good the writer logs it, and what follows goes on
                self.post(Saved(key=effect.key, id=effect.result.id))


async def _stored_there(attempts: Attempts, item: Pending) -> Fact:
    found: bool | None = None
    try:
        found = await attempts.is_stored(item)
    except Exception:  # noqa: BLE001 - nobody would search for it again, nor deliver what follows
        attempts.log_bug(item)
    return LookupDone(key=item.key, id=item.id, found=found)


async def _end(tasks: "Sequence[asyncio.Future[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Reader:
    """Reads what is pending for one endpoint until it can be read; None: the queue was closed meanwhile."""

    def __init__(
        self, endpoint: str, ctx: DeliveryContext, bodies: Bodies, state: Callable[[], Queue]
    ) -> None:
        self._endpoint = endpoint
        self._ctx = ctx
        self._bodies = bodies
        self._state = state
        self._reads = asyncio.Semaphore(READS)

    async def load(self, effect: Load) -> Fact | None:
        """The next of all partitions."""
        found = await self._read(after=effect.after, limit=effect.limit)
        if found is None:
            return None
        return Loaded(found=tuple(found), whole=len(found) < effect.limit)

    async def load_partition(self, effect: LoadPartition) -> Fact | None:
        """The next of one."""
        async with self._reads:
            found = await self._read(
                after=effect.after, limit=effect.limit, partition=effect.key, until=effect.until
            )
        if found is None:
            return None
        whole = len(found) < effect.limit
        return PartitionLoaded(key=effect.key, found=tuple(found), until=effect.until, whole=whole)

    async def load_session(self, effect: LoadSession) -> Fact | None:
        """The next of one session."""
        after, sessions = effect.after, (effect.session,)
        found = await self._read(after=after, limit=effect.limit, sessions=sessions)
        if found is None:
            return None
        whole = len(found) < effect.limit
        return SessionLoaded(session=effect.session, after=after, found=tuple(found), whole=whole)

    async def _read(self, **which: object) -> list[Pending] | None:
        while not self._state().closed:
            try:
                found, bodies = await self._ctx.store.pending(self._endpoint, **which)  # type: ignore[arg-type]  # those of ``pending``
            except Exception as error:  # noqa: BLE001 - a queue that reads no more delivers no more
                if not isinstance(error, WaguardError):
                    logger.exception("a bug in waguard", event="bug", endpoint=self._endpoint)
                await asyncio.sleep(self._ctx.retry)
                continue
            self._bodies.keep(bodies, self._state())
            return found
        return None


def _log_circuit(endpoint: str, before: Circuit, after: Circuit) -> None:
    if after.trips and not before.trips:
        logger.debug("the receiver fails: one delivery is tried at a time", endpoint=endpoint)
    elif before.trips and not after.trips:
        logger.debug("the receiver works again", endpoint=endpoint)


def _log(item: Pending) -> "Logger":
    return logger.bind(session=item.session_id, what=item.event, id=item.event_id)
