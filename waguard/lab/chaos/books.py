"""What went in and out during a campaign, and whether the books agree. Pure.

The application's own tables are compared with what WhatsApp's server holds: it does not dedupe, and
what it dropped is lost. Excused is what nobody can know: a message that waguard itself lists as
uncertain, a repetition after a kill of the daemon or after an answer that never arrived.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Final, Literal

Answer = Literal["sent", "refused", "uncertain", "accepted", "none"]
"""What the application was told in the end; none: three times an error, as for a text never sent."""

KNOWN_OPEN: Final = frozenset({"accepted", "sending", "uncertain"})
NEVER_LEFT: Final = frozenset({"refused", "failed", "cancelled"})
NAMED_AT_MOST: Final = 5
WRONG_LIMIT: Final = 2.0  # s that a row may be wrong where an event reveals it
RECONCILED: Final = 6.0  # s that it may be where the reconciler has to find it; it looks every 3 s


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message to a session, as WhatsApp's server holds it."""

    session: str
    chat: str
    text: str
    id: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the application's. ``at`` is unix time."""

    session: str
    chat: str
    text: str
    event_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message that the application threw away; ``id`` is the message's."""

    session: str
    id: str
    event_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that the application wanted to be sent, and what it was told."""

    session: str
    text: str
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A row that was wrong from ``began`` (unix time), for so many seconds. ``own``: the application itself had written that:
    its queue had overtaken, and no event tells of it."""

    session: str
    row: str
    told: str
    began: float
    seconds: float
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everybody's, at the end."""

    incoming: Sequence[Incoming]
    """In the order in which they were written."""
    stored: Sequence[Stored]
    """In the order in which the application stored them."""
    dropped: Sequence[Dropped] = ()
    uncertain: Mapping[str, str] = field(default_factory=dict)
    """What waguard lists as such: the message's id by event id."""
    unheard: Sequence[tuple[str, float]] = ()
    """Event ids of answers that never arrived, and when."""
    inbox: Mapping[tuple[str, str], int]
    """How many rows of the inbox there are, by session and text."""
    daemon_kills: Sequence[float] = ()
    """Unix times: a webhook that was answered a moment before is delivered again."""
    outgoing: Sequence[Outgoing]
    server: Mapping[tuple[str, str], int]
    """How many messages WhatsApp's server has, by session and text."""
    outbox: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What the outbox says, by session and text."""
    sent_rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How many rows of the application's there are, by session and id of what was sent."""
    faults: int = 0
    wrong_rows: Sequence[Span] = ()


def broken(books: Books) -> list[str]:
    """What does not agree, in sentences."""
    return [
        *_in(books),
        *_order(books),
        *_again(books),
        *_out(books),
        *_sent_twice(books),
        *_wrong_rows(books),
    ]


def unsure(books: Books) -> list[Incoming]:
    """What came in, or not: the application may have dropped it, and waguard lists it."""
    listed = set(books.uncertain.values())
    stored = {(one.session, one.text) for one in books.stored}
    return [
        one for one in books.incoming if one.id in listed and (one.session, one.text) not in stored
    ]


def uncertain(books: Books) -> list[Outgoing]:
    """Sends of which a person should know."""
    return [out for out in books.outgoing if _said(books, out) in KNOWN_OPEN]


def _in(books: Books) -> Iterator[str]:
    stored = {(one.session, one.text) for one in books.stored}
    excused = set(books.uncertain.values())
    lost = [
        one
        for one in books.incoming
        if (one.session, one.text) not in stored and one.id not in excused
    ]
    if lost:
        yield f"{len(lost)} of {len(books.incoming)} messages are lost: {_names(lost)}"
        yield from _reasons(books, {one.id for one in lost})
    if len(books.uncertain) > books.faults:
        yield f"{len(books.uncertain)} messages are uncertain after {books.faults} faults"
    counts = [books.inbox.get((one.session, one.text), 0) for one in books.incoming]
    if odd := [one for one, count in zip(books.incoming, counts, strict=True) if count != 1]:
        yield f"{len(odd)} messages have no row, or more than one: {_names(odd)}"


def _reasons(books: Books, lost: set[str]) -> Iterator[str]:
    """Why the application dropped them; of what it never handled there is no word."""
    reasons = Counter(one.why for one in books.dropped if one.id in lost)
    for why, count in reasons.most_common():
        yield f"{count} times the application dropped one: {why}"


def _order(books: Books) -> Iterator[str]:
    """Of what came for the first time."""
    written = {(one.session, one.text): number for number, one in enumerate(books.incoming)}
    chats: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for one in books.stored:
        chats[one.session, one.chat].setdefault(one.text)
    for (session, chat), texts in sorted(chats.items()):
        known = [text for text in texts if (session, text) in written]
        for before, after in pairwise(known):
            if written[session, before] > written[session, after]:
                yield f"{session}: “{before}” overtook “{after}” in the chat with {chat}"


def _again(books: Books) -> Iterator[str]:
    """What was stored twice: only as the same event, and where waguard could not know."""

    def message(one: Stored) -> tuple[str, str]:
        return one.session, one.text

    for (session, text), group in groupby(sorted(books.stored, key=message), key=message):
        stored = sorted(group, key=lambda one: one.at)
        if len({one.event_id for one in stored}) > 1:
            yield f"{session}: “{text}” came in as {len(stored)} events"
        for before, after in pairwise(stored):
            if not _excused(books, before, after):
                yield f"{session}: “{text}” was stored again, and nothing excuses that"


def _excused(books: Books, before: Stored, after: Stored) -> bool:
    """Whether the daemon was killed, or the answer got lost, between the two."""
    unheard = (at for event_id, at in books.unheard if event_id == before.event_id)
    return any(before.at <= at <= after.at for at in (*books.daemon_kills, *unheard))


def repeated(books: Books) -> int:
    """How many rows are repetitions."""
    return len(books.stored) - len({(one.session, one.text) for one in books.stored})


def _out(books: Books) -> Iterator[str]:
    for out in books.outgoing:
        count, said = books.server.get((out.session, out.text), 0), _said(books, out)
        if count > 1:
            yield f"{out.session}: “{out.text}” was sent {count} times"
        if count == 0 and said not in NEVER_LEFT | KNOWN_OPEN | {"none"}:
            yield f"{out.session}: “{out.text}” is {said}, and the server never had it"
        if count == 1 and said in NEVER_LEFT:
            yield f"{out.session}: “{out.text}” is {said}, and the server has it"
        if count == 1 and said == "none":
            yield f"{out.session}: “{out.text}” was sent, and nobody was ever told"


def _sent_twice(books: Books) -> Iterator[str]:
    """``message_sent`` overtook the reply to the send."""
    for (session, message_id), count in sorted(books.sent_rows.items()):
        if count > 1:
            yield f"{session}: the application has {count} rows of the sent message {message_id}"


def _wrong_rows(books: Books) -> Iterator[str]:
    for one in books.wrong_rows:
        if one.seconds > (RECONCILED if one.own else WRONG_LIMIT):
            yield (
                f"{one.session}: its row was {one.row} for {one.seconds:.1f} s"
                f" while the API said {one.told}, from {datetime.fromtimestamp(one.began, UTC):%T} UTC"
            )


def _said(books: Books, out: Outgoing) -> str:
    """The outbox has the last word, as it learns more later."""
    return books.outbox.get((out.session, out.text), out.answer)


def answers(books: Books) -> Counter[str]:
    """How many sends ended how."""
    return Counter(_said(books, out) for out in books.outgoing)


def _names(some: Iterable[Incoming]) -> str:
    named = [f"{one.session} “{one.text}”" for one in some]
    more = len(named) - NAMED_AT_MOST
    return ", ".join(named[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
