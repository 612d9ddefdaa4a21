"""Pauses in which a session writes to nobody new: when, and for how long. Pure; times are unix time.

WhatsApp locks first contacts of an account that writes to too many new people (its error 463); chats in
which somebody has answered go on. The page may name the end. Where it does not, several refusals in a row
mean that first contacts are locked, and each pause is longer than the one before. A lookup of a new number
that WhatsApp answers with 429 pauses first contacts, too.
"""

import datetime as dt
from enum import StrEnum, auto
from typing import Final

from msgspec import Struct

from waguard.core.backoff import backoff
from waguard.core.replace import replace

REFUSED_IN_A_ROW: Final = 3
FIRST_GUESS: Final = 3_600.0  # s, where WhatsApp names no date; it doubles with each pause in a row
LONGEST_GUESS: Final = 86_400.0  # s
LOOKUPS_REST: Final = 900.0  # s after a lookup of a number that WhatsApp answered with 429
NO_DATE: Final = 300.0  # s; WhatsApp's page has a date one minute ahead where its server names none
# s after a pause, after which refusals are counted from the first one again
FORGOTTEN: Final = 86_400.0


class ChatHistory(StrEnum):
    """The state of a chat before a message to it."""

    FIRST = auto()
    """A private chat in which nobody has written, and for which WhatsApp's server has accepted nothing."""
    OTHER = auto()
    """A group, or a chat in which nobody has answered yet: a refusal proves nothing about first contacts."""
    ANSWERED = auto()


class Result(StrEnum):
    """The outcome of the message."""

    SENT = auto()
    REFUSED = auto()
    SILENT = auto()
    """The page has it, and WhatsApp's server has not answered."""


class Cause(StrEnum):
    """Why first contacts pause."""

    LOCKED = auto()
    LOOKUPS = "look_ups"


class Streak(Struct, frozen=True, kw_only=True):
    """Outcomes of first contacts since the last one that was sent."""

    refused: int = 0
    silent: int = 0
    """Without an answer, since a message to another chat was acknowledged."""
    dropped: int = 0
    """Periods in which first contacts got no answer and after which a message to another chat was acknowledged.
    A period counts once, whatever the number of messages in it."""

    @property
    def count(self) -> int:
        """Outcomes which show that first contacts are locked."""
        return self.refused + self.dropped


class Pause(Struct, frozen=True, kw_only=True):
    """No first contact is sent before ``until``; then one is tried. ``said``: WhatsApp named the date."""

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
    """The streak after one more message."""
    match history, result:
        case ChatHistory.FIRST, Result.SENT:
            return Streak()
        case ChatHistory.FIRST, Result.REFUSED:
            return replace(streak, refused=streak.refused + 1)
        case ChatHistory.FIRST, Result.SILENT:
            return replace(streak, silent=streak.silent + 1)
        case _, Result.SENT:
            return replace(streak, silent=0, dropped=streak.dropped + min(streak.silent, 1))
        case _, Result.SILENT:  # the connection may be the cause
            return replace(streak, silent=0)
        case ChatHistory.ANSWERED, Result.REFUSED:  # WhatsApp refuses more than first contacts
            return Streak()
        case _:
            return streak


def refused_after_all(streak: Streak) -> Streak:
    """The streak after a late refusal of a message that had no answer: it counts once."""
    if streak.silent:
        streak = replace(streak, silent=streak.silent - 1)
    elif streak.dropped:
        streak = replace(streak, dropped=streak.dropped - 1)
    return replace(streak, refused=streak.refused + 1)


def is_locked(streak: Streak, before: Pause | None, *, now: float) -> bool:
    """Whether first contacts pause now. ``before``: the last pause; after its end a single refusal suffices."""
    on_trial = before is not None and is_on_trial(before, now=now)
    return streak.count >= (1 if on_trial else REFUSED_IN_A_ROW)


def bounded(pause: Pause, *, now: float) -> Pause:
    """The pause, no longer from now on than waguard guesses: one that is longer began while the clock was ahead. A date that
    WhatsApp named stays."""
    longest = LOOKUPS_REST if pause.cause is Cause.LOOKUPS else LONGEST_GUESS
    if pause.said or pause.until <= now + longest:
        return pause
    return replace(pause, since=min(pause.since, now), until=now + longest)


def is_active(pause: Pause | None, *, now: float) -> bool:
    """Whether no first contact may be sent."""
    return pause is not None and now < pause.until


def is_on_trial(pause: Pause, *, now: float) -> bool:
    """Whether it is over, and no first contact has shown yet that WhatsApp accepts them again."""
    return pause.cause is Cause.LOCKED and pause.until <= now < pause.until + FORGOTTEN


def lock(before: Pause | None, *, now: float, named: float | None = None) -> Pause:
    """The pause that begins now. ``named``: the date that WhatsApp's page has."""
    goes_on = _is_remembered(before, now=now)
    since = before.since if before and goes_on else now
    guesses = before.times if before and goes_on else 0
    if named is not None and named > now + NO_DATE:
        return Pause(cause=Cause.LOCKED, since=since, until=named, said=True, times=guesses)
    length = backoff(FIRST_GUESS, guesses, longest=LONGEST_GUESS)
    return Pause(cause=Cause.LOCKED, since=since, until=now + length, times=guesses + 1)


def _is_remembered(pause: Pause | None, *, now: float) -> bool:
    """Whether it is a lock, and a next one would be longer."""
    return pause is not None and pause.cause is Cause.LOCKED and now < pause.until + FORGOTTEN


def is_disproved(pause: Pause, *, now: float) -> bool:
    """Whether a first contact that WhatsApp accepted ends the pause. It does not end a pause whose date
    WhatsApp named, nor one because of lookups of numbers."""
    return pause.cause is Cause.LOCKED and not (pause.said and now < pause.until)


def rest(before: Pause | None, *, now: float) -> Pause:
    """The pause after a lookup that WhatsApp answered with 429. It never shortens another pause, and a lock stays
    one, on trial after it; the date is not WhatsApp's any more."""
    until = now + LOOKUPS_REST
    if before is not None and before.until > until:
        return before
    if before is not None and _is_remembered(before, now=now):
        return replace(before, until=until, said=False)
    since = before.since if before and is_active(before, now=now) else now
    return Pause(cause=Cause.LOOKUPS, since=since, until=until)


def by_word(before: Pause | None, named: float | None, *, now: float) -> Pause | None:
    """The pause by what WhatsApp's page says. ``named``: until when first contacts are locked, 0: they are
    not; None: the page does not say.

    A 0 ends only a pause that the page itself had named: WhatsApp also refuses without naming a date.
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
