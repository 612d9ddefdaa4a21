"""What is done about a page that works, or should work, and reports an obstacle. Pure.

A reload comes before a replacement, and each is tried a limited number of times. What they do not cure is a
condition for a person. Nothing here unlinks the session: a new pairing may need a passkey that only the account's
owner has.
"""

from collections.abc import Sequence
from enum import StrEnum, auto
from typing import Final

from waguard.core.blame import Blame
from waguard.core.link import Link
from waguard.core.recycle import IDLE

# s; then a session that is never idle is reloaded between two calls
UPDATE_PATIENCE: Final = 3_600.0
# s between two loads for one notice: a new version is rolled out in steps
UPDATE_APART: Final = 600.0
UPDATE_RELOADS: Final = 2
UPDATE_FORGOTTEN: Final = 21_600.0  # s after which an earlier try does not count: it may help now
OFFLINE_LIMIT: Final = 180.0  # s; a page connects again within seconds where it can
# s; linking takes seconds, and a reload too early may cost the pairing
PAIRING_LIMIT: Final = 600.0
SYNCING_LIMIT: Final = 900.0  # s; a large account is synchronized for minutes
# s; where only the sessions say that the network is away, each of them may be stuck since it was
UNSURE_LIMIT: Final = 900.0
STUCK_AGAIN: Final = 3_600.0  # s after the advice; then the steps are tried again
PASSKEY_GRACE: Final = 30.0  # s beyond the passkey's time for the page to show a code by itself
FLOOD_LIMIT: Final = 300.0  # s; a page that goes on for so long is not WhatsApp's any more
COVERED_LIMIT: Final = 60.0  # s; a dialog that a page closes itself is gone by then


class Step(StrEnum):
    """The next step."""

    WAIT = auto()
    RELOAD = auto()
    REPLACE = auto()
    ADVISE = auto()


class Kind(StrEnum):
    """Conditions: what a person should know, and may have to act on."""

    PASSKEY_REQUIRED = auto()
    UPDATE_PERSISTS = auto()
    LINK_STUCK = auto()
    ACKS_IN_VAIN = auto()
    MEMORY_IN_VAIN = auto()
    ACTION_REQUIRED = auto()
    WHATSAPP_REFUSES = auto()
    UNDECRYPTABLE = auto()
    FIRST_CONTACTS_PAUSED = auto()
    PAGE_RESTARTS = auto()
    PAGE_FLOODS = auto()


BLAMES: Final = {
    Kind.PASSKEY_REQUIRED: Blame.OPERATOR,
    Kind.UPDATE_PERSISTS: Blame.WHATSAPP,
    Kind.LINK_STUCK: Blame.WHATSAPP,
    Kind.ACKS_IN_VAIN: Blame.WHATSAPP,
    Kind.MEMORY_IN_VAIN: Blame.HOST,
    Kind.ACTION_REQUIRED: Blame.OPERATOR,
    Kind.WHATSAPP_REFUSES: Blame.WHATSAPP,
    Kind.UNDECRYPTABLE: Blame.WHATSAPP,
    Kind.FIRST_CONTACTS_PAUSED: Blame.WHATSAPP,
    Kind.PAGE_RESTARTS: Blame.SESSION,
    Kind.PAGE_FLOODS: Blame.SESSION,
}


def on_update(*, offered: float, idle: float | None, reloads: Sequence[float]) -> Step:
    """The step for a newer version of the page. ``offered``: seconds since the page offers it; ``idle``: as
    ``recycle.size_of`` has it; ``reloads``: seconds since each load for this reason."""
    recent = [ago for ago in reloads if ago < UPDATE_FORGOTTEN]
    if recent and min(recent) < UPDATE_APART:
        return Step.WAIT
    if len(recent) >= UPDATE_RELOADS:
        return Step.ADVISE
    if idle is None or (idle < IDLE and offered < UPDATE_PATIENCE):
        return Step.WAIT
    return Step.RELOAD


STUCK: Final = {
    Link.OFFLINE: (OFFLINE_LIMIT, "no connection to WhatsApp"),
    Link.PAIRING: (PAIRING_LIMIT, "its linking has not ended"),
    Link.SYNCING: (SYNCING_LIMIT, "its synchronization has not ended"),
}
"""Links that normally end by themselves: within how many seconds, and what is wrong where they do not."""


def on_stuck(tried: Sequence[Step]) -> Step:
    """The step for a page whose link has not moved in its time, where the steps ``tried`` had no effect. ``deadlines`` has
    the time, and asks for nothing but a reload where the network may be away: a reload does no harm."""
    return next((s for s in (Step.RELOAD, Step.REPLACE) if s not in tried), Step.ADVISE)
