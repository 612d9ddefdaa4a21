"""What all parts of the outbox share."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from loguru import logger
from msgspec import Struct, field

from waguard.config.sections import Config
from waguard.core.metrics.tally import Tally
from waguard.errors import UnavailableError, WaguardError
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.accepted_sends import AcceptedSends
from waguard.messaging.own_sessions import OwnSessions
from waguard.messaging.timings import SendBounds, SendTimings
from waguard.ports.clock import Ages, Clock
from waguard.ports.outbox import UNDECIDED, OutboxStore, StateUpdate, Withdrawal
from waguard.ports.sessions import Sessions


class Tasks:
    """The outbox's tasks; a bug in one is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run it by itself."""
        task = asyncio.create_task(work, name="outbox")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_bug)

    async def wait(self, grace: float) -> None:
        """Give them ``grace`` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)

    def cancel(self) -> None:
        """End them now."""
        for task in self._tasks:
            task.cancel()


class NotSentWrites:
    """What was not sent, while its row may still say something else."""

    def __init__(self, journal: Journal, timings: SendTimings) -> None:
        self._journal = journal
        self._timings = timings
        self._writes: set[asyncio.Future[Any]] = set()

    def write(self, item: StateUpdate) -> "asyncio.Future[tuple[int, ...]]":
        """Have the row say that it was not sent, however long that takes."""
        writing = self._journal.update(item)
        self._watch(writing)
        return writing

    def withdraw(self, item: Withdrawal) -> None:
        """Forget the message, however long that takes, and again while a transaction of a lost connection may still keep
        it, for ``undecided_times`` times ``undecided`` seconds (a minute): what a server commits still later it has
        kept, and the next run sends it."""
        deciding = self._withdraw(item, self._journal.update(item))
        self._watch(asyncio.create_task(deciding, name="withdraw"))

    async def _withdraw(self, item: Withdrawal, writing: "asyncio.Future[tuple[int, ...]]") -> None:
        with contextlib.suppress(WaguardError):  # which the journal has logged
            for _ in range(self._timings.undecided_times):
                if UNDECIDED not in await writing:
                    return
                await asyncio.sleep(self._timings.undecided)
                writing = self._journal.update(item)
            await writing

    def _watch(self, writing: "asyncio.Future[Any]") -> None:
        self._writes.add(writing)
        writing.add_done_callback(self._writes.discard)

    async def written(self, timeout: float) -> bool:
        """Wait at most ``timeout`` s until all rows say so; whether they do."""
        if not self._writes:
            return True
        _, late = await asyncio.wait(self._writes, timeout=timeout)
        return not late


GroupWaits = Callable[[str, str], bool]


def no_group_waits(_session: str, _chat: str) -> bool:
    """Nothing waits but for its turn."""
    return False


class SendContext(Struct, frozen=True, kw_only=True):
    """``config`` is read at each send."""

    sessions: Sessions
    store: OutboxStore
    journal: Journal
    config: Callable[[], Config]
    clock: Clock
    ages: Ages
    timings: SendTimings
    bounds: SendBounds
    not_sent: NotSentWrites
    accepted: AcceptedSends
    tally: Tally
    own: OwnSessions
    epoch_seen: Callable[[str], int | None] = lambda _: None
    """In a cluster the epoch of a session that nobody living owns, as it was seen; None: somebody does."""
    group_waits: GroupWaits = no_group_waits
    """Whether nothing is sent to a chat of a session for now."""
    file: Callable[[str], Path | None] = lambda _: None
    """Where a file lies that is sent by its name; None: it is not kept. Blocks. Raises ``UnavailableError`` where its
    disk does not say so now."""
    bring: Callable[[str], Awaitable[None]] | None = None
    """In a cluster: has such a file come from another host, where one has it. Raises ``WaguardError``:
    ``UnavailableError`` where one that may have it is away."""
    sending: Tasks = field(default_factory=Tasks)
    """What the end gives time."""
    waiting: Tasks = field(default_factory=Tasks)
    """What the end cancels."""


def stopping() -> UnavailableError:
    """Nothing is begun any more."""
    return UnavailableError("waguard is stopping", retry_after=10)


def _log_bug(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.opt(exception=error).critical("a bug in waguard", event="bug", task=task.get_name())
