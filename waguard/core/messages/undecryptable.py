"""Messages that WhatsApp Web has and cannot decrypt yet: "Waiting for this message". Pure.

Each is stored by its id and read again until it can be decrypted; after ``KEPT_FOR`` it is a dead letter. WhatsApp
Web requests such a message again from its sender or the phone, and shows it under the same id.
"""

from collections.abc import Iterable
from enum import StrEnum, auto
from typing import Final

from msgspec import Struct

from waguard.core.messages.message_ids import parse
from waguard.core.messages.people import People

CIPHERTEXT: Final = "ciphertext"  # WhatsApp's word for the type of such a message
# subtypes of what a linked device never gets (WhatsApp Web's source; Baileys asks for none of them again)
ONLY_ON_PHONE: Final = frozenset(
    {"view_once_unavailable_fanout", "bot_unavailable_fanout", "hosted_unavailable_fanout"}
)
KEPT_FOR: Final = 14 * 86_400.0  # s
# s; a message that became readable is known for so long at least, whatever the retention of the inbox
KNOWN_FOR: Final = KEPT_FOR + 86_400.0
ADVISE_AFTER: Final = 86_400.0  # s; until then the phone may just be off
MOST: Final = 2_000  # of a session; beyond, the oldest are given up
STATUSES: Final = "status@broadcast"
AT_ONCE: Final = 50  # ids of one look-up
RETRY: Final = 60.0  # s after a look-up that failed

EXPIRED: Final = "WhatsApp Web could not decrypt it within 14 days"
GONE: Final = "WhatsApp Web could not decrypt it within 14 days, and does not show it any more"
TOO_MANY: Final = f"more than {MOST} messages could not be decrypted: the oldest are given up"


class Outcome(StrEnum):
    """The result of a lookup of one message."""

    READABLE = auto()
    """The message was reported as a received one."""
    UNDECRYPTABLE = auto()
    NO_MESSAGE = auto()
    """There is no message, or one of a chat that is left out."""
    GONE = auto()
    """The page has no message with this id."""
    FAILED = auto()
    """The page could not be asked."""


class Waiting(Struct, frozen=True, kw_only=True):
    """A stored one; ``since``: when it was first stored, in unix time."""

    message_id: str
    since: float


def next_due(last: float | None, *, connected_at: float, interval: float) -> float:
    """When the stored messages are read again: at each connect, and ``interval`` s after the last lookup. Monotonic
    times; ``last`` None: there was none yet."""
    return connected_at if last is None or last < connected_at else last + interval


def in_the_quiet(waiting: Iterable[Waiting], paired_at: float) -> list[str]:
    """The ids that may be looked up within the quiet after a pairing (unix time): what came since then, but for
    statuses."""
    since = (one.message_id for one in waiting if one.since >= paired_at)
    return [it for it in since if (key := parse(it)) is None or key.chat != STATUSES]


def expired(age: float) -> bool:
    """Whether the oldest one is given up; ``age``: its age in seconds, 0 where there is none."""
    return age >= KEPT_FOR


def advice_is_due(age: float) -> bool:
    """Whether they are a condition; ``age`` as for ``expired``."""
    return age >= ADVISE_AFTER


def words(count: int) -> str:
    """The condition in words."""
    what = "1 message" if count == 1 else f"{count} messages"
    return f"{what} cannot be decrypted yet, the oldest for more than a day"


def chats_of(message_id: str, people: People) -> tuple[str, ...]:
    """Other ids that the chat of this message may have, or have had."""
    if (key := parse(message_id)) is None:
        return ()
    known = (*people.aliases(key.chat), *people.lids(key.chat))
    return tuple(wid for wid in dict.fromkeys(known) if wid != key.chat)


def stem_of(message_id: str) -> str:
    """The part that all ids of one message share. An equal stem does not prove that it is the same message."""
    key = parse(message_id)
    return key.stem if key else message_id
