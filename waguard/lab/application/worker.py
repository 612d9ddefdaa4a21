"""The queue of the application, and the workers behind it: what is queued happens later, or too late."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from waguard.lab.application.manners import Manners

TRIES: Final = 2
SPREAD: Final = 0.5  # of the time that a job takes

Queue = Literal["messaging", "whatsapp-urgent"]
"""The queue of a job: workers serve the first one first; it gets a job for every ack."""

Job = Callable[[], Awaitable[None]]


async def _of_others() -> None:
    """A job that is nobody's here, and takes its time all the same."""


@dataclass(slots=True)
class Workers:
    """An async task each. ``manners``: those of the moment; ``failed``: a job has used up its tries."""

    manners: Callable[[], Manners]
    chance: random.Random
    failed: Callable[[str, Exception], None]
    _waiting: dict[Queue, deque[tuple[str, Job, int]]] = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _busy: set[asyncio.Task[None] | None] = field(default_factory=set)
    """Tasks that run a job: a connection of theirs is not to be left open."""
    _stopping: bool = False
    _left: int = 0
    """Jobs that wait, run, or are tried again later."""

    def __post_init__(self) -> None:
        self._waiting = {"messaging": deque(), "whatsapp-urgent": deque()}
        self._idle.set()

    def start(self) -> None:
        """As many as its manners say."""
        self._tasks = [
            asyncio.create_task(self._work(), name=f"worker {number}")
            for number in range(self.manners().workers)
        ]

    async def stop(self) -> None:
        """What runs is finished, what waits is not done."""
        self._stopping = True
        for task in self._tasks:
            if task not in self._busy:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def is_idle(self) -> None:
        """Wait until nothing is left to do."""
        await self._idle.wait()

    def put(self, queue: Queue, name: str, job: Job, *, tries: int = TRIES) -> None:
        """A job, behind those that wait."""
        self._left += 1
        self._idle.clear()
        self._push(queue, name, job, tries)

    def put_others(self, count: int) -> None:
        """So many jobs that concern nobody here."""
        for _ in range(count):
            self.put("messaging", "another job", _of_others)

    def _push(self, queue: Queue, name: str, job: Job, tries: int) -> None:
        self._waiting[queue].append((name, job, tries))
        self._news.set()

    async def _work(self) -> None:
        while not self._stopping:
            queue = next((queue for queue, jobs in self._waiting.items() if jobs), None)
            if queue is None:
                await self._news.wait()
                # nobody wakes a worker that sleeps
                await asyncio.sleep(self.chance.uniform(0.0, self.manners().nap))
                self._news.clear()
                continue
            name, job, tries = self._waiting[queue].popleft()
            await asyncio.sleep(self.manners().job * self.chance.uniform(1 - SPREAD, 1 + SPREAD))
            task = asyncio.current_task()
            self._busy.add(task)
            try:
                await self._run(queue, name, job, tries - 1)
            finally:
                self._busy.discard(task)

    async def _run(self, queue: Queue, name: str, job: Job, left: int) -> None:
        try:
            await job()
        except Exception as error:  # noqa: BLE001 - as Laravel does
            if left:
                again = self.manners().job_again
                asyncio.get_running_loop().call_later(again, self._push, queue, name, job, left)
                return
            self.failed(name, error)
        self._left -= 1
        if not self._left:
            self._idle.set()
