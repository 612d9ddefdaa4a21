"""The shell of one delivery queue: it performs what ``core.webhooks.queue`` decides, and says what came of it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from loguru import logger

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
    Load,
    Loaded,
    LoadPartition,
    Lookup,
    LookupDone,
    Now,
    PartitionLoaded,
    Poked,
    Save,
    Saved,
    SaveLater,
    TimerDue,
)
from waguard.core.webhooks.partition import MemoryWindow
from waguard.core.webhooks.pending import Pending
from waguard.core.webhooks.queue import advance
from waguard.core.webhooks.retry_policy import DeliveryPolicy
from waguard.core.webhooks.state import Queue
from waguard.errors import WaguardError
from waguard.messaging.webhooks.attempt import Attempts, Bodies
from waguard.messaging.webhooks.delivery_context import DeliveryContext

if TYPE_CHECKING:
    from loguru import Logger

READS: Final = 4  # partitions of which more is read at the same time


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Read at each fact: a reload reaches them. ``holds`` and ``uses_lookup`` as ``Configured`` has them."""

    policy: Callable[[], DeliveryPolicy]
    holds: Callable[[], bool]
    uses_lookup: Callable[[], bool]

    def read(self) -> tuple[DeliveryPolicy, bool, bool]:
        """As they are."""
        return self.policy(), self.holds(), self.uses_lookup()


class EndpointQueue:
    """``state`` is the newest value: anybody may read it, at any time. Begins with the first ``poke``."""

    def __init__(
        self,
        endpoint: str,
        ctx: DeliveryContext,
        attempts: Attempts,
        settings: Settings,
        window: MemoryWindow,
    ) -> None:
        self.endpoint = endpoint
        self._ctx = ctx
        self._attempts = attempts
        self._settings = settings
        self._configured = policy, holds, uses_lookup = settings.read()
        self.state = Queue(policy=policy, holds=holds, uses_lookup=uses_lookup, window=window)
        self._tasks: set[asyncio.Future[None]] = set()
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
            self._configured = policy, holds, uses_lookup = configured
            self._advance(Configured(policy=policy, holds=holds, uses_lookup=uses_lookup))
        self._advance(fact)
        self._set_timer()
        self._moved.set()

    def _advance(self, fact: Fact) -> None:
        before = self.state.receiver.circuit
        self.state, effects = advance(self.state, fact, self._now(fact))
        self._log_circuit(before, self.state.receiver.circuit)
        for effect in effects:
            self._perform(effect)
        self._attempts.bodies.tidy(self.state)

    def _log_circuit(self, before: Circuit, after: Circuit) -> None:
        if after.trips and not before.trips:
            logger.debug(
                "the receiver fails: one delivery is tried at a time", endpoint=self.endpoint
            )
        elif before.trips and not after.trips:
            logger.debug("the receiver works again", endpoint=self.endpoint)

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
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # ---- what the queue wants done ----

    def _perform(self, effect: Effect) -> None:  # noqa: C901 - one line an effect
        match effect:
            case Attempt():
                self._start(partial(self._attempt, effect))
            case Save():
                self._save(effect)
            case SaveLater(result=result):
                self._ctx.journal.save_later(result)
            case Load() | LoadPartition() if self.state.closed:
                pass  # nothing more is begun
            case Load():
                self._start(partial(self._reader.load, effect))
            case LoadPartition():
                self._start(partial(self._reader.load_partition, effect))
            case Lookup(item=item):
                self._start(partial(self._lookup, item))
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

    def _start(self, work: Callable[[], Awaitable[Fact | None]]) -> None:
        """Do it by itself; what comes of it is a fact. A bug is logged."""

        async def run() -> None:
            with self._logging_bugs():
                if (fact := await work()) is not None:
                    self.post(fact)

        task = asyncio.create_task(run(), name=f"webhook {self.endpoint}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @contextlib.contextmanager
    def _logging_bugs(self) -> Iterator[None]:
        """Around what the event loop calls: nobody above it hears of an error."""
        try:
            yield
        except Exception:  # noqa: BLE001 - the loop boundary of a queue
            logger.exception("a bug in waguard", event="bug", endpoint=self.endpoint)

    async def _attempt(self, effect: Attempt) -> Fact:
        item = effect.item
        outcome = await self._attempts.deliver(
            item,
            calls_back=effect.calls_back,
            lookup_first=effect.lookup_first,
            is_announced=lambda: self.state.is_announced(item.key),
        )
        if not isinstance(outcome, Later):
            self._attempts.bodies.drop(item.id)
        return Answered(key=item.key, id=item.id, outcome=outcome)

    async def _lookup(self, item: Pending) -> Fact:
        return LookupDone(key=item.key, id=item.id, found=await self._attempts.is_stored(item))

    def _save(self, effect: Save) -> None:
        saved = self._ctx.journal.save_later(effect.result)
        self._tasks.add(saved)
        saved.add_done_callback(partial(self._saved, effect))

    def _saved(self, effect: Save, saved: "asyncio.Future[None]") -> None:
        self._tasks.discard(saved)
        # an error is logged by the writer; after a cut the webhook is delivered again
        if not saved.cancelled() and saved.exception() is None:
            with self._logging_bugs():
                self.post(Saved(key=effect.key, id=effect.result.id))


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


def _log(item: Pending) -> "Logger":
    return logger.bind(session=item.session_id, what=item.event, id=item.event_id)
