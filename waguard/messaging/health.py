"""What is wrong with messages on their way: read off memory, and off the database where that counts."""

from collections.abc import Callable
from typing import Final

from loguru import logger

from waguard.core import conditions
from waguard.core.blame import Condition
from waguard.core.conditions import LATE_AFTER, Receiver, Unidentified
from waguard.errors import WaguardError
from waguard.messaging.journal import Journal
from waguard.messaging.webhooks.webhooks import Webhooks, overdue
from waguard.ports.clock import Ages
from waguard.ports.webhooks import Queued

COUNTED_EVERY: Final = 10.0  # s between two questions to the database
FAILING_FOR: Final = 5.0  # s; a database that is locked for a moment is no trouble


class MessageHealth:
    """``hold_limit``: seconds that a received message may wait for its session."""

    def __init__(
        self, webhooks: Webhooks, journal: Journal, *, hold_limit: Callable[[], float], ages: Ages
    ) -> None:
        self._webhooks = webhooks
        self._journal = journal
        self._hold_limit = hold_limit
        self._ages = ages
        self._queued = Queued()
        self._answers = False
        self._unread: dict[str, tuple[int, float]] = {}
        """Webhooks that are in the database alone, by endpoint, and since when (unix time)."""

    async def count(self) -> None:
        """Ask the database; while it does not answer, what it said before stays."""
        try:
            await self._journal.sends.check()
            await self._webhooks.rewinding.check()
            self._queued = await self._journal.store.queued()
            self._answers = True
            before, now = self._unread, self._ages.ago(0.0)
            found = self._webhooks.queues.unread(self._queued.first)
            self._unread = {
                endpoint: before[endpoint]
                if before.get(endpoint, (0,))[0] == number
                else (number, now)
                for endpoint, number in found.items()
            }
        except WaguardError as error:
            self._answers = False
            logger.debug("webhooks not counted", why=error.line())

    @property
    def receivers(self) -> list[Receiver]:
        """How each receiver of webhooks stands."""
        before = self._ages.ago(LATE_AFTER)
        unread = {endpoint: since for endpoint, (_, since) in self._unread.items()}
        return self._webhooks.queues.receivers(self._queued.pending, unread, before=before)

    @property
    def queued(self) -> Queued | None:
        """What the database has counted; None: it does not answer now, or was not asked yet."""
        return self._queued if self._answers else None

    @property
    def dead(self) -> int:
        """Dead letters, whatever their cause."""
        return sum(it.count for it in self._queued.dead)

    def conditions(self) -> list[Condition]:
        """As it is now; without I/O."""
        limit = self._ages.ago(self._hold_limit())
        return [
            *self._database(),
            *conditions.of_receivers(self.receivers),
            *conditions.of_dead_letters(
                [it for it in self._queued.dead if self._is_ours(it.session)]
            ),
            *conditions.of_unidentified(self._unidentified()),
            *conditions.of_held(overdue(self._webhooks.queues.held(), limit)),
            *self._webhooks.conditions(),
        ]

    def _database(self) -> list[Condition]:
        backlog = self._journal.backlog
        count, age = backlog.count, backlog.age
        if backlog.behind or (self._journal.refusal and age >= FAILING_FOR):
            why = self._journal.refusal
            return [conditions.database_behind(count, why, since=self._ages.ago(age), age=age)]
        refusal = self._journal.sends.refusal
        if refusal is None or refusal.age < FAILING_FOR:
            return []
        return [conditions.sends_refused(refusal.why, since=self._ages.ago(refusal.age))]

    def _is_ours(self, session_id: str | None) -> bool:
        """Another host reports its sessions itself. None: it is about all."""
        return session_id is None or self._webhooks.owned.owns(session_id)

    def _unidentified(self) -> list[Unidentified]:
        sessions: dict[str, list[tuple[float, str]]] = {}
        for it in self._queued.unidentified:
            if not self._is_ours(it.session_id):
                continue
            sessions.setdefault(it.session_id, []).append((it.since, it.chat))
        return [
            Unidentified(
                session=session, chats=len(chats), since=min(chats)[0], oldest=min(chats)[1]
            )
            for session, chats in sorted(sessions.items())
        ]
