"""The sends of a session that WhatsApp's server has not acknowledged.

The page is asked before anything is reported: an ack that came while nobody listened is not an event.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

from loguru import logger

from waguard.core.fleet.ack_watch import Late, late
from waguard.errors import WaguardError
from waguard.ports.clock import Clock
from waguard.wire.calls import Acks, Value

REMEMBERED: Final = 1_000  # sends a session
ASKED_AT_ONCE: Final = 20  # of them, the oldest; nothing is said of those that were not asked for
ASK_AGAIN: Final = 10.0  # s


class AckWatch:
    """``since``: monotonic time from which on acks could come, None: they cannot now. ``ask`` has
    the page report the acks of sends, ``note`` puts an entry on the audit trail."""

    def __init__(
        self,
        session: str,
        clock: Clock,
        *,
        limit: Callable[[], float],
        since: Callable[[], float | None],
        ask: Callable[[Acks], Awaitable[Value]],
        note: Callable[..., None],
    ) -> None:
        self._log = logger.bind(session=session)
        self._clock = clock
        self._limit = limit
        self._since = since
        self._ask = ask
        self._note = note
        self._sent_at: OrderedDict[str, float] = OrderedDict()
        self._asked_at: float | None = None
        self._unread: frozenset[str] = frozenset()
        """Those that were asked for last and had no answer."""
        self._reported: set[str] = set()
        self._in_vain: set[str] = set()
        self._unhelped = False
        """The worker was replaced for sends without an ack, and none of any send has come since."""
        self._in_vain_proved = False
        """So the page has confirmed since then."""
        self._excusable: set[str] = set()
        """First contacts: WhatsApp drops some of them silently, also where all else works."""
        self.proved_at: float | None = None
        """Monotonic time at which a send was acknowledged last."""
        self.proved_from = float("-inf")
        """When the newest of the acknowledged sends began."""
        self._confirmed_at = 0.0
        self.late: Late | None = None
        """As the page confirmed it; None: no send is late, or nothing is known."""
        self.late_since = 0.0
        """Unix time at which the page confirmed it first."""
        self.curable: Late | None = None
        """Those of them that no replacement has met yet: what outlived one, outlives the next."""

    def sent(self, message_id: str, at: float, *, first_contact: bool = False) -> None:
        """The page has it, the server has not acknowledged it. A first contact counts only as long as
        nothing that was sent is acknowledged after it."""
        if first_contact and self.proved_at is not None and self.proved_at > at:
            return
        self._sent_at[message_id] = at
        if first_contact:
            self._excusable.add(message_id)
        while len(self._sent_at) > REMEMBERED:
            self._excusable.discard(self._sent_at.popitem(last=False)[0])

    def explain_first_contacts(self) -> None:
        """WhatsApp refuses them: an ack that does not come proves nothing about the page."""
        for message_id in self._excusable:
            self._sent_at.pop(message_id, None)
        self._excusable.clear()

    def began(self, ids: Iterable[str]) -> float:
        """When the newest of those that wait was sent; minus infinity: none of them waits."""
        return max((self._sent_at.get(it, float("-inf")) for it in ids), default=float("-inf"))

    def acknowledged(self, ids: Iterable[str] = (), *, began: float = float("-inf")) -> None:
        """The server, or a refusal of its, has spoken. ``began``: when that send did, where it did not wait."""
        ids = tuple(ids)
        # receipts of older messages come also where nothing goes out
        if not ids or not self._sent_at.keys().isdisjoint(ids):
            self._unhelped = self._in_vain_proved = False
            self.proved_at = self._clock.monotonic()
            self.proved_from = max(self.proved_from, began, self.began(ids))
            self.explain_first_contacts()
        for message_id in ids:
            self._sent_at.pop(message_id, None)

    def forget(self) -> None:
        """Forget all: it is another pairing, and nothing of the last one is sent any more."""
        self._sent_at.clear()
        self._excusable.clear()
        self._reported.clear()
        self._unhelped = self._in_vain_proved = False

    def replaced(self) -> None:
        """The worker is: what waits now had its chance."""
        self._in_vain = set(self._sent_at)
        self._unhelped = self._unhelped or self.late is not None
        self.curable = None

    @property
    def in_vain(self) -> str | None:
        """Sends that wait although the worker was replaced, in words: another one would not help."""
        why = "WhatsApp has acknowledged no send since the worker was replaced for that"
        return why if self._in_vain_proved else None

    @property
    def on_trial(self) -> bool:
        """Whether its worker was replaced for that, and it is not known yet whether it helped."""
        return self._unhelped and not self._in_vain_proved

    @property
    def confirmed_at(self) -> float | None:
        """Monotonic time at which the page last confirmed that sends are late; None: none is, or first contacts
        alone: a version of the page is not suspected for them."""
        return self._confirmed_at if self.late and not self.late.first_contacts else None

    @property
    def overdue(self) -> bool:
        """Whether sends are late that can be helped, also where the page has not confirmed it yet."""
        since = self._since() if self._sent_at else None
        return (
            since is not None and self._overdue(since, self._not_in_vain(self._sent_at)) is not None
        )

    def tick(self, begin: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        """Check the time; ``begin`` runs what has to wait for the page as a task."""
        if not (self._sent_at or self._reported or self.late):
            return
        since, now = self._since(), self._clock.monotonic()
        if since is None:
            self.late = self.curable = None
        elif not self._overdue(since, self._sent_at):
            # a new link restarts the count, which acknowledges nothing
            if self._reported and self._reported.isdisjoint(self._sent_at):
                self._log.info(
                    "WhatsApp acknowledges sends again", event="acks_back", condition="acks_late"
                )
                self._note("acks_back", reason="WhatsApp acknowledges again")
                self._reported.clear()
            self.late = self.curable = None
        elif self._asked_at is None or now - self._asked_at >= ASK_AGAIN:
            self._asked_at = now
            begin(self._confirm(), "acks")

    def _not_in_vain(self, ids: Iterable[str]) -> list[str]:
        return [message_id for message_id in ids if message_id not in self._in_vain]

    def _overdue(self, since: float, ids: Iterable[str]) -> Late | None:
        now = self._clock.monotonic()
        waited = {it: now - max(self._sent_at[it], since) for it in ids}
        return late(
            (seconds for it, seconds in waited.items() if it not in self._excusable),
            first_contacts=(seconds for it, seconds in waited.items() if it in self._excusable),
            limit=self._limit(),
        )

    def _still_late(self) -> frozenset[str]:
        """Those that the page confirmed, and of which it shows nothing now."""
        return self._unread & self._reported & self._sent_at.keys()

    async def _confirm(self) -> None:
        def proves_less(it: str) -> tuple[bool, bool, bool]:
            return it in self._unread, it in self._in_vain, it in self._excusable

        asked = sorted(self._sent_at, key=proves_less)[:ASKED_AT_ONCE]
        try:
            answer = await self._ask(Acks(ids=tuple(asked)))
        except WaguardError as error:
            self._log.debug("acks not read", why=error.line())
            return
        known, self._unread = answer.acks or {}, frozenset(answer.unread)
        read = [message_id for message_id in asked if message_id not in self._unread]
        for message_id in read:
            if known.get(message_id) != 0:
                self._sent_at.pop(message_id, None)
                self._excusable.discard(message_id)
        waiting = [message_id for message_id in read if message_id in self._sent_at]
        since = self._since()
        found = None if since is None else self._overdue(since, waiting)
        if self.late and not found and since is not None and (still := self._still_late()):
            self.late = self._overdue(since, still)
            curable = self._not_in_vain(still) if self.curable else []
            self.curable = self._overdue(since, curable)
            return
        if found and not self.late:
            self.late_since = self._clock.wall()
            self._log.warning(
                "WhatsApp does not acknowledge sends",
                event="acks_missing",
                condition="acks_late",
                why=str(found),
            )
            evidence = {"waiting": found.count, "longest": round(found.longest, 1)}
            self._note("acks_missing", reason=str(found), evidence=evidence)
        self.late = self.curable = found
        self._confirmed_at = self._clock.monotonic()
        self._in_vain_proved = self._in_vain_proved or (self._unhelped and found is not None)
        if found and since is not None:
            self._reported = {*waiting, *(self._reported & self._sent_at.keys())}
            curable = [] if self._unhelped else self._not_in_vain(waiting)
            self.curable = self._overdue(since, curable)
