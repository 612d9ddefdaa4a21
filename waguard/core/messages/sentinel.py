"""A message to the session's own number that shows whether the session works, also where nobody writes: its text, and
what came of it. ``worker/messages/sentinel.py`` keeps it from the application. Pure.
"""

import re
import zlib
from typing import Final

from msgspec import Struct

AFTER_CONNECT: Final = 60.0  # s after the connection: what is read back then comes first
RETRY: Final = 60.0  # s after one that certainly did not leave
SPREAD: Final = 0.1  # of the interval: sessions that were connected together do not write together
EVERY: Final = "*"
_ID: Final = (
    "_3EB05E271E01"  # as WhatsApp Web begins its ids, and what tells ours from the person's own
)

# long enough that no person writes it; the token tells one from the next on the phone
_TEXT: Final = re.compile(r"waguard checks whether this number works \([0-9a-f]{8}\)")


class Result(Struct, frozen=True, kw_only=True):
    """What came of the newest sentinel."""

    at: float
    """Unix time at which it was sent."""
    seconds: float
    """Until WhatsApp's server had acknowledged it and the page had reported it, or until it failed."""
    error: str | None = None
    """Why it failed; None: it was acknowledged and reported."""


def text(token: str) -> str:
    """The text of a sentinel; ``token``: eight hexadecimal digits."""
    return f"waguard checks whether this number works ({token})"


def message_id(chat: str, token: str) -> str:
    """The id of a sentinel to this chat; ``token``: ten hexadecimal digits."""
    return f"true_{chat}{_ID}{token.upper()}"


def has_id_of_sentinel(message_id: str) -> bool:
    """Whether a message with this id is one, also of a daemon before this one."""
    return _ID in message_id and message_id.startswith("true_")


def is_sentinel(body: str) -> bool:
    """Whether a message with this text is one."""
    return _TEXT.fullmatch(body) is not None


def is_watched(session: str, chosen: tuple[str, ...]) -> bool:
    """Whether the session was chosen, by name or with all others."""
    return session in chosen or EVERY in chosen


def pause(session: str, interval: float) -> float:
    """Seconds from one sentinel to the next, always the same for a session."""
    return interval * (1 + SPREAD * _place(session))


def first_pause(session: str, interval: float) -> float:
    """Seconds from the first connection to the first sentinel."""
    return AFTER_CONNECT + interval * SPREAD * _place(session)


def _place(session: str) -> float:
    return zlib.crc32(session.encode()) / 2**32
