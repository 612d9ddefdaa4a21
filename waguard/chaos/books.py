"""What went in and out during a campaign, and whether the books agree. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Final, Literal

Answer = Literal["sent", "refused", "uncertain", "accepted", "none"]
"""What the application was told in the end; none: three times an error, as for a text never sent."""

KNOWN_OPEN: Final = frozenset({"accepted", "sending", "uncertain"})
NEVER_LEFT: Final = frozenset({"refused", "failed", "cancelled"})
NAMED_AT_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message to a session, as its friend wrote it."""

    session: str
    chat: str
    text: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """A webhook that the application took. ``at`` is unix time."""

    session: str
    chat: str
    text: str
    event_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that the application wanted to be sent, and what it was told."""

    session: str
    text: str
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everybody's, at the end."""

    incoming: Sequence[Incoming]
    """In the order in which they were written."""
    delivered: Sequence[Delivered]
    """In the order in which the application took them."""
    rows: Mapping[tuple[str, str], int]
    """How many rows of the inbox there are, by session and text."""
    daemon_ends: Sequence[float]
    """When a daemon was ended: a webhook that was taken a moment before is delivered again."""
    outgoing: Sequence[Outgoing]
    server: Mapping[tuple[str, str], int]
    """How many messages WhatsApp's server has, by session and text."""
    outbox: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What the outbox says, by session and text."""


def broken(books: Books) -> list[str]:
    """What does not agree, in sentences."""
    return [*_in(books), *_order(books), *_again(books), *_out(books)]


def uncertain(books: Books) -> list[Outgoing]:
    """Those of which a person should know."""
    return [out for out in books.outgoing if _said(books, out) in KNOWN_OPEN]


def _in(books: Books) -> Iterator[str]:
    taken = {(one.session, one.text) for one in books.delivered}
    lost = [one for one in books.incoming if (one.session, one.text) not in taken]
    if lost:
        yield f"{len(lost)} of {len(books.incoming)} messages never came in: {_names(lost)}"
    counts = [books.rows.get((one.session, one.text), 0) for one in books.incoming]
    if odd := [one for one, count in zip(books.incoming, counts, strict=True) if count != 1]:
        yield f"{len(odd)} messages have no row, or more than one: {_names(odd)}"


def _order(books: Books) -> Iterator[str]:
    """Of what came for the first time."""
    written = {(one.session, one.text): number for number, one in enumerate(books.incoming)}
    chats: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for one in books.delivered:
        chats[one.session, one.chat].setdefault(one.text)
    for (session, chat), texts in sorted(chats.items()):
        known = [text for text in texts if (session, text) in written]
        for before, after in pairwise(known):
            if written[session, before] > written[session, after]:
                yield f"{session}: “{before}” overtook “{after}” in the chat with {chat}"


def _again(books: Books) -> Iterator[str]:
    """What was taken twice: only where a daemon was ended between, and as the same event."""

    def message(one: Delivered) -> tuple[str, str]:
        return one.session, one.text

    for (session, text), group in groupby(sorted(books.delivered, key=message), key=message):
        taken = sorted(group, key=lambda one: one.at)
        if len({one.event_id for one in taken}) > 1:
            yield f"{session}: “{text}” came in as {len(taken)} events"
        for before, after in pairwise(taken):
            if not any(before.at <= end <= after.at for end in books.daemon_ends):
                yield f"{session}: “{text}” was delivered again although no daemon had ended"


def repeated(books: Books) -> int:
    """How many deliveries were repetitions."""
    return len(books.delivered) - len({(one.session, one.text) for one in books.delivered})


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
