"""What went in and out during a campaign, and whether all parties have the same. Pure.

The application's table is compared with what WhatsApp's server holds, as its users see it: it does not
dedupe, and what has no row is lost. Excused is what nobody can know: a message that waguard itself lists
as uncertain, and, where it looks nothing up, a repetition after a kill of the daemon or after an answer
that never arrived.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Final, Literal

from msgspec import Struct, field

from waguard.lab.chaos import kinds_check
from waguard.lab.chaos.kinds_check import NEVER_LEFT, KindsCheck

Answer = Literal["sent", "refused", "uncertain", "accepted", "none"]
"""What the application got as answer in the end; none: three times an error, as for a text never sent."""

KNOWN_OPEN: Final = frozenset({"accepted", "sending", "uncertain"})
NAMED_AT_MOST: Final = 5
NAME_LENGTH: Final = 40  # characters: the end, which is unique
INTERVAL: Final = 0.2  # s between two observations of the rows
WRONG_LIMIT: Final = 2.0  # s that a row may be wrong where an event reveals it
RECONCILED: Final = 6.0  # s that it may be where the reconciler has to find it; it looks every 3 s


class Incoming(Struct, frozen=True):
    """A message to a session, as WhatsApp's server holds it."""

    session: str
    chat: str
    text: str
    id: str
    sealed: bool = False
    """The browsers could not decrypt it at first: it comes in when they can, and later ones do not wait."""
    unstorable: bool = False
    """No column of the application holds it: waguard lists it as a dead letter."""


class Stored(Struct, frozen=True):
    """A row of the application's. ``chat``: the phone of its contact; ``at`` is unix time."""

    session: str
    chat: str
    text: str
    event_id: str
    at: float
    id: str = ""
    """The message's id."""


class Dropped(Struct, frozen=True):
    """A message that the application threw away; ``id`` is the message's."""

    session: str
    id: str
    event_id: str
    why: str


class Outgoing(Struct, frozen=True):
    """A message that the application wanted to be sent, and the answer that it got."""

    session: str
    text: str
    answer: Answer


class Span(Struct, frozen=True, kw_only=True):
    """A row that was wrong from ``began`` (unix time), for so many seconds, and ``seen`` so in as many observations.
    ``own``: the application itself had written that: its queue had overtaken, and no event reports it."""

    session: str
    row: str
    reported: str
    began: float
    seconds: float
    seen: int
    own: bool


class MessageCheck(Struct, frozen=True, kw_only=True):
    """Everybody's, at the end."""

    incoming: Sequence[Incoming]
    """In the order in which they were written."""
    stored: Sequence[Stored]
    """What came in, in the order of the application's rows."""
    sent: Sequence[Stored] = ()
    """What went out, as it has rows of it."""
    dropped: Sequence[Dropped] = ()
    dead: Collection[str] = frozenset()
    """Ids of the messages that waguard lists as dead letters."""
    uncertain: Mapping[str, str] = field(default_factory=dict)
    """What waguard lists as such: the message's id by event id."""
    unheard: Sequence[tuple[str, float]] = ()
    """Event ids of answers that never arrived, and when."""
    inbox: Mapping[tuple[str, str], int]
    """How many rows of the inbox there are, by session and text."""
    daemon_kills: Sequence[float] = ()
    """Unix times: a webhook that was answered a moment before is delivered again."""
    finds_stored: bool = False
    """waguard looks up what is stored: nothing excuses a second row."""
    outgoing: Sequence[Outgoing]
    server: Mapping[tuple[str, str], int]
    """How many messages WhatsApp's server has, by session and text."""
    outbox: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What the outbox says, by session and text."""
    chats: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """The chat of each message that WhatsApp's server has of the sessions, by session and text."""
    on_phone: Sequence[tuple[str, str]] = ()
    """Session and text of what was written on the phone."""
    faults: int = 0
    wrong_rows: Sequence[Span] = ()
    kinds: KindsCheck = field(default_factory=KindsCheck)
    """What is more than a text."""


def broken(check: MessageCheck) -> list[str]:
    """What does not agree, in sentences."""
    return [
        *_in(check),
        *_misfiled(check),
        *_order(check),
        *_again(check),
        *_out(check),
        *_sent_twice(check),
        *_wrong_rows(check),
        *kinds_check.broken(check.kinds),
    ]


def unsure(check: MessageCheck) -> list[Incoming]:
    """What came in, or not: the application may have dropped it, and waguard lists it."""
    listed = set(check.uncertain.values())
    stored = {(one.session, one.text) for one in check.stored}
    return [
        one for one in check.incoming if one.id in listed and (one.session, one.text) not in stored
    ]


def uncertain(check: MessageCheck) -> list[Outgoing]:
    """Sends of which a person should know."""
    return [out for out in check.outgoing if _said(check, out) in KNOWN_OPEN]


def lost(check: MessageCheck) -> list[Incoming]:
    """What came in and has no row."""
    stored = {(one.session, one.text) for one in check.stored}
    excused = set(check.uncertain.values())
    return [
        one
        for one in check.incoming
        if (one.session, one.text) not in stored
        and one.id not in excused
        and not (one.unstorable and one.id in check.dead)
    ]


def _in(check: MessageCheck) -> Iterator[str]:
    if missing := lost(check):
        yield f"{len(missing)} of {len(check.incoming)} messages are lost: {_names(missing)}"
        yield from _reasons(check, {one.id for one in missing})
    if len(check.uncertain) > check.faults:
        yield f"{len(check.uncertain)} messages are uncertain after {check.faults} faults"
    counts = [check.inbox.get((one.session, one.text), 0) for one in check.incoming]
    if odd := [one for one, count in zip(check.incoming, counts, strict=True) if count != 1]:
        yield f"{len(odd)} messages have no row, or more than one: {_names(odd)}"


def misfiled(check: MessageCheck) -> list[Stored]:
    """Rows under another contact than the one of their chat, of what came in and of what went out."""
    chats = {(one.session, one.text): one.chat for one in check.incoming} | {**check.chats}
    return [
        one
        for one in (*check.stored, *check.sent)
        if chats.get((one.session, one.text), one.chat) != one.chat
    ]


def _misfiled(check: MessageCheck) -> Iterator[str]:
    if wrong := misfiled(check):
        rows = len(check.stored) + len(check.sent)
        yield f"{len(wrong)} of {rows} rows are of another contact: {_names(wrong)}"


def _reasons(check: MessageCheck, lost: set[str]) -> Iterator[str]:
    """Why the application dropped them; of what it never handled there is no word."""
    reasons = Counter(one.why for one in check.dropped if one.id in lost)
    for why, count in reasons.most_common():
        yield f"{count} times the application dropped one: {why}"


def overtaken(check: MessageCheck) -> list[tuple[Stored, Stored]]:
    """Two rows of a chat in the wrong order: of what came for the first time, and could be decrypted at once."""
    readable = [one for one in check.incoming if not one.sealed]
    written = {(one.session, one.text): number for number, one in enumerate(readable)}
    chats: defaultdict[tuple[str, str], dict[str, Stored]] = defaultdict(dict)
    for one in check.stored:
        if (one.session, one.text) in written:
            chats[one.session, one.chat].setdefault(one.text, one)
    return [
        (before, after)
        for _, texts in sorted(chats.items())
        for before, after in pairwise(texts.values())
        if written[before.session, before.text] > written[after.session, after.text]
    ]


def _order(check: MessageCheck) -> Iterator[str]:
    for before, after in overtaken(check):
        yield (
            f"{before.session}: “{before.text}” overtook “{after.text}” in the chat with {before.chat}"
        )


def _again(check: MessageCheck) -> Iterator[str]:
    """What was stored twice: only as the same event, and where waguard could not know."""

    def message(one: Stored) -> tuple[str, str]:
        return one.session, one.text

    for (session, text), group in groupby(sorted(check.stored, key=message), key=message):
        stored = sorted(group, key=lambda one: one.at)
        if len({one.event_id for one in stored}) > 1:
            yield f"{session}: “{text}” came in as {len(stored)} events"
        for before, after in pairwise(stored):
            if not _excused(check, before, after):
                yield f"{session}: “{text}” was stored again, and nothing excuses that"


def _excused(check: MessageCheck, before: Stored, after: Stored) -> bool:
    """Whether the daemon was killed, or the answer got lost, between the two."""
    if check.finds_stored:
        return False
    unheard = (at for event_id, at in check.unheard if event_id == before.event_id)
    return any(before.at <= at <= after.at for at in (*check.daemon_kills, *unheard))


def repeated(check: MessageCheck) -> int:
    """How many rows are repetitions."""
    return len(check.stored) - len({(one.session, one.text) for one in check.stored})


def _out(check: MessageCheck) -> Iterator[str]:
    for out in check.outgoing:
        count, said = check.server.get((out.session, out.text), 0), _said(check, out)
        if count > 1:
            yield f"{out.session}: “{out.text}” was sent {count} times"
        if count == 0 and said not in NEVER_LEFT | KNOWN_OPEN | {"none"}:
            yield f"{out.session}: “{out.text}” is {said}, and the server never had it"
        if count == 1 and said in NEVER_LEFT:
            yield f"{out.session}: “{out.text}” is {said}, and the server has it"
        if count == 1 and said == "none":
            yield f"{out.session}: “{out.text}” was sent, and nobody got an answer"


def sent_twice(check: MessageCheck) -> dict[tuple[str, str], int]:
    """How many rows there are too many, by session and id of what was sent."""
    counts = Counter((one.session, one.id) for one in check.sent)
    return {same: count - 1 for same, count in sorted(counts.items()) if count > 1}


def _sent_twice(check: MessageCheck) -> Iterator[str]:
    """``message_sent`` overtook the reply to the send, or the commit that follows it."""
    for (session, message_id), more in sent_twice(check).items():
        yield f"{session}: the application has {more + 1} rows of the sent message {message_id}"


def unseen(check: MessageCheck) -> list[tuple[str, str]]:
    """Session and text of what WhatsApp's server has of the sessions, and the application no row of."""
    seen = {(one.session, one.text) for one in check.sent}
    return [one for one in check.chats if one not in seen]


def _wrong_rows(check: MessageCheck) -> Iterator[str]:
    for one in check.wrong_rows:
        limit = RECONCILED if one.own else WRONG_LIMIT
        # a machine that has no time for the observations has none for a commit: under load 20 those took 3 s, of everybody
        if one.seconds > limit and one.seen > limit / INTERVAL:
            yield (
                f"{one.session}: its row was {one.row} for {one.seconds:.1f} s"
                f" while the API said {one.reported}, from {datetime.fromtimestamp(one.began, UTC):%T} UTC"
            )


def _said(check: MessageCheck, out: Outgoing) -> str:
    """The outbox decides, as it learns more later."""
    return check.outbox.get((out.session, out.text), out.answer)


def answers(check: MessageCheck) -> Counter[str]:
    """How many sends ended how."""
    return Counter(_said(check, out) for out in check.outgoing)


def _names(some: Iterable[Incoming | Stored]) -> str:
    named = [f"{one.session} “{one.text[-NAME_LENGTH:]}”" for one in some]
    more = len(named) - NAMED_AT_MOST
    return ", ".join(named[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
