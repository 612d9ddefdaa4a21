"""What the API asks of supervision."""

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Final, Protocol

from msgspec import Struct

from waguard.core.blame import Condition
from waguard.core.conditions import degraded
from waguard.core.messages.sentinel import Result
from waguard.core.proxy import Proxy
from waguard.core.reconcile import Correction, Finding
from waguard.ports.outcomes import Outcome
from waguard.ports.process import Usage
from waguard.wire.calls import Operation, Send, Value
from waguard.wire.reports import PageVersion, QrCode

THE_API: Final = "the API"
"""Who asked, where nobody has said it."""
Last = Callable[[], Awaitable[None]] | None
"""What removes what others keep of a session; None: nothing."""
REMOVED: Final = "its session was deleted"
LOGGED_OUT: Final = "its session was logged out"
"""Why what waited for a session that has left fails."""


class SessionView(Struct, frozen=True, kw_only=True):
    """A session as the API shows it. ``status`` is one of the five values of the row's enum."""

    session_id: str
    workspace_id: int
    status: str
    phone_number: str | None
    connected_at: datetime | None
    last_activity: datetime | None
    disconnect_reason: str | None
    disconnect_details: str | None
    account_id: int | None
    priority: int
    desired_up: bool
    lifecycle: str
    link: str
    worker_pid: int | None
    browser_pid: int | None
    restarts: int
    """Unplanned restarts since the daemon started."""
    waiting: str | None = None
    """Why it waits for its start; None: it does not."""
    conditions: tuple[Condition, ...] = ()
    """What is wrong with it, and what a person may have to do."""
    undecryptable: int = 0
    """Messages that WhatsApp Web shows as "Waiting for this message"."""
    undecryptable_since: float | None = None
    """Unix time at which the oldest of them was remembered."""
    version: PageVersion | None = None
    """What its page is loaded with; None: it has none, or its worker does not say."""
    sentinel: Result | None = None
    """What came of its newest message to its own number; None: there was none."""
    phone_used_at: float | None = None
    """Unix time of the newest message that was written on the phone; None: none since the daemon's start."""
    usage: Usage | None = None
    """None: not measured yet, or nothing runs."""
    removed_at: datetime | None = None
    """When it was deleted; its row is still there."""
    elsewhere: bool = False
    """Another host owns it, or none: all of this is what its row says."""
    address: str | None = None
    """Base URL of the API of the other host that owns it, where it is known."""

    @property
    def degraded(self) -> str | None:
        """What is wrong, in words; None: nothing."""
        return degraded(self.conditions)


class Health(Struct, frozen=True, kw_only=True):
    """What the supervisor knows of itself; counts are of sessions that were not removed."""

    supervising: bool
    database: bool
    restored: bool
    """The restore at start is through."""
    total: int
    connected: int
    disconnected: int
    known: bool = True
    """Whether the rows were read; False: all counts are 0."""
    browsers_outdated: int = 0
    """Sessions that run another Chromium than the installed one."""
    conditions: tuple[Condition, ...] = ()
    """Those of all sessions at once first."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, in words; empty: nothing."""
        return tuple(str(it) for it in self.conditions if it.degrades)


class Sessions(Protocol):
    """What the API asks of supervision.

    But for ``send`` and ``is_in``, every call with a session id raises ``NotFoundError`` ("Session not found") for an
    unknown one, ``UnavailableError`` while the database is down and the session is not in memory, and ``NotOwnedError``
    for one that this host does not own.
    """

    async def create(
        self,
        session_id: str,
        workspace_id: int,
        *,
        account_id: int | None,
        priority: int,
        proxy: Proxy | None = None,
    ) -> tuple[SessionView, bool]:
        """The session, and whether it is new. Returns at once: the QR comes later. ``proxy`` None: as it has one, or
        none."""

    async def views(self, *, removed: bool = False, elsewhere: bool = False) -> list[SessionView]:
        """All sessions of this host, by id; with the ``removed`` ones and with those of the cluster's other hosts where
        asked for."""

    async def view(self, session_id: str, *, elsewhere: bool = False) -> SessionView:
        """One session. ``elsewhere``: also one that is not this host's, by its row; else that raises ``NotOwnedError``."""

    async def is_in(self, session_id: str, workspaces: Collection[int]) -> bool | None:
        """Whether it is a session of one of these workspaces; None: there is none. No session is started for that.

        Raises ``UnavailableError`` also for another workspace's while the database is down: its answer is that of a
        session that does not exist.
        """

    async def start(self, session_id: str, *, restart: bool) -> SessionView:
        """Want it up; ``restart``: also replace its worker (a planned recycle).

        A removed one comes back, and shows a QR code.
        """

    async def stop(self, session_id: str) -> SessionView:
        """Want it down and stop it; its pairing stays."""

    async def logout(
        self, session_id: str, *, by: str = THE_API, last: Last = None
    ) -> tuple[SessionView, bool]:
        """Unlink at WhatsApp, stop, and move the profile to quarantine, which names who asked (``by``); the row
        stays, disconnected / user_initiated. False: a phone may still list it as linked. ``last`` comes before the
        quarantine. Raises what it raises."""

    async def delete(
        self, session_id: str, *, purge: bool, by: str = THE_API, last: Last = None
    ) -> bool:
        """``logout``, and list it no more; False: a phone may still list it as linked. ``purge``: also soft-delete the
        row. ``last`` removes what others keep of it:
        until that has returned none of the same id is created. Raises what it raises."""

    async def qr(self, session_id: str, *, wait: float, refresh: bool = False) -> QrCode:
        """The code on the screen. Raises ``ConflictError`` (connected), ``NotYetError``."""

    async def send(
        self, session_id: str, call: Send, *, wait: float, phone: str | None = None
    ) -> Outcome:
        """Have the worker send it, after at most ``wait`` seconds for it to be ready; with ``phone``
        (digits) only while the session is linked to that number. Raises no ``WaguardError``."""

    async def call(self, session_id: str, call: Operation, *, wait: float) -> Value:
        """Have the worker do ``call``, after at most ``wait`` seconds for it to be ready.

        Raises ``ConflictError`` or ``UnavailableError`` (with retry_after) when it is not ready,
        ``RefusedError``.
        """

    async def ready(self, session_id: str, *, wait: float, hoping: bool = False) -> None:
        """Return when a message can be sent, after at most ``wait`` seconds; raises as ``call``.

        ``hoping``: wait also where only a person can help.
        """

    def first_contacts_pause(self, session_id: str) -> float:
        """Seconds for which nobody new is written to; 0: a first contact may be tried."""


class Reconciliation(Protocol):
    """What the API asks of the reconciler."""

    async def correct(self) -> list[Correction]:
        """Make rows, memory and host agree now; what was done for it.

        Raises ``UnavailableError`` when the rows cannot be read: nothing is changed then.
        """

    async def difference(self) -> tuple[list[Correction], list[Finding]]:
        """What ``correct`` would do, and what is only reported. Changes nothing; raises alike."""
