"""Conditions that neither a session's state nor a reading of the host shows: of messages on their way, and of
what waguard itself found. Pure. Times are unix time.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from waguard.core import remedies
from waguard.core.blame import Blame, Condition
from waguard.core.incidents.folding import fleet_condition
from waguard.core.reconcile import Finding, Kind
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import DECIDED, DeadLetterState, dead_letter_state

LATE_AFTER: Final = 300.0  # s that a webhook may wait for a receiver that works
HELD: Final = "webhooks_held"
DISPUTED: Final = "row_disputed"
_BLAMES: Final = {
    Kind.PROFILE_WITHOUT_ROW: Blame.OPERATOR,
    Kind.SAME_PHONE: Blame.OPERATOR,
    Kind.RUNS_WITHOUT_PROFILE: Blame.HOST,
}


class Receiver(Struct, frozen=True, kw_only=True):
    """What waits for one receiver of webhooks."""

    session: str | None
    """The session whose own receiver it is; None: that of ``webhook.url``."""
    waiting: int
    """Webhooks."""
    oldest: float | None = None
    """When the oldest webhook that can be delivered now was queued."""
    late: int = 0
    """Chats whose next webhook has waited for longer than ``LATE_AFTER`` although it can be delivered."""
    down_since: float | None = None
    """Since when it accepts nothing; None: it accepts webhooks, or nothing is known."""
    error: str | None = None
    """What failed in the last attempt; None: it worked."""
    advice: str = ""
    """What that means, in words."""
    unread_since: float | None = None
    """Since when the database has webhooks that are not in memory, and are not read when their turn comes; None: it has
    none, or not for ``LATE_AFTER``."""


class DeadLetters(Struct, frozen=True, kw_only=True):
    """Dead letters of one receiver with one cause."""

    session: str | None
    """As ``Receiver`` has it."""
    cause: str | None
    count: int
    sessions: int
    """How many sessions they belong to."""
    since: float
    newest: int
    """The number of the newest one."""
    error: str


class Unidentified(Struct, frozen=True, kw_only=True):
    """Chats of one session whose LIDs have no known number."""

    session: str
    chats: int
    since: float
    oldest: str
    """The chat that waits for the longest time."""


class HeldChats(Struct, frozen=True, kw_only=True):
    """Chats of one session whose next message waits for the session."""

    session: str
    chats: int
    since: float
    why: str


# ---- messages on their way ----


def of_receivers(receivers: Iterable[Receiver]) -> list[Condition]:
    """Receivers that accept nothing, or not in time."""
    found = []
    for it in receivers:
        queue = f"{_count(it.waiting, 'webhook')} {'waits' if it.waiting == 1 else 'wait'}"
        since = f", the first since {_time(it.oldest)}" if it.oldest is not None else ""
        if it.down_since is not None:
            advice = f"; {it.advice}" if it.advice else ""
            why = f"the receiver accepts no webhooks ({it.error}{advice}): {queue}{since}"
            found.append(_of_messages("webhooks_down", it.session, why, it.down_since))
        elif it.late:
            chats, error = _count(it.late, "chat"), f" ({it.error})" if it.error else ""
            why = f"{queue}{since}, in {chats} for longer than {LATE_AFTER:.0f} s{error}"
            found.append(_of_messages("webhooks_late", it.session, why, it.oldest or 0.0))
        elif it.unread_since is not None:
            why = f"{queue} in the database, and waguard has read none of the oldest since {_time(it.unread_since)}"
            late = _of_messages("webhooks_late", it.session, why, it.unread_since)
            found.append(replace(late, remedy=remedies.text(remedies.WEBHOOKS_UNREAD, it.session)))
    return found


def of_dead_letters(letters: Iterable[DeadLetters]) -> list[Condition]:
    """Dead letters that a person has to decide about."""
    found = []
    groups: dict[tuple[str, DeadLetterState], list[DeadLetters]] = {}
    for it in letters:
        kind = dead_letter_state(it.cause)
        if it.cause not in DECIDED and kind is not DeadLetterState.UNIDENTIFIED:
            groups.setdefault((it.session or "", kind), []).append(it)
    for (session, kind), group in sorted(groups.items()):
        count, since = sum(it.count for it in group), min(it.since for it in group)
        newest = max(group, key=lambda it: it.newest)
        type_, words = _GRAVES[kind]
        why = words.format(webhooks=_count(count, "webhook"), error=newest.error)
        found.append(_of_messages(type_, session or None, why, since, n=newest.newest))
    return found


_GRAVES: Final = {
    DeadLetterState.DEAD: (
        "dead_letters",
        "dead letters: {webhooks} undeliverable, the newest: {error}",
    ),
    DeadLetterState.UNCERTAIN: (
        "letters_uncertain",
        "dead letters: {webhooks} that the receiver accepted and may have dropped",
    ),
    DeadLetterState.STORED: (
        "letters_stored",
        "dead letters: {webhooks} that the receiver stored and answered with an error, the newest: {error}",
    ),
    DeadLetterState.RESTORED: (
        "letters_restored",
        "dead letters: {webhooks} that may have been delivered before this installation was restored from a backup",
    ),
    DeadLetterState.UNDECRYPTABLE: (
        "letters_undecryptable",
        "dead letters: {webhooks} of messages that WhatsApp Web could not decrypt",
    ),
}


def of_unidentified(found: Iterable[Unidentified]) -> list[Condition]:
    """Chats that wait for the phone number of a LID."""
    return [
        _of_messages(
            "numbers_unknown",
            it.session,
            f"messages of {_count(it.chats, 'chat')} wait for the phone number of a LID, the first"
            f" since {_time(it.since)}",
            it.since,
            chat=it.oldest,
        )
        for it in found
    ]


def of_held(found: Iterable[HeldChats]) -> list[Condition]:
    """Chats whose messages have waited for their session for too long."""
    return [
        _of_messages(
            HELD,
            it.session,
            f"received messages of {_count(it.chats, 'chat')} wait since {_time(it.since)}: {it.why}",
            it.since,
        )
        for it in found
    ]


def of_deleted(held: Condition) -> Condition:
    """Chats that wait for a session that a person has deleted: that is no trouble, and they wait until a person decides."""
    remedy = remedies.text(remedies.HELD_OF_DELETED, held.session)
    return replace(held, remedy=remedy, degrades=False)


def stored_unknown(why: str, *, passes: bool, since: float) -> Condition:
    """Whether the receiver has stored its messages cannot be looked up; ``passes``: until the database is back."""
    meanwhile = "what gets a 2xx waits for it" if passes else "what gets a 2xx counts as delivered"
    words = f"webhook.stored cannot be looked up ({why}): {meanwhile}"
    return _of_messages("stored_unknown", None, words, since)


def row_disputed(session: str, *, since: float) -> Condition:
    """Somebody else keeps writing the row of a session that is connected."""
    words = (
        "somebody else writes its row, again and again: it says that the session is not connected, and"
        " it is. Received messages wait, because the application would drop them"
    )
    return _of_messages(DISPUTED, session, words, since)


def database_behind(count: int, why: str | None, *, since: float, age: float) -> Condition:
    """Received messages wait for the database. ``why``: what the last write failed for; None: it did not."""
    words = (
        f"the database is behind: {_count(count, 'write')} in the queue, the first for {age:.0f} s"
    )
    return _of_messages("database_behind", None, f"{words} ({why})" if why else words, since)


def sends_refused(why: str, *, since: float) -> Condition:
    """The database takes no message to send, and nothing waits for it."""
    words = (
        f"the database takes no messages to send: each send is refused since {_time(since)} ({why})"
    )
    return _of_messages("database_behind", None, words, since)


def _of_messages(
    type_: str, session: str | None, message: str, since: float, **values: object
) -> Condition:
    of_all = fleet_condition(type_, message, since=since)
    return Condition(
        session=session,
        type=type_,
        blame=of_all.blame,
        reason=type_,
        message=message,
        since=since,
        remedy=remedies.text(remedies.FLEET[type_], session, **values),
    )


# ---- what waguard itself found ----


def fault(session: str, words: str, *, since: float) -> Condition:
    """waguard failed at something for this session."""
    return _of_session(session, "supervision_failed", Blame.HOST, words, since, remedies.FAULT)


def acks_late(session: str, words: str, *, since: float) -> Condition:
    """The session is connected, and WhatsApp acknowledges nothing."""
    return _of_session(session, "acks_late", Blame.WHATSAPP, words, since, remedies.ACKS_LATE)


def sends_throw(session: str, words: str, *, since: float) -> Condition:
    """The session is connected, and its page's own code throws at sends."""
    return _of_session(session, "sends_throw", Blame.WHATSAPP, words, since, remedies.SENDS_THROW)


def deaf(session: str, words: str, *, since: float) -> Condition:
    """The condition of a session that is connected, and whose page raises no events."""
    return _of_session(session, "deaf", Blame.WHATSAPP, words, since, remedies.DEAF)


def sentinel_failed(session: str, words: str, *, since: float) -> Condition:
    """The newest message of the session to its own number failed."""
    return _of_session(session, "sentinel_failed", Blame.WHATSAPP, words, since, remedies.SENTINEL)


def not_started(session: str, words: str, *, since: float) -> Condition:
    """The session is wanted up, and its start has not been requested yet."""
    return _of_session(session, "start", Blame.HOST, words, since, remedies.NOT_STARTED)


def of_finding(found: Finding, *, since: float) -> Condition:
    """A finding of the reconciler that only a person can decide."""
    return Condition(
        session=found.session,
        type=str(found.kind),
        blame=_BLAMES[found.kind],
        reason=str(found.kind),
        message=found.about,
        since=since,
        remedy=found.remedy,
    )


def _of_session(
    session: str, type_: str, blame: Blame, message: str, since: float, remedy: str
) -> Condition:
    return Condition(
        session=session,
        type=type_,
        blame=blame,
        reason="not_started" if type_ == "start" else type_,
        message=message,
        since=since,
        remedy=remedies.text(remedy, session),
    )


def degraded(found: Sequence[Condition]) -> str | None:
    """What is wrong, in words; None: nothing."""
    return "; ".join(it.message for it in found if it.degrades) or None


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _time(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="seconds")
