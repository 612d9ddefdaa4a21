"""Whether the application would hear that a session is connected: else it drops the session's messages. Pure."""

from typing import Final

from msgspec import Struct

from waguard.core.link import Link
from waguard.core.row_status import Status
from waguard.core.session import views
from waguard.core.session.facts import Moment
from waguard.core.session.state import SessionState


class Connection(Struct, frozen=True, kw_only=True):
    """What the application would hear of a session now: connected, or ``why_not``."""

    why_not: str | None = None
    known: bool = True
    """Whether it is known that it is connected, or not."""
    phone: str | None = None
    since: float = 0.0
    """Unix time."""


NOT_IN_MEMORY: Final = Connection(why_not="it is not in memory", known=False)


def connection(session: SessionState, now: Moment, *, stopping: bool) -> Connection:
    """What GET status and /health would say of a session now. ``stopping``: the daemon is."""
    if stopping:
        return Connection(why_not="waguard is stopping")
    if session.status.status is not Status.CONNECTED:
        return Connection(why_not=f"it is {session.status.status}")
    worker = session.worker
    if worker is None or views.link(session) is Link.UNKNOWN:
        why_not = "its row says connected, its worker has not confirmed it yet"
        return Connection(why_not=why_not, known=False)
    since = now.wall - (now.at - worker.link_since)
    return Connection(phone=session.phone, since=since)
