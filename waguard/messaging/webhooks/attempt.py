"""One attempt to deliver a webhook, and what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import msgspec
from loguru import logger

from waguard.core.metrics.families import WEBHOOK
from waguard.core.replace import replace
from waguard.core.webhooks import delivery
from waguard.core.webhooks.call_backs import Fate
from waguard.core.webhooks.delivery import OWN_SEND, OWN_SEND_LONGEST, Answer, Cause
from waguard.core.webhooks.facts import Gone, Later, NotYet, Outcome, Outdated
from waguard.core.webhooks.partition import has_lookup
from waguard.core.webhooks.pending import Key, Pending
from waguard.core.webhooks.retry_decision import Dead
from waguard.core.webhooks.state import NOT_ANNOUNCED, SESSION_PARTITION, Queue
from waguard.errors import WaguardError
from waguard.messaging.webhooks.delivery_context import LINKING, DeliveryContext
from waguard.ports.messages import MessageStore

UNSURE: Final = (
    "the receiver answered 2xx and may have dropped the message: meanwhile the API answered both that "
    "the session is connected and that it is not"
)
TOO_LARGE: Final = 413

EARLIER: Final = 3.0  # s; a request of a daemon that was killed has come to its end by then, mostly
READS: Final = 5  # of a body that is searched for and that the database cannot give
OWN_SEND_RETRY: Final = 0.5  # s; for the row of a message that the application has just sent

Post = Callable[[Pending, bytes], Awaitable[Answer]]
Complete = Callable[[bytes], Awaitable[bytes]]


class Table(Protocol):
    """What is known of the receiver's own database: see ``ReceiverTable``."""

    @property
    def uses_lookup(self) -> bool:
        """Whether what was stored can be looked up, now or when that passes for which it cannot."""

    @property
    def is_away(self) -> bool:
        """Whether nothing can be known now, and that passes: the database is away, or did not answer in time."""

    async def received(self, session_id: str, message_id: str) -> bool | None:
        """Whether it has stored this message; None: that cannot be known now."""

    async def sent(self, message_id: str) -> bool | None:
        """Whether it has a row of this message, which was sent; None: that cannot be known now."""

    async def why_not(self, session_id: str) -> str | None:
        """Why it would drop a message of this session now, by its own row; None: it would not."""


_FATES: Final[Mapping[Fate, NotYet | Dead]] = {
    Fate.DROPPED: NotYet(
        "the API answered the receiver that its session is not connected", works=True
    ),
    Fate.UNCERTAIN: Dead(UNSURE, Cause.UNCERTAIN),
}


class Bodies:
    """The bodies of one queue's webhooks: as they were read with these, while the queue has them in memory; else
    ``store`` is asked."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._kept: dict[int, bytes] = {}

    async def get(self, item: Pending) -> bytes | None:
        """The body of a webhook; None: there is no such webhook any more. Errors are those of ``Store``."""
        body = self._kept.get(item.id)
        return await self._store.body(item.id, item.event_id) if body is None else body

    def keep(self, found: Mapping[int, bytes], queue: Queue) -> None:
        """Keep what was read for the queue, where it has room."""
        if queue.count < queue.window.memory:
            self._kept.update(found)

    def tidy(self, queue: Queue) -> None:
        """Forget what the queue has forgotten, and what is held, where that may be much. Takes as long as there is much."""
        if len(self._kept) > queue.count + queue.window.partition:
            goes_on = (it for it in queue.partitions.values() if it.held_since is None)
            there = {item.id for it in goes_on for item in it.waiting}
            self._kept = {number: self._kept[number] for number in self._kept.keys() & there}

    def clear(self) -> None:
        """Forget all: the ids may be those of other webhooks now."""
        self._kept.clear()

    def drop(self, number: int) -> None:
        """The webhook was tried: until the next try it may wait for long."""
        self._kept.pop(number, None)


class Attempts:
    """To one endpoint. ``complete`` makes a body as it is sent, ``post`` one request; ``table``: what is known of
    the receiver's database, None: nothing is; ``smaller`` makes a body without the bytes of its file, which is sent
    where the whole one is answered 413."""

    def __init__(
        self,
        ctx: DeliveryContext,
        *,
        complete: Complete,
        post: Post,
        table: Table | None = None,
        smaller: Callable[[bytes], bytes] = lambda body: body,
    ) -> None:
        self._ctx = ctx
        self.bodies = Bodies(ctx.store)
        self._complete = complete
        self._post = post
        self._table = table
        self._smaller = smaller
        self._began = asyncio.get_running_loop().time()
        self._bugs: dict[Key, int] = {}
        """The webhook of which a bug was logged last."""

    async def deliver(
        self,
        item: Pending,
        *,
        calls_back: bool,
        lookup_first: bool,
        is_announced: Callable[[], bool],
    ) -> Outcome:
        """``calls_back``: the receiver asks how the session stands while it handles it; ``lookup_first``:
        unless its table has it; ``is_announced``: whether it has the ``session_ready`` of the session."""
        if item.event == delivery.READY and (changed := self._still_ready(item)):
            return changed
        try:
            body = await self.bodies.get(item)
        except WaguardError as error:  # the database is away: the receiver is not to blame
            _log_unread(error)
            return Later(self._ctx.retry)
        if body is None:
            return Gone()
        if lookup_first and (earlier := await self._of_earlier_daemon(item, body)):
            return earlier
        if item.event == delivery.SENT and await self._is_expected(item, body):
            return Later(OWN_SEND_RETRY)
        full = await self._complete(body)
        # at the last moment: its file may have been read slowly
        if calls_back and (why := await self._why_not(item, is_announced)):
            return why
        answer, fate = await self._send(item, full, watched=calls_back)
        if answer.status == TOO_LARGE and full != (less := self._smaller(body)):
            answer, fate = await self._send(item, less, watched=calls_back)
        if self._table and has_lookup(item) and not answer.refused and answer.reached:
            answer = await self._seen(item, body, answer)
        if answer.stored is None and answer.accepted and fate is not Fate.TAKEN:
            return _FATES[fate]
        return answer

    async def is_stored(self, item: Pending) -> bool | None:
        """Whether the receiver's table has it; None: that cannot be known now."""
        bugs = 0
        while True:  # without a look it would be delivered once more
            try:
                body = await self.bodies.get(item)
                break
            except WaguardError as error:
                _log_unread(error)
            except Exception:
                bugs += 1
                if bugs == READS:
                    raise
            await asyncio.sleep(self._ctx.retry)
        return None if body is None else await self._is_stored(item, body)

    def log_bug(self, item: Pending) -> None:
        """Log the exception that is being handled, once of each webhook."""
        if self._bugs.get(item.key) != item.id:
            log = logger.bind(session=item.session_id, what=item.event, id=item.event_id)
            log.opt(exception=True).error("a bug in waguard", event="bug")
        self._bugs[item.key] = item.id

    async def _is_stored(self, item: Pending, body: bytes) -> bool | None:
        if self._table is None or not self._table.uses_lookup:
            return None
        if (found := message_id(body)) is None:
            return None
        while True:
            away = self._table.is_away  # also before: it may be back when the answer comes
            stored = await self._table.received(item.session_id, found)
            if stored is not None or not (away or self._table.is_away):
                return stored
            await asyncio.sleep(self._ctx.retry)  # the receiver has lost it, too, if it asked then

    async def _of_earlier_daemon(self, item: Pending, body: bytes) -> Answer | Later | None:
        """None: an earlier daemon did not deliver it, as far as can be seen."""
        stored = await self._is_stored(item, body)
        if stored:
            return Answer(stored=True)
        if stored is None and item.cause == Cause.RESTORED:
            return Later(delivery.LOOKUP_PAUSE)
        lived = asyncio.get_running_loop().time() - self._began
        # its request may still be at work
        return Later(OWN_SEND_RETRY) if stored is False and lived < EARLIER else None

    async def _is_expected(self, item: Pending, body: bytes) -> bool:
        """Whether the application is about to store the row of this message, which it has just sent."""
        direct = item.attempts == 0 and item.next_at > item.created_at
        age = self._ctx.wall() - item.created_at
        found = message_id(body)
        if self._table is None or not direct or not 0 <= age < OWN_SEND_LONGEST or not found:
            return False
        stored = await self._table.sent(found)
        return age < OWN_SEND if stored is None else not stored

    async def _seen(self, item: Pending, body: bytes, answer: Answer) -> Answer:
        stored = await self._is_stored(item, body)
        content = content_of(body) if stored is False else ""
        return replace(answer, stored=stored, content=content)

    async def _why_not(self, item: Pending, is_announced: Callable[[], bool]) -> NotYet | None:
        """Why the application would drop a message of this partition now."""
        if why := self._ctx.gate(
            item.session_id
        ):  # it asks nobody: before a question to the database
            return NotYet(why, brief=why is LINKING)
        row = await self._table.why_not(item.session_id) if self._table else None
        why = row or self._ctx.gate(item.session_id)
        if why is None and not is_announced():
            return NotYet(NOT_ANNOUNCED)
        return NotYet(why, brief=why in {row, LINKING}) if why else None

    def _still_ready(self, item: Pending) -> Later | Outdated | None:
        """None: its session is connected. The application believes a ``session_ready`` at once, and
        learns the contrary only from a later event."""
        now = self._ctx.connection(item.session_id)
        if now.why_not is None or item.partition != SESSION_PARTITION:  # else a person replays it
            return None
        return Outdated() if now.known else Later(self._ctx.retry)

    async def _send(self, item: Pending, body: bytes, *, watched: bool) -> tuple[Answer, Fate]:
        if not watched:
            return await self._attempt(item, body), Fate.TAKEN
        with self._ctx.call_backs.watching(item.session_id) as window:
            answer = await self._attempt(item, body)
            if answer.accepted:
                await self._ctx.call_backs.caught_up()
            return answer, window.fate

    async def _attempt(self, item: Pending, body: bytes) -> Answer:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            answer = await self._post(item, body)
        except Exception:  # noqa: BLE001 - one event must not end the partition
            self.log_bug(item)
            answer = Answer(error="a bug in waguard", bug=True)
        status = f"{answer.status // 100}xx" if answer.status else "none"
        self._ctx.tally.add(WEBHOOK, clock() - began, status)
        return answer


def _log_unread(error: WaguardError) -> None:
    logger.debug("webhook not read, trying again", why=error.line())


class _Message(msgspec.Struct):
    id: str | None = None
    type: str = "message"
    body: str | None = None


class _Data(msgspec.Struct):
    message: _Message | None = None


class _Event(msgspec.Struct):
    data: _Data


def message_id(body: bytes) -> str | None:
    """WhatsApp's id of the message in an event; None: it is about none."""
    found = _message(body)
    return found.id if found else None


def content_of(body: bytes) -> str:
    """What kind of message an event is about, and how long it is; nothing of its text."""
    found = _message(body)
    if found is None:
        return f"{len(body)} bytes"
    return f"a {found.type} of {len(found.body or '')} characters, {len(body)} bytes in all"


def _message(body: bytes) -> _Message | None:
    try:
        return msgspec.json.decode(body, type=_Event).data.message
    except msgspec.MsgspecError:
        return None
