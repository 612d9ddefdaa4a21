"""Connected, but WhatsApp's server acknowledges nothing: when that is so, and what helps. Pure.

The page sends by itself what has no ack yet, also after a replacement and under the same id. So a
replacement never makes a second message of one.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from waguard.core.recycle import APART

PAUSE: Final = 60.0  # s from one replacement to that of another session
SEVERAL: Final = 2  # late sends; of a single one the recipient may be the cause
FAR: Final = 3.0  # times the limit: now a single one is enough, and a send under way no obstacle
ALONE: Final = 10.0  # times the limit, where only first contacts wait: WhatsApp drops some of them


class Late(Struct, frozen=True):
    """Sends that wait for the server's ack for too long, or at which the page threw ``error``: then
    ``count`` is that of their chats. ``longest`` in seconds. ``first_contacts``: all of them are."""

    count: int
    longest: float
    error: str | None = None
    first_contacts: bool = False

    def __str__(self) -> str:
        if self.error is not None:
            chats = "1 chat" if self.count == 1 else f"{self.count} chats"
            return f"it is connected, but its page fails (JavaScript error) at sends to {chats}: {self.error}"
        if self.first_contacts:
            some = (
                "1 first contact waits" if self.count == 1 else f"{self.count} first contacts wait"
            )
            return (
                f"it is connected, but {some} for WhatsApp's ack and nothing else is acknowledged,"
                f" the first for {self.longest:.0f} s"
            )
        messages = "1 message waits" if self.count == 1 else f"{self.count} messages wait"
        return f"it is connected, but {messages} for WhatsApp's ack, the first for {self.longest:.0f} s"


def late(
    waited: Iterable[float], *, limit: float, first_contacts: Iterable[float] = ()
) -> Late | None:
    """``waited``: seconds of each send, counted only while it could have been acknowledged; of first contacts
    separately. These prove less: WhatsApp drops some of them silently. Nothing that the page shows separates
    that from a page whose sends go nowhere, so they count alone only, and after longer."""
    if over := [seconds for seconds in waited if seconds > limit]:
        return Late(len(over), max(over))
    over = [seconds for seconds in first_contacts if seconds > ALONE * limit]
    return Late(len(over), max(over), first_contacts=True) if over else None


def should_replace(it: Late, *, limit: float, busy: bool, recycled: float | None) -> bool:
    """Whether the worker is to be replaced now. ``busy``: a call is under way. ``recycled``:
    seconds since its last replacement, None: there was none."""
    if recycled is not None and recycled < APART:
        return False
    if it.first_contacts:
        return it.count >= SEVERAL
    return it.longest > FAR * limit or (it.count >= SEVERAL and not busy)


def is_everywhere(*, late: int, well: int, in_vain: int) -> bool:
    """Whether WhatsApp is the cause. ``well``: sessions with a recent ack; ``in_vain``: late sessions
    whose replacement did not help. Without such a proof two broken sessions would count as an outage where
    nobody else sends, and nothing would be done for them."""
    return late > 1 and well == 0 and in_vain > 0


def pause(*, limit: float, on_trial: bool, everywhere: bool) -> float:
    """Seconds from one replacement to the next. ``on_trial``: the last one has had no ack yet, and is
    not late again. Where WhatsApp is the cause, one is tried now and then: that conclusion may be wrong."""
    if everywhere:
        return APART
    return max(FAR * limit, PAUSE) if on_trial else PAUSE
