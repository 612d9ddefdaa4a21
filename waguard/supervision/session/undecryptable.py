"""One session's messages that WhatsApp Web could not decrypt: looked up at each connect and once an hour,
and given up in the end.

What is decided is ``core/messages/undecryptable.py``'s. The database has the truth; here is what it said last.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from loguru import logger

from waguard.core.messages.backfill import deferral
from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.messages.undecryptable import (
    AT_ONCE,
    EXPIRED,
    GONE,
    KEPT_FOR,
    MOST,
    RETRY,
    TOO_MANY,
    Outcome,
    Waiting,
    advice_is_due,
    chats_of,
    expired,
    in_the_quiet,
    next_due,
    stem_of,
    words,
)
from waguard.errors import WaguardError
from waguard.supervision.session.session_context import SessionContext
from waguard.wire.calls import Reread, Value

NAMED: Final = 20  # ids in an entry of the trail
GIVEN_UP_AT_ONCE: Final = 500  # rows a transaction
_MESSAGES: Final = frozenset({Kind.MESSAGE, Kind.SENT})


class Undecryptable:
    """``reread`` asks the worker, ``paired_at`` is the unix time of its pairing, ``note`` writes to the
    audit trail."""

    def __init__(
        self,
        session_id: str,
        ctx: SessionContext,
        *,
        reread: Callable[[Reread], Awaitable[Value]],
        paired_at: Callable[[], float | None],
        note: Callable[..., None],
    ) -> None:
        self._session = session_id
        self._ctx = ctx
        self._clock = ctx.clock
        self._store = ctx.messages
        self._reread = reread
        self._paired_at = paired_at
        self._note = note
        self._waiting: list[Waiting] = []
        self._stems: frozenset[str] = frozenset()
        self._gone: frozenset[str] = frozenset()
        """Ids that the page did not have when each was looked up last."""
        self.count = 0
        self._is_stale = True
        self._busy = False
        self._connected_at: float | None = None
        self._reread_at: float | None = None
        self._not_before = float("-inf")
        """Monotonic time until which nothing is tried again."""
        self._quiet_until: float | None = None
        """Monotonic time at which those are looked up that wait for the quiet after a pairing to end; None: none
        does."""

    @property
    def since(self) -> float | None:
        """Unix time at which the oldest was remembered; None: there is none."""
        return self._waiting[0].since if self._waiting else None

    @property
    def _age(self) -> float:
        """Seconds for which the oldest has been remembered."""
        return self._ctx.ages.age(self._waiting[0].since) if self._waiting else 0.0

    @property
    def condition(self) -> str | None:
        """In words, when a person should know of it."""
        return words(self.count) if advice_is_due(self._age) else None

    def knows(self, message_id: str) -> bool:
        """Whether this message may be one of them, under whatever id."""
        return stem_of(message_id) in self._stems

    def is_of_this_link(self, at: float) -> bool:
        """Whether a message of that unix time was sent after the pairing."""
        paired_at = self._paired_at()
        return paired_at is None or at >= int(paired_at)

    def reported(self, message_id: str) -> None:
        """The page cannot decrypt it; it is on its way to the database."""
        self._stems |= {stem_of(message_id)}
        self._is_stale = True

    def stored(self, news: Sequence[InboxRecord]) -> None:
        """These were stored; some may change what is remembered."""
        for one in news:
            if one.kind is Kind.UNDECRYPTABLE or (
                one.kind in _MESSAGES and one.ref and self.knows(one.ref[1])
            ):
                self._is_stale = True

    def link_is(self, *, connected: bool) -> None:
        """The session connected, or lost its connection, a moment ago."""
        self._connected_at = self._clock.monotonic() if connected else None
        self._reread_at = None

    def tick(self, begin: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        """Do what is due, as a task."""
        now = self._clock.monotonic()
        if self._busy or now < self._not_before:
            return
        if self._is_stale or expired(self._age) or self._is_due(now):
            self._busy = True
            begin(self._work(), "undecryptable")

    def _is_due(self, now: float) -> bool:
        if self._connected_at is None or not self._waiting:
            return False
        if self._quiet_until is not None and now >= self._quiet_until:
            return True
        last, interval = self._reread_at, self._ctx.config().inbox.undecryptable_interval
        return now >= next_due(last, connected_at=self._connected_at, interval=interval)

    async def _work(self) -> None:
        is_done = False
        try:
            await self._refresh()
            if self._is_due(self._clock.monotonic()):
                ids, quiet_until = self._chosen()
                await self._reread_waiting(ids)
                self._quiet_until = quiet_until
                await self._refresh()
            is_done = True
        except WaguardError as error:
            logger.warning(
                "undecryptable messages are not read; trying again",
                event="undecryptable_not_read",
                session=self._session,
                why=error.line(),
            )
        finally:
            self._busy = False
            if not is_done:
                self._is_stale = True
                pause = min(RETRY, self._ctx.config().inbox.undecryptable_interval)
                self._not_before = self._clock.monotonic() + pause

    def _chosen(self) -> tuple[Sequence[str], float | None]:
        """The ids that may be looked up now; and when the others may be (monotonic), None: there are none."""
        quiet, paired_at = self._ctx.config().inbox.backfill_after_pairing, self._paired_at()
        left = deferral(paired_at, quiet=quiet, now=self._clock.wall())
        ids = [one.message_id for one in self._waiting]
        if paired_at is None or left <= 0:
            return ids, None
        now = in_the_quiet(self._waiting, paired_at)
        return now, self._clock.monotonic() + left if len(now) < len(ids) else None

    async def _refresh(self) -> None:
        """Read what is remembered, and give up what is too old, or too much."""
        while True:
            self._is_stale = False
            self._waiting, self.count = await self._store.undecryptable(self._session, limit=MOST)
            self._stems = frozenset(stem_of(one.message_id) for one in self._waiting)
            if not await self._give_up():
                return

    async def _give_up(self) -> bool:
        """Whether there was something to give up."""
        if self.count > MOST:
            return await self._give_up_some(TOO_MANY, limit=self.count - MOST)
        if not self._waiting:
            return False
        before = self._ctx.ages.ago(KEPT_FOR)
        old = [one.message_id for one in self._waiting if one.since <= before][:GIVEN_UP_AT_ONCE]
        gone = [one for one in old if one in self._gone]
        if gone:
            return await self._give_up_some(GONE, message_ids=gone)
        return bool(old) and await self._give_up_some(EXPIRED, before=before)

    async def _give_up_some(self, why: str, *, limit: int = GIVEN_UP_AT_ONCE, **which: Any) -> bool:
        limit = min(limit, GIVEN_UP_AT_ONCE)
        found = await self._store.give_up(why, session_id=self._session, limit=limit, **which)
        if found:
            ids = [message_id for _, message_id in found]
            what = "1 message is" if len(ids) == 1 else f"{len(ids)} messages are"
            self._note(
                "undecryptable_given_up",
                reason=f"{what} lost to the application: {why}",
                evidence={"messages": ids[:NAMED]},
            )
        return bool(found)

    async def _reread_waiting(self, asked: Sequence[str]) -> None:
        began = self._clock.monotonic()
        people = await self._store.people(self._session)
        found: dict[str, str] = {}
        for start in range(0, len(asked), AT_ONCE):
            some = tuple(asked[start : start + AT_ONCE])
            aliases = {one: chats_of(one, people) for one in some}
            reply = await self._reread(Reread(ids=some, aliases=aliases))
            said = reply.found or {}
            found |= {one: said[one] for one in some if one in said}
        self._reread_at = began
        # within the quiet after a pairing only some are looked up: of the others it stays as it was
        others = {one.message_id for one in self._waiting}.difference(asked)
        gone = (one for one, what in found.items() if what == Outcome.GONE)
        self._gone = (self._gone & others).union(gone)
        if over := [one for one, what in found.items() if what == Outcome.NO_MESSAGE]:
            await self._store.no_messages(self._session, over)
