"""One text to many, or a text to each: kept as a whole, sent one after the other.

The messages are the outbox's own, each due ``send.bulk_gap`` after the one before. A repeated
request is the same bulk: as long as its key counts, and without a key as long as the application
may repeat a request whose reply was lost.
"""

import asyncio
import functools
import hashlib
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Final

from waguard.config.sections import Send
from waguard.core.messages.repetitions import KEY_LASTS, REPEATED_FOR, Earlier
from waguard.core.messages.send_states import State
from waguard.errors import ConflictError, NotFoundError
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.outbox.pending_sends import Options
from waguard.messaging.outbox.repetitions import fingerprint, repeats
from waguard.ports.clock import Ages, WallAges
from waguard.ports.outbox import OutboxStore, Outgoing
from waguard.wire.calls import SendText

LIMIT: Final = 1_000  # messages
# of a request that named no key; the rest is what it is about. A client's key is printable
_OWN_KEY: Final = "\x1fbulk "
_OLD_KEY: Final = "bulk "  # what it was once: a bulk may be repeated over an upgrade


class Bulks:
    """``settings`` are read at each bulk; ``wall`` is unix time."""

    def __init__(
        self,
        outbox: Outbox,
        store: OutboxStore,
        settings: Callable[[], Send],
        *,
        wall: Callable[[], float] = time.time,
        ages: Ages | None = None,
    ) -> None:
        self._outbox = outbox
        self._store = store
        self._settings = settings
        self._wall = wall
        self._ages = ages or WallAges(wall)
        self._going: dict[tuple[str, str], tuple[str, asyncio.Task[str]]] = {}
        """Being kept, with what it is about, by session and key."""

    async def accept(
        self, session_id: str, workspace_id: int, commands: Sequence[SendText], key: str | None
    ) -> str:
        """Keep them all, or none; the bulk's id. A caller that is cancelled changes nothing.

        Raises ``KeyReusedError``, and as ``Outbox.keep_all``.
        """
        about = _about(session_id, commands)
        ident = session_id, key or f"{_OWN_KEY}{about[:40]}"
        if ident not in self._going:
            keeping = self._keep(ident, workspace_id, commands, about)
            self._going[ident] = about, asyncio.create_task(keeping, name="outbox bulk")
            self._going[ident][1].add_done_callback(functools.partial(self._kept, ident))
        going, task = self._going[ident]
        repeats(about, Earlier(fingerprint=going))
        return await asyncio.shield(task)

    def _kept(self, ident: tuple[str, str], task: "asyncio.Task[str]") -> None:
        del self._going[ident]
        if not task.cancelled():
            task.exception()  # whoever asked has its answer, or has left

    async def counts(
        self, bulk_id: str, sessions: Collection[str] | None = None
    ) -> dict[State, int]:
        """How many messages are in which state. Raises ``NotFoundError``, also for one of another session than
        ``sessions``."""
        if counts := await self._store.counts(bulk_id, sessions):
            return counts
        raise NotFoundError("there is no such bulk", remedy="see the answer to bulk-send")

    async def cancel(self, bulk_id: str, sessions: Collection[str] | None = None) -> None:
        """Cancel what has not begun. Raises as ``counts``."""
        await self.counts(bulk_id, sessions)
        waiting = await self._store.listing(bulk_id=bulk_id, state=State.ACCEPTED, limit=LIMIT)
        ends = await asyncio.gather(*map(self._outbox.cancel, waiting), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, ConflictError):
                raise end

    async def _keep(
        self,
        ident: tuple[str, str],
        workspace_id: int,
        commands: Sequence[SendText],
        about: str,
    ) -> str:
        session_id, key = ident
        first = fingerprint(session_id, commands[0], about)
        row = await self._find(session_id, key)
        if row:
            earlier = await self._earlier(row, own=key.startswith(_OWN_KEY))
            if repeats(first, earlier) and row.bulk_id is not None:
                return row.bulk_id
        bulk_id, now, gap = str(uuid.uuid4()), self._wall(), self._settings().bulk_gap
        await self._outbox.keep_all(
            session_id,
            workspace_id,
            [
                (
                    command,
                    Options(later=True, send_at=now + index * gap, bulk_id=bulk_id, scope=about),
                )
                if index
                else (command, Options(key=key, later=True, bulk_id=bulk_id, scope=about))
                for index, command in enumerate(commands)
            ],
        )
        return bulk_id

    async def _find(self, session_id: str, key: str) -> Outgoing | None:
        row = await self._outbox.find_key(session_id, key)
        if row is None and key.startswith(_OWN_KEY):
            old = _OLD_KEY + key.removeprefix(_OWN_KEY)
            row = await self._outbox.find_key(session_id, old)
        return row

    async def _earlier(self, row: Outgoing, *, own: bool) -> Earlier:
        """``own``: neither this request nor that of ``row`` named a key."""
        age = self._ages.age(row.created_at)
        if row.bulk_id is None:
            return Earlier(fingerprint=None, age=age)
        # who cancels a bulk and asks for it again wants another one
        cancelled = own and State.CANCELLED in await self._store.counts(row.bulk_id)
        return Earlier(
            fingerprint=row.fingerprint,
            may_have_happened=not cancelled,
            age=age,
            lasts=REPEATED_FOR if own else KEY_LASTS,
        )


def _about(session_id: str, commands: Sequence[SendText]) -> str:
    """A digest of what makes a bulk the same."""
    digest = hashlib.sha256()
    for command in commands:
        digest.update(fingerprint(session_id, command).encode())
    return digest.hexdigest()
