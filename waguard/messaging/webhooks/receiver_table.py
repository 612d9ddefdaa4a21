"""The receiver's own database, which is waguard's too: what it stored, and its rows of sessions."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol, TypeVar

from waguard.core import conditions
from waguard.core.blame import Condition
from waguard.core.webhooks import account_row_gate
from waguard.core.webhooks.account_row_gate import (
    NEW,
    AccountRow,
    Correct,
    Hold,
    Known,
    RepeatReady,
    RowHistory,
    Send,
)
from waguard.core.webhooks.stored import Message, Presence, Unknown
from waguard.errors import WaguardError
from waguard.messaging.stored import StoredMessages
from waguard.messaging.webhooks.batch import Batch
from waguard.ports.clock import Clock
from waguard.ports.stored import AccountRows

K = TypeVar("K")
FRESH: Final = 0.2  # s; a row that was right is read once for all messages within it
_PRESENCE: Final = {Presence.STORED: True, Presence.MISSING: False}


class RowOwner(Protocol):
    """Whoever keeps the sessions' rows."""

    def known(self, session_id: str) -> Known:
        """What waguard itself knows of it."""

    def record_correction(self, session_id: str, before: str) -> None:
        """Record that the session's row said ``before``, and says connected now."""

    def repeat_ready(self, session_id: str) -> None:
        """Publish its ``session_ready`` again."""


class ReceiverTable:
    """Fills ``attempt.Table``. ``expect_ready`` hears that a ``session_ready`` comes."""

    def __init__(
        self,
        stored: StoredMessages,
        rows: AccountRows,
        owner: RowOwner,
        clock: Clock,
        *,
        expect_ready: Callable[[str], None],
    ) -> None:
        self._stored = stored
        self._accounts = rows
        self._owner = owner
        self._clock = clock
        self._expect_ready = expect_ready
        self._received = Batch(self._find_received)
        self._sent = Batch(self._find_sent)
        self._rows = Batch(self._read_rows)
        self._unread: str = ""
        self._histories: dict[str, RowHistory] = {}
        self._right_until: dict[str, float] = {}
        self._wrong: dict[str, str] = {}
        """Sessions whose messages wait for their rows, and why."""

    # ---- messages ----

    @property
    def uses_lookup(self) -> bool:
        """Whether what was stored can be looked up, now or when that passes for which it cannot."""
        return self._stored.why_not is None or self._stored.is_away

    @property
    def is_away(self) -> bool:
        """Whether nothing can be known now, and that passes: the database is away, or did not answer in time."""
        return self._stored.is_away

    async def received(self, session_id: str, message_id: str) -> bool | None:
        """Whether it has stored this message; None: that cannot be known now."""
        return await self._received.get((session_id, message_id))

    async def sent(self, message_id: str) -> bool | None:
        """Whether it has a row of this message, which was sent; None: that cannot be known now."""
        return await self._sent.get(message_id)

    async def _find_received(self, messages: Collection[Message]) -> Mapping[Message, bool] | None:
        return _known(await self._stored.received(messages))

    async def _find_sent(self, message_ids: Collection[str]) -> Mapping[str, bool] | None:
        return _known(await self._stored.sent(message_ids))

    # ---- rows ----

    async def why_not(self, session_id: str) -> str | None:
        """Why it would drop a message of this session now, by its own row; None: it would not. A row that is
        wrong is corrected."""
        now = self._clock.monotonic()
        if now < self._right_until.get(session_id, 0.0):
            return None
        why = await self._evaluate(session_id, again=True)
        if why is None:
            self._wrong.pop(session_id, None)
            self._right_until[session_id] = now + FRESH
        else:
            self._wrong[session_id] = why
        return why

    def is_wrong(self, session_id: str) -> bool:
        """Whether its messages wait for its row."""
        return session_id in self._wrong

    def conditions(self) -> list[Condition]:
        """As it is now; without I/O."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        disputed = {
            session: since
            for session, history in sorted(self._histories.items())
            if (since := account_row_gate.disputed_since(history, now=now)) is not None
        }
        return [
            conditions.row_disputed(session, since=wall - (now - since))
            for session, since in disputed.items()
        ]

    async def check(self, waiting: Collection[str]) -> list[str]:
        """Read again the rows of those of these sessions that wait for them; the sessions whose messages may go."""
        for session in [it for it in self._wrong if it not in waiting or self._is_down(it)]:
            del self._wrong[session]
        waits = list(self._wrong)
        whys = await asyncio.gather(*map(self.why_not, waits))  # side by side: one statement
        return [it for it, why in zip(waits, whys, strict=True) if why is None]

    def forget(self, sessions: Collection[str]) -> None:
        """Other hosts' sessions: what is known of their rows is outdated when they come back."""
        for session_id in sessions:
            self._histories.pop(session_id, None)
            self._right_until.pop(session_id, None)
            self._wrong.pop(session_id, None)

    def _is_down(self, session_id: str) -> bool:
        """Whether its messages wait for the session itself."""
        return self._owner.known(session_id).why_not is not None

    async def _evaluate(self, session_id: str, *, again: bool) -> str | None:
        row = await self._rows.get(session_id)
        read = Unknown(self._unread) if row is None and self._unread else row
        now, history = self._clock.monotonic(), self._histories.get(session_id, NEW)
        known = self._owner.known(session_id)
        decision, history = account_row_gate.evaluate(read, known, history, now=now)
        self._histories[session_id] = history
        match decision:
            case Send():
                return None
            case Hold(why=why):
                return why
            case RepeatReady():
                self._expect_ready(session_id)
                self._owner.repeat_ready(session_id)
                return None  # the message waits for that now
            case Correct(said=said):
                corrected = await self._correct(session_id, decision)
                if corrected and again:
                    return await self._evaluate(session_id, again=False)
                return f"its row says {said}"

    async def _correct(self, session_id: str, it: Correct) -> bool:
        try:
            done = await self._accounts.correct(session_id, said=it.said, generation=it.generation)
        except WaguardError:
            return False
        history = self._histories.get(session_id)  # None: it was forgotten meanwhile
        if done and history is not None:
            now = self._clock.monotonic()
            self._histories[session_id] = account_row_gate.corrected(history, now=now)
            self._owner.record_correction(session_id, it.said)
        return done

    async def _read_rows(self, session_ids: Collection[str]) -> Mapping[str, AccountRow] | None:
        found = await self._accounts.rows_of(session_ids)
        self._unread = found.reason if isinstance(found, Unknown) else ""
        return None if isinstance(found, Unknown) else found


def _known(found: Mapping[K, Presence] | Unknown) -> Mapping[K, bool] | None:
    if isinstance(found, Unknown):
        return None
    return {key: _PRESENCE[it] for key, it in found.items() if it in _PRESENCE}
