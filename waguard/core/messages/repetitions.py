"""Whether a request repeats an earlier one, whose result it gets then: nothing is sent twice. Pure.

The application repeats an identical request when a reply does not reach it. So identical requests are one message while
the first is in flight, and share its result for ``REPEATED_FOR`` when its reply could not be written. Once a reply was
written, the same text again is a new message: a person may say "ok" twice. Where the request names a key, the key says
which message it is, for ``KEY_LASTS``.
"""

from enum import Enum, auto
from typing import Final

from msgspec import Struct

# s in which a request without a reply may be repeated; the application gives up long before
REPEATED_FOR: Final = 600.0
# s for which a key means the same message: an application that repeats after an outage of hours sends nothing twice
KEY_LASTS: Final = 24 * 3_600.0


class Relation(Enum):
    """How a request relates to the earlier one with its key or, where it names none, its content."""

    NEW = auto()
    """The request is a message of its own."""
    REPETITION = auto()
    """Both are one message."""
    KEY_REUSED = auto()
    """The request is another message, and its key is taken."""


class Earlier(Struct, frozen=True, kw_only=True):
    """An earlier message, or bulk, with the request's key or, where it names none, its content."""

    fingerprint: str | None
    """None: it is of another kind than the request."""
    may_have_happened: bool = True
    """False: a repetition is a second chance."""
    age: float = 0.0
    """s since it was accepted; 0 where only what counts is in memory."""
    lasts: float = KEY_LASTS
    """s for which it counts."""


def relation(fingerprint: str, earlier: Earlier) -> Relation:
    """The relation of a request with this ``fingerprint`` to the earlier one."""
    if not earlier.may_have_happened or earlier.age > earlier.lasts:
        return Relation.NEW
    same = earlier.fingerprint == fingerprint
    return Relation.REPETITION if same else Relation.KEY_REUSED
