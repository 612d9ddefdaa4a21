"""Events that follow from a write: how messages ended, and which acks wait for that.

It is decided in the transaction that changes the state, from what is in the database: whatever
crashes in between, each is reported once, and nothing of a message before its ``message_sent``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages import sent_events
from waguard.core.messages.content import text_of
from waguard.core.messages.inbox import InboxRecord, Kind, ack_keys, failed_key, sent_key
from waguard.core.messages.send_states import ACK_SERVER, State, by_ack, moves
from waguard.core.messages.sent_events import Message
from waguard.ports.outbox import NewMessage, StateUpdate, Withdrawal
from waguard.store.models import INBOX, OUTBOX
from waguard.store.types import storable

Name = tuple[str, str]
"""A session and WhatsApp's id of a message."""
Keys = set[Name]
"""Sessions and keys that are in the inbox."""

KEYS_AT_ONCE: Final = 1_000


def reported_by(outgoing: Sequence[NewMessage | StateUpdate | Withdrawal]) -> dict[Name, bool]:
    """The messages of which the application may have to hear; and whether without a reply too."""
    reported: dict[Name, bool] = {}
    for item in outgoing:
        if isinstance(item, StateUpdate) and item.reports:
            reported[item.reports] = item.due or reported.get(item.reports, False)
    return reported


def direct_in(outgoing: Sequence[NewMessage | StateUpdate | Withdrawal]) -> frozenset[Name]:
    """The messages whose senders have just got the replies that they waited for."""
    updates = (it for it in outgoing if isinstance(it, StateUpdate))
    return frozenset(it.reports for it in updates if it.direct and it.reports)


def keys(received: Iterable[InboxRecord], reported: Iterable[Name]) -> Iterable[Name]:
    """What has to be known of the inbox."""
    for one in received:
        for key in (one.key, *one.unless):
            yield one.session_id, key
        if name := _name(one):
            yield from _keys(name, one.kind)
    for name in reported:
        yield from _keys(name, Kind.SENT)
        yield name[0], failed_key(name[1])


def _keys(name: Name, kind: Kind) -> Iterable[Name]:
    session_id, message_id = name
    yield session_id, sent_key(message_id)
    if kind is Kind.SENT:
        for key in ack_keys(message_id):
            yield session_id, key


def _name(received: InboxRecord) -> Name | None:
    if received.kind not in {Kind.ACK, Kind.SENT}:
        return None
    return received.session_id, str(received.events[0].data["message_id"])


def _is_known(name: Name, known: Keys) -> bool:
    return (name[0], storable(sent_key(name[1]))) in known


class DerivedEvents:
    """The events of one transaction. ``known`` are the keys that are in the inbox, or that are now stored; ``direct``
    the messages whose senders have just got their replies."""

    def __init__(
        self, connection: AsyncConnection, known: Keys, direct: Collection[Name], now: float
    ) -> None:
        self._connection = connection
        self._known = known
        self._direct = direct
        self._now = now
        self._announced: set[Name] = set()
        """Those that the application knows."""
        self._own: dict[Name, Message] = {}
        """Those of the outbox that this may be about."""
        self._made: list[InboxRecord] = []
        self._stored: dict[Name, list[InboxRecord]] = {}
        """Acks that waited in the inbox."""

    async def read(self, received: Iterable[InboxRecord], reported: Iterable[Name]) -> None:
        """Read from the outbox what ``received`` and ``reported`` are about, as far as the application does not know it."""
        found = [*reported, *(name for one in received if (name := _name(one)))]
        self._announced = {name for name in found if _is_known(name, self._known)}
        wanted = {*found} - self._announced
        ids = sorted({storable(message_id) for _, message_id in wanted})
        for start in range(0, len(ids), KEYS_AT_ONCE):
            own = OUTBOX.c
            query = select(*_COLUMNS).where(own.message_id.in_(ids[start : start + KEYS_AT_ONCE]))
            for row in await self._connection.execute(query):
                message = _message(row._asdict())
                self._own[message.session_id, message.message_id] = message

    def is_news(self, received: InboxRecord) -> bool:
        """Whether it is to be stored in the inbox; from then on its key is known."""
        if received.kind in {Kind.PEOPLE, Kind.UNDECRYPTABLE}:
            return False
        if received.unless_own and _name(received) in self._own:  # the outbox reports it itself
            return False
        keys = [(received.session_id, storable(key)) for key in (received.key, *received.unless)]
        if not self._known.isdisjoint(keys):
            return False
        self._known.add(keys[0])
        return True

    async def make(
        self, fresh: Sequence[InboxRecord], reported: Mapping[Name, bool]
    ) -> list[InboxRecord]:
        """How messages ended, by this transaction; then what waited for it is read too."""
        moved = [name for one in fresh if (name := self._moved(one))]
        for name in dict.fromkeys((*reported, *moved)):
            message = self._own.get(name)
            due = reported.get(name, False)
            outcome = message and sent_events.of_outcome(
                message, self._now, due=due, direct=name in self._direct
            )
            if outcome and (name[0], storable(outcome.key)) not in self._known:
                self._made.append(outcome)
                self._known.add((name[0], storable(outcome.key)))
        await self._read_waiting([it for it in (*self._made, *fresh) if it.kind is Kind.SENT])
        return self._made

    def _moved(self, received: InboxRecord) -> Name | None:
        """Follow what an ack does to its message."""
        name = _name(received)
        message = self._own.get(name) if name and received.kind is Kind.ACK else None
        if name is None or message is None:
            return None
        state = by_ack(sent_events.ack_of(received)[1])
        if state is None or not moves(message.state, state):
            return None
        error = "WhatsApp refused the message" if state is State.REFUSED else None
        self._own[name] = replace(message, state=state, error=error)
        return name

    async def _read_waiting(self, sent: Sequence[InboxRecord]) -> None:
        wanted = {
            (one.session_id, storable(key)): (one.session_id, str(name[1]))
            for one in sent
            if (name := _name(one))
            for key in ack_keys(name[1])
        }
        there = [pair for pair in wanted if pair in self._known]
        for start in range(0, len(there), KEYS_AT_ONCE):
            own, some = INBOX.c, there[start : start + KEYS_AT_ONCE]
            query = (
                select(own.session_id, own.workspace_id, own.key, own.at, own.chat, own.payload)
                .where(own.session_id.in_({s for s, _ in some}), own.key.in_({k for _, k in some}))
                .order_by(own.id)
            )
            for row in await self._connection.execute(query):
                if name := wanted.get((row.session_id, row.key)):
                    self._stored.setdefault(name, []).append(_of_stored(row._asdict()))

    def in_order(self, fresh: Sequence[InboxRecord]) -> list[InboxRecord]:
        """What is to be queued: nothing of a message before its ``message_sent``."""
        waiting: dict[Name, list[InboxRecord]] = {}
        ordered: list[InboxRecord] = []
        for one in (*self._made, *fresh):
            name = _name(one)
            if name is None or (one.kind is Kind.ACK and self._may_go(name, one)):
                ordered.append(one)
            elif one.kind is Kind.ACK:
                waiting.setdefault(name, []).append(one)
            else:
                self._announced.add(name)
                behind = (*self._stored.pop(name, ()), *waiting.pop(name, ()))
                ordered += [one, *(it for it in behind if sent_events.ack_of(it)[1] >= ACK_SERVER)]
        return ordered

    def _may_go(self, name: Name, received: InboxRecord) -> bool:
        if name in self._announced:
            return True
        # it never had a message_sent, and will have none: who knows its id has to hear it now
        message = self._own.get(name)
        failed = sent_events.ack_of(received)[1] < 0
        return failed and message is not None and sent_events.may_be_reported(message, self._now)


_COLUMNS: Final = tuple(
    OUTBOX.c[name]
    for name in (
        *("session_id", "workspace_id", "message_id", "chat", "kind", "body", "state"),
        *("error", "idempotency_key", "answered", "bulk_id", "sent_at", "created_at"),
    )
)


def _message(row: dict[str, Any]) -> Message:
    body = msgspec.json.decode(row.pop("body"))
    text = body.get("text") or body.get("caption") or ""
    if isinstance(found := body.get("content"), dict):
        word = sent_events.word_of(row["kind"])
        text = text_of(word, {word: found})
    key, state = row.pop("idempotency_key"), State(row.pop("state"))
    return Message(**row, text=text, key=key, state=state)


def _of_stored(row: dict[str, Any]) -> InboxRecord:
    events = sent_events.of_stored_ack(row.pop("payload"))
    return InboxRecord(**row, kind=Kind.ACK, events=events)
