"""The messages of one session that wait: in order for each chat, several chats at a time."""

import asyncio
import contextlib
from bisect import insort
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Protocol

from loguru import logger

from waguard.errors import NotFoundError, WaguardError
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.messaging.timings import BOUNDS, SEND, SendTimings

Ready = Callable[[float], Awaitable[None]]
"""Wait so many seconds for the session; raises where it is not ready, or not there."""


class Acquire(Protocol):
    """The session's pace."""

    def __call__(self, *, bulk: bool) -> float:
        """Seconds until a message may go, one of a bulk or not; 0: now, and it counts."""


class ChatQueues:
    """``send`` says whether it is done with the message; else it is its turn again soon. ``lose``
    gets those whose session is gone. ``pause``: seconds for which first contacts pause.
    ``at_once``: chats that are written to at the same time. ``waits``: whether nothing is sent to a chat for now."""

    def __init__(  # noqa: PLR0913 - what others decide about a message's turn
        self,
        ready: Ready,
        send: Callable[[PendingSend], Awaitable[bool]],
        lose: Callable[[PendingSend, WaguardError], None],
        acquire: Acquire,
        pause: Callable[[], float] = lambda: 0.0,
        timings: SendTimings = SEND,
        at_once: int = BOUNDS.chats_at_once,
        *,
        waits: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._timings = timings
        self._at_once = at_once
        self._waits = waits
        self._ready = ready
        self._acquire = acquire
        self._pause = pause
        self._alarm: asyncio.TimerHandle | None = None
        self._held = False
        """Messages wait for the session's pace."""
        self._send = send
        self._lose = lose
        self._queues: dict[str, list[PendingSend]] = {}
        self._going: set[PendingSend] = set()
        self._coming: set[PendingSend] = set()
        self._united: dict[str, str] = {}
        """Names that a chat went by, with the one by which it goes now."""
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._newest = 0
        """The highest id of those that have waited."""
        self._vain_tries = 0
        self._closing = False

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is on its way."""
        return not self._queues and not self._going and not self._coming

    def waiting(self) -> list[PendingSend]:
        """All that wait, in the order of their acceptance."""
        return sorted((pending for queue in self._queues.values() for pending in queue), key=_order)

    def unite(self, chat: str, names: Collection[str]) -> None:
        """What waits under one of these names, or is on its way, is in this chat from now on, in the order of acceptance."""
        self._united |= dict.fromkeys(names, chat)
        for name in names:
            for pending in self._queues.pop(name, ()):
                self._insert(pending)
        for pending in (*self._going, *self._coming):
            self._rename(pending)

    def reserve(self, pending: PendingSend) -> bool:
        """Reserve its chat, where nothing waits for it; ``release`` gives it back."""
        self._rename(pending)
        chat = pending.chat_key
        taken = chat in self._queues or any(it.chat_key == chat for it in self._coming)
        taken = taken or chat in self._busy() or self._waits(chat)
        if taken or len(self._going) >= self._at_once:
            return False
        if self._held or self._acquire(bulk=False):
            return False
        self._going.add(pending)
        return True

    @contextlib.contextmanager
    def coming(self, pending: PendingSend) -> Iterator[None]:
        """While a message is being kept that will wait, none that comes later goes before it."""
        self._rename(pending)
        self._coming.add(pending)
        try:
            yield
        finally:
            self._coming.discard(pending)

    def release(self, pending: PendingSend) -> None:
        """The next one's turn."""
        self._going.discard(pending)
        self._changed.set()

    def wake(self) -> None:
        """What ``waits`` says has changed."""
        self._changed.set()

    def add(self, pending: PendingSend) -> None:
        """Let it wait for its turn."""
        self._newest = max(self._newest, pending.id)
        if pending.rests_until > 0:
            self._vain_tries += 1
            pending.again_after = self._newest, self._vain_tries
        self._insert(pending)
        self._changed.set()
        if not self._closing and (self._pump is None or self._pump.done()):
            self._pump = asyncio.create_task(self._work(), name=f"queue {pending.session_id}")

    def _insert(self, pending: PendingSend) -> None:
        self._rename(pending)
        queue = self._queues.setdefault(pending.chat_key, [])
        if pending not in queue:
            insort(queue, pending, key=_order)

    def _rename(self, pending: PendingSend) -> None:
        pending.chat_key = self._united.get(pending.chat_key, pending.chat_key)

    def _busy(self) -> set[str]:
        """The chats of what is on its way."""
        return {pending.chat_key for pending in self._going}

    def remove(self, pending: PendingSend) -> bool:
        """Whether it still waited."""
        queue = self._queues.get(pending.chat_key, [])
        if pending not in queue:
            return False
        queue.remove(pending)
        if not queue:
            del self._queues[pending.chat_key]
        self._changed.set()
        return True

    def claim(self, pending: PendingSend) -> bool:
        """Whether it still waited; then nothing goes to its chat before ``release``."""
        if not self.remove(pending):
            return False
        self._going.add(pending)
        return True

    async def close(self, grace: float) -> None:
        """Begin nothing more; give what is on its way ``grace`` seconds."""
        self._closing = True
        if self._pump:
            self._pump.cancel()
        if self._alarm:
            self._alarm.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        left = [*self._tasks, *([self._pump] if self._pump else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _work(self) -> None:
        while self._queues:
            self._changed.clear()
            try:
                await self._ready(self._timings.hope)
            except NotFoundError as error:
                for pending in self.waiting():
                    self.remove(pending)
                    self._lose(pending, error)
                return
            except WaguardError as error:
                logger.debug("messages wait for their session", why=error.line())
                await asyncio.sleep(self._timings.retry)
                continue
            except Exception:  # noqa: BLE001 - nobody else would begin what waits
                logger.exception("a bug in waguard: messages wait, trying again", event="bug")
                await asyncio.sleep(self._timings.retry)
                continue
            self._begin()
            await self._changed.wait()

    def _begin(self) -> None:
        """The first of each chat, in their turn, as far as there is room, and at the pace."""
        now, busy = asyncio.get_running_loop().time(), self._busy()
        heads = [queue[0] for chat, queue in self._queues.items() if chat not in busy]
        check = self._timings.pause_check
        paused = min(self._pause(), check)
        rests = {
            it: max(
                it.rests_until - now,
                paused if it.held else 0.0,
                check if self._waits(it.chat_key) else 0.0,
            )
            for it in heads
        }
        self._held, waits = False, [rest for rest in rests.values() if rest > 0]
        for pending in sorted((it for it, rest in rests.items() if rest <= 0), key=_turn):
            if len(self._going) >= self._at_once:
                break
            if wait := self._acquire(bulk=pending.bulk_id is not None):
                waits.append(wait)
                self._held = pending.bulk_id is None
                break
            self.claim(pending)
            task = asyncio.create_task(self._run(pending), name=f"send {pending.session_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._alarm:
            self._alarm.cancel()
        if waits:
            self._alarm = asyncio.get_running_loop().call_later(min(waits), self._changed.set)

    async def _run(self, pending: PendingSend) -> None:
        try:
            if not await self._send(pending):
                self.add(pending)
                if pending.rests_until <= asyncio.get_running_loop().time():
                    await asyncio.sleep(self._timings.retry)
        except Exception:  # noqa: BLE001 - it is kept as it is; the next run resumes it
            logger.exception(
                "a bug in waguard: a message is left as it is",
                event="bug",
                session=pending.session_id,
                id=pending.id,
            )
        finally:
            self.release(pending)


def _order(pending: PendingSend) -> int:
    return pending.id


def _turn(pending: PendingSend) -> tuple[bool, tuple[int, int]]:
    """Others need not wait for a bulk, whose ids are lower than theirs, nor for what was tried in vain: its turn comes as
    if it had been accepted then, after those that waited and before those that came later."""
    return pending.bulk_id is not None, max((pending.id, 0), pending.again_after)
