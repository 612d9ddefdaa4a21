"""When a session writes to nobody new for a while, and for how long. Pure; times are unix time.

WhatsApp locks first contacts of an account that writes to too many new people (its error 463): chats in
which somebody has answered go on. The page may say until when. Where it does not, refusals in a row say
that it is locked, and each pause is longer than the one before. A question for a new number that is
answered 429 pauses first contacts, too.
"""

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from typing import Final

REFUSED_IN_A_ROW: Final = 3
FIRST_GUESS: Final = 3_600.0  # s; WhatsApp named no date: it doubles with each pause in a row
LONGEST_GUESS: Final = 86_400.0  # s
LOOKUPS_REST: Final = 900.0  # s after a question for a number that was answered 429
NO_DATE: Final = 300.0  # s; WhatsApp's page notes a minute where its server names no date
_DOUBLED_AT_MOST: Final = 10
FORGOTTEN: Final = 86_400.0  # s after a pause, from which on a refusal is the first one again


class ChatHistory(StrEnum):
    """What a chat was before a message to it."""

    FIRST = auto()
    """A private one: nobody has written there, and WhatsApp's server has taken nothing for it."""
    OTHER = auto()
    """A group, or one where nobody has answered yet: a refusal of it says nothing here."""
    ANSWERED = auto()


class Result(StrEnum):
    """What came of the message."""

    SENT = auto()
    REFUSED = auto()
    SILENT = auto()
    """The page has it, and WhatsApp's server has not answered."""


class Cause(StrEnum):
    """Why first contacts pause."""

    LOCKED = auto()
    LOOKUPS = "look_ups"


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """What first contacts came to, since the last that was sent."""

    refused: int = 0
    silent: int = 0
    """Without an answer, since another chat's message was acknowledged."""
    dropped: int = 0
    """Times that some were, and a later message to another chat was acknowledged; a while without any
    answer, however many fall into it, is one time."""

    @property
    def count(self) -> int:
        """Those that say that first contacts are locked."""
        return self.refused + self.dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """No first contact until then; after it one is tried. ``said``: WhatsApp named the date."""

    cause: Cause
    since: float
    until: float
    said: bool = False
    times: int = 1
    """Pauses of a guessed length in a row, this one included."""

    def __str__(self) -> str:
        if self.cause is Cause.LOOKUPS:
            return f"WhatsApp was asked for too many new numbers: first contacts pause until {_at(self.until)}"
        if self.said:
            return f"WhatsApp refuses first contacts of this account until {_at(self.until)}"
        return (
            "WhatsApp refuses first contacts of this account and names no date:"
            f" they pause until {_at(self.until)}"
        )


def _at(moment: float) -> str:
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%Y-%m-%d %H:%M} UTC"


def after(streak: Streak, history: ChatHistory, result: Result) -> Streak:
    """What is known after one more message."""
    match history, result:
        case ChatHistory.FIRST, Result.SENT:
            return Streak()
        case ChatHistory.FIRST, Result.REFUSED:
            return replace(streak, refused=streak.refused + 1)
        case ChatHistory.FIRST, Result.SILENT:
            return replace(streak, silent=streak.silent + 1)
        case _, Result.SENT:
            return replace(streak, silent=0, dropped=streak.dropped + min(streak.silent, 1))
        case _, Result.SILENT:  # it may be the connection
            return replace(streak, silent=0)
        case ChatHistory.ANSWERED, Result.REFUSED:  # it is not about first contacts
            return Streak()
        case _:
            return streak


def refused_after_all(streak: Streak) -> Streak:
    """What is known when one that was without an answer got it late: it counts once."""
    if streak.silent:
        streak = replace(streak, silent=streak.silent - 1)
    elif streak.dropped:
        streak = replace(streak, dropped=streak.dropped - 1)
    return replace(streak, refused=streak.refused + 1)


def is_locked(streak: Streak, before: Pause | None, *, now: float) -> bool:
    """Whether first contacts pause now. ``before``: the last pause; one that came to its end is
    tried with a single message."""
    on_trial = before is not None and is_on_trial(before, now=now)
    return streak.count >= (1 if on_trial else REFUSED_IN_A_ROW)


def is_active(pause: Pause | None, *, now: float) -> bool:
    """Whether no first contact may be sent."""
    return pause is not None and now < pause.until


def is_on_trial(pause: Pause, *, now: float) -> bool:
    """Whether it is over, and no first contact has shown yet that WhatsApp takes them again."""
    return pause.cause is Cause.LOCKED and pause.until <= now < pause.until + FORGOTTEN


def lock(before: Pause | None, *, now: float, named: float | None = None) -> Pause:
    """The pause that begins now. ``named``: the date that WhatsApp's page has."""
    goes_on = before is not None and before.cause is Cause.LOCKED and now < before.until + FORGOTTEN
    since = before.since if before and goes_on else now
    guesses = before.times if before and goes_on else 0
    if named is not None and named > now + NO_DATE:
        return Pause(cause=Cause.LOCKED, since=since, until=named, said=True, times=guesses)
    length = min(FIRST_GUESS * 2 ** min(max(guesses, 0), _DOUBLED_AT_MOST), LONGEST_GUESS)
    return Pause(cause=Cause.LOCKED, since=since, until=now + length, times=guesses + 1)


def is_disproved(pause: Pause, *, now: float) -> bool:
    """Whether a first contact that WhatsApp took ends it: not what WhatsApp itself has named, and not
    what is about questions for numbers."""
    return pause.cause is Cause.LOCKED and not (pause.said and now < pause.until)


def rest(before: Pause | None, *, now: float) -> Pause:
    """The pause after a question for a number that was answered 429; it never shortens another."""
    until = now + LOOKUPS_REST
    if before is not None and before.until > until:
        return before
    since = before.since if before and is_active(before, now=now) else now
    return Pause(cause=Cause.LOOKUPS, since=since, until=until)


def by_word(before: Pause | None, named: float | None, *, now: float) -> Pause | None:
    """The pause by the word of WhatsApp's page. ``named``: until when first contacts are locked,
    0: they are not; None: the page does not say.

    That they are not ends only what the page itself had named: WhatsApp was seen to refuse without it.
    """
    if named is None:
        return before
    if named > now:
        if named <= now + NO_DATE and is_active(before, now=now):
            return before
        if before is not None and before.said and before.until == named:
            return before
        return lock(before, now=now, named=named)
    ended = before is not None and before.said and is_active(before, now=now)
    return None if ended else before
