"""Webhooks that nobody gets any more: made dead letters, and queued again by a person."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final

from loguru import logger

from waguard.core.webhooks.delivery import TOO_LONG, Cause
from waguard.core.webhooks.pending import Key
from waguard.errors import ConflictError, DatabaseUnavailableError
from waguard.messaging.webhooks.endpoints import Endpoints
from waguard.ports.messages import MessageStore
from waguard.ports.webhooks import GLOBAL, Replayed

AT_ONCE: Final = 500  # webhooks a transaction

REMOVED: Final = "its endpoint was removed"
UNSET: Final = "webhook.url is not set any more"


class DeadLetterQueue:
    """``requeued`` gets partitions that have more to deliver before what waits in them, with the highest id of
    that; ``forget`` a session and a time (unix): its messages from before are dead letters; ``expire`` a time (unix): so is
    all from before; ``given_up`` the ids of dead letters."""

    def __init__(
        self,
        store: MessageStore,
        endpoints: Endpoints,
        *,
        requeued: Callable[[str, Key, int], None],
        forget: Callable[[str, float], None],
        expire: Callable[[float], None],
        given_up: Callable[[Collection[int]], None],
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._requeued = requeued
        self._forget = forget
        self._expire = expire
        self._given_up = given_up
        self._doubtful: dict[tuple[str, Key], int] = {}
        """Partitions that may have more to deliver, where a commit's answer was lost, with the highest id of that."""

    async def add(self, why: str, cause: Cause, **which: Any) -> int:
        """Make dead letters of what is pending, as ``MessageStore.dead_letter_pending`` has it; how
        many. A few at a time: sends go between."""
        count = 0
        while gone := await self._store.dead_letter_pending(why, cause, **which, limit=AT_ONCE):
            count += len(gone)
        return count

    async def add_session(self, session_id: str, why: str, *, before: float) -> int:
        """Make dead letters of the messages of a session that were queued before then (unix time);
        how many."""
        count = await self.add(why, Cause.OTHER_NUMBER, session_id=session_id, before=before)
        self._forget(session_id, before)
        if count:
            logger.warning(
                "webhooks are dead letters now",
                event="webhooks_dead",
                session=session_id,
                count=count,
                why=why,
            )
        return count

    async def add_expired(self, before: float) -> int:
        """Make dead letters of all that was queued before then (unix time); how many. Raises ``WaguardError``."""
        give_up, count = self._store.dead_letter_pending, 0
        try:
            while gone := await give_up(TOO_LONG, Cause.EXPIRED, before=before, limit=AT_ONCE):
                count += len(gone)
                self._given_up(gone)  # at once: what follows may take long, or fail
            self._expire(before)
        finally:
            if count:
                said = "webhooks are dead letters now"
                logger.warning(said, event="webhooks_dead", why=TOO_LONG, count=count)
        return count

    async def add_unset(self) -> None:
        """Make dead letters of what is left of ``webhook.url`` where that is not set any more."""
        if self._endpoints.global_is_set:
            return
        if count := await self.add(UNSET, Cause.REMOVED, endpoint=GLOBAL):
            logger.warning(
                "webhooks are dead letters now", event="webhooks_dead", why=UNSET, count=count
            )

    async def replay(self, number: int | None = None) -> int:
        """Queue a dead letter again, or all that there are now and that still have a receiver; how
        many.

        Raises ``ConflictError`` for one that has none.
        """
        known = await self._endpoints.receivers()
        first, last, count = number or 0, number, 0
        if last is None:  # those that die again meanwhile have higher ids
            last = next((letter.id for letter in await self._store.dead(limit=1)), 0)
        elif (letter := await self._store.dead_letter(last)) and letter.endpoint not in known:
            raise ConflictError(
                REMOVED if letter.endpoint != GLOBAL else UNSET,
                field="number",
                value=number,
                remedy="set the receiver again, or discard the dead letter",
            )
        while found := await self._queued(self._store.replay(first, last, known)):
            count += len(found)
            first = found[-1].id + 1  # it may be dead again already
        return count

    async def release_restored(self) -> int:
        """Queue what the daemon before a restore may have delivered; how many. What is looked up waits for that."""
        known, count = await self._endpoints.receivers(), 0
        pending = not self._endpoints.global_has_table
        while found := await self._queued(self._store.release_restored(known, pending=pending)):
            count += len(found)
        return count

    async def _queued(self, replay: Awaitable[list[Replayed]]) -> list[Replayed]:
        """What it replays is delivered; also what it may have, where the commit's answer was lost."""
        try:
            found = await replay
        except DatabaseUnavailableError:
            self._doubtful = _newest(self._store.chosen(), self._doubtful)
            self._queue_again(self._doubtful)
            raise
        self._queue_again(self._doubtful)  # by now such a commit has come, or never will
        self._doubtful = {}
        self._queue_again(_newest(found, {}))
        return found

    def _queue_again(self, newest: Mapping[tuple[str, Key], int]) -> None:
        for (endpoint, key), number in newest.items():
            self._requeued(endpoint, key, number)

    async def replay_unidentified(self, session_id: str, chat: str) -> int:
        """Queue what waits in a chat whose LID has no known number, under the LID; how many.

        Raises ``ConflictError`` where nobody would get it.
        """
        known, count = await self._endpoints.receivers(), 0
        while found := await self._queued(self._store.replay_unidentified(session_id, chat, known)):
            count += len(found)
        if not known:
            raise ConflictError(UNSET, remedy="set webhook.url, or the session's own receiver")
        return count


def _newest(
    found: Iterable[Replayed], known: Mapping[tuple[str, Key], int]
) -> dict[tuple[str, Key], int]:
    """The highest id by endpoint and partition."""
    newest = dict(known)
    for it in found:
        key = it.endpoint, (it.session_id, it.partition)
        newest[key] = max(it.id, newest.get(key, 0))
    return newest
