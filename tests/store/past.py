"""A database as it was before LIDs: made at an older revision, filled with what that version stored.

The keys are written out here, not made by today's code: today's code has to know them.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from alembic import command
from sqlalchemy import Connection, MetaData, Table, insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.api.fake_sessions import SESSION
from waguard.store.migrate import configuration

SESSIONS: Final = (SESSION, "s1", "s2", "s3")
PEOPLE: Final = 250  # of a session
GROUPS: Final = 10
DAY: Final = 86_400.0  # s
AT_ONCE: Final = 5_000  # rows of an INSERT
STEM: Final = "3EB0"
LONG: Final = "A" * 180  # of stems that make a key too long for the index
LEVELS: Final = (1, 2, 3)
FORMS: Final = (
    "message",
    "group",
    "phone",
    "phone group",
    "edit",
    "reaction",
    "revoke",
    "long",
    "lid",
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Person:
    """Somebody in a session, by the number and by the LID that nobody knew of then."""

    place: int
    number: str
    lid: str

    @property
    def session(self) -> str:
        """Whose contact it is."""
        return SESSIONS[self.place]


def person(number: int) -> Person:
    """The ``number``th of all."""
    place, one = number % len(SESSIONS), number // len(SESSIONS) % PEOPLE
    return Person(place, f"49170{place}{one:05}@c.us", f"7{place}{one:08}@lid")


def me(place: int) -> Person:
    """The account itself."""
    return Person(place, f"491510000{place}@c.us", f"79{place}00000000@lid")


def group(number: int) -> str:
    """The group in which the ``number``th thing happened."""
    return f"1203630{number % GROUPS:011}@g.us"


def key_of(name: str) -> str:
    """What stood for it in the index."""
    return name if len(name) <= 200 else "sha256:" + hashlib.sha256(name.encode()).hexdigest()


@dataclass(frozen=True)
class Past:
    """What had happened until ``now`` (unix time): ``received`` things of each form in turn, and
    ``sent`` messages with three acks each; the newest of these have states that an end in the
    middle leaves. One webhook in ``waits`` was not delivered yet."""

    now: float
    received: int
    sent: int
    waits: int = 10

    # ---- what was received ----

    def form(self, number: int) -> str:
        """What the ``number``th was."""
        return FORMS[number // len(SESSIONS) % len(FORMS)]

    def at(self, number: int) -> float:
        """When it was: all within the last five days."""
        return self.now - 5 * DAY * (1 - number / self.received)

    def received_key(self, number: int) -> str:
        """By this key it was stored."""
        who, own = person(number), me(person(number).place).number
        stem = f"{STEM}{number:018X}"
        match self.form(number):
            case "message":
                name = f"false_{who.number}_{stem}"
            case "group":
                name = f"false_{group(number)}_{stem}_{who.number}"
            case "phone":
                name = f"sent:true_{who.number}_{stem}"
            case "phone group":
                name = f"sent:true_{group(number)}_{stem}_{own}"
            case "long":
                name = f"false_{who.number}_{LONG}{stem}"
            case "lid":
                name = f"false_{who.lid}_{stem}"
            case what:
                name = f"{what}:false_{who.number}_{stem}"
        return key_of(name)

    def _received_row(self, number: int) -> Row:
        form, who = self.form(number), person(number)
        chat = group(number) if "group" in form else who.lid if form == "lid" else who.number
        kinds = {"phone": "sent", "phone group": "sent", "group": "message", "long": "message"}
        payload = {"message": {"id": f"{number}", "chat_id": chat, "body": "some text " * 8}}
        return self._inbox_row(
            who.session,
            self.received_key(number),
            "message" if form == "lid" else kinds.get(form, form),
            chat,
            self.at(number),
            payload,
        )

    # ---- what was sent ----

    def sent_to(self, number: int) -> Person:
        """Each tenth went to a group; see ``sent_chat``."""
        return person(number)

    def sent_chat(self, number: int) -> str:
        """Where it went."""
        return group(number) if number % 10 == 9 else person(number).number

    def sent_id(self, number: int) -> str:
        """WhatsApp's id of it."""
        return f"true_{self.sent_chat(number)}_{STEM}50{number:016X}"

    def state(self, number: int) -> str:
        """How it stood at the end."""
        last = self.sent - number
        if last <= 40:
            return ("sending", "uncertain")[last % 2]
        return ("read", "delivered", "sent")[number % 3]

    def in_doubt(self) -> Iterable[int]:
        """Those that nobody knew the outcome of."""
        return (n for n in range(max(0, self.sent - 40), self.sent))

    def _sent_row(self, number: int) -> Row:
        who, chat, state = person(number), self.sent_chat(number), self.state(number)
        doubt = state in {"sending", "uncertain"}
        at = self.now - (60 if doubt else 5 * DAY * (1 - number / self.sent))
        reported = {"type": "send_text", "chat": chat, "text": f"text {number}"}
        return {
            "session_id": who.session,
            "workspace_id": 7,
            "chat": chat,
            "kind": "text",
            "body": json.dumps(reported).encode(),
            "message_id": self.sent_id(number),
            "state": state,
            "ack": {"read": 3, "delivered": 2, "sent": 1}.get(state),
            "attempts": 1,
            "fingerprint": f"{number:064x}",
            "queued": False,
            "answered": not doubt,
            "created_at": at,
            "updated_at": at,
        }

    def _sent_rows(self, number: int) -> Iterator[Row]:
        """What the inbox said of it: that it was sent, and its acks."""
        level = {"read": 3, "delivered": 2, "sent": 1}.get(self.state(number), 0)
        who, name, chat = person(number), self.sent_id(number), self.sent_chat(number)
        at = self.now - 5 * DAY * (1 - number / self.sent)
        if level:
            reported = {"message_id": name, "to": chat, "type": "text", "status": "sent"}
            yield self._inbox_row(who.session, f"sent:{name}", "sent", chat, at, reported)
        for ack in LEVELS[:level]:
            data = {"message_id": name, "status": "", "ack_level": ack + 1, "timestamp": int(at)}
            yield self._inbox_row(who.session, f"ack:{ack}:{name}", "ack", chat, at, data)

    # ---- rows ----

    def _inbox_row(
        self, session: str, key: str, kind: str, chat: str, at: float, payload: Row
    ) -> Row:
        return {
            "session_id": session,
            "key": key,
            "workspace_id": 7,
            "kind": kind,
            "chat": chat,
            "at": at,
            "stored_at": at,
            "backfilled": False,
            "payload": json.dumps(payload),
        }

    def inbox(self) -> Iterator[Row]:
        """Rows of ``waguard_inbox``."""
        for number in range(self.received):
            yield self._received_row(number)
        for number in range(self.sent):
            yield from self._sent_rows(number)

    def outbox(self) -> Iterator[Row]:
        """Rows of ``waguard_outbox``."""
        return map(self._sent_row, range(self.sent))

    def deliveries(self) -> Iterator[Row]:
        """Rows of ``waguard_deliveries``: delivered ones are gone."""
        for number in range(0, self.received, self.waits):
            who, is_dead = person(number), number % (7 * self.waits) == 0
            data = {"message": {"id": self.received_key(number), "body": "some text " * 8}}
            yield {
                "endpoint": "*",
                "event_id": hashlib.sha256(f"{number}".encode()).hexdigest()[:32],
                "event": "message_received",
                "session_id": who.session,
                "lane": who.number,
                "body": json.dumps({"event": "message_received", "data": data}).encode(),
                "state": "dead" if is_dead else "pending",
                "attempts": 3 if is_dead else 0,
                "next_at": self.at(number),
                "last_error": "HTTP 422" if is_dead else None,
                "created_at": self.at(number),
                "died_at": self.at(number) if is_dead else None,
            }

    async def make(self, database: str, revision: str) -> None:
        """A database of that revision with all of it."""
        async with create_async_engine(database, poolclass=NullPool).connect() as connection:
            await connection.run_sync(self._make, revision)
            await connection.commit()

    def _make(self, connection: Connection, revision: str) -> None:
        command.upgrade(configuration(connection), revision)
        metadata = MetaData()
        sources: dict[str, Callable[[], Iterator[Row]]] = {
            "waguard_inbox": self.inbox,
            "waguard_outbox": self.outbox,
            "waguard_deliveries": self.deliveries,
        }
        for name, source in sources.items():
            table, rows = Table(name, metadata, autoload_with=connection), source()
            while some := list(islice(rows, AT_ONCE)):
                connection.execute(insert(table), some)
