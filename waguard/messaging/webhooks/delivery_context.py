"""What the queues of all endpoints share."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from loguru import logger

from waguard.core.webhooks.delivery import DeliveryPolicy
from waguard.messaging.journal import Journal
from waguard.messaging.timings import WEBHOOK
from waguard.messaging.webhooks.call_backs import CallBacks
from waguard.messaging.webhooks.partitions import MemoryWindow
from waguard.ports.clock import Ages, WallAges
from waguard.ports.messages import MessageStore
from waguard.ports.sessions import Connection

LINKING: Final = "its number is compared with the one before"
NOT_ANNOUNCED: Final = "its session_ready is not delivered yet"


@dataclass(frozen=True, kw_only=True)
class DeliveryContext:
    """``wall`` is unix time; ``gate`` says why the application would drop a message of this session
    now, None: it would not; ``connection`` how a session stands; ``retry``: seconds until the
    database is asked again."""

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
    window: MemoryWindow = field(default_factory=MemoryWindow)


class QueueTasks:
    """Of one endpoint's queue."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False
        """Nothing is begun any more."""

    def start(self, work: Callable[[], Awaitable[None]], after: Callable[[], None]) -> None:
        """Do it by itself, then call ``after``. A bug is logged."""

        async def run() -> None:
            try:
                await work()
            except Exception:  # noqa: BLE001 - the loop boundary of a queue
                logger.exception("a bug in waguard", event="bug", endpoint=self._endpoint)

        task = asyncio.create_task(run(), name=f"webhook {self._endpoint}")
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if not self.closed:
                after()

        task.add_done_callback(ended)

    async def close(self, grace: float) -> None:
        """Give what is done now ``grace`` s to end, then cut it off."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
