"""What the daemon and a worker say to each other: the messages, each in a frame.

The worker listens, the daemon connects and says ``Hello``. On connect and on every change the
worker sends its whole ``Report``; events are numbered and sent again until they are ``Stored``.
"""

from typing import Final

from msgspec import Struct

from waguard.wire.bounds import Count
from waguard.wire.calls import Call, Failed, Sent, Value
from waguard.wire.events import Event
from waguard.wire.reports import Heartbeat, Report

PROTOCOL: Final = 8


class Hello(Struct, tag="hello", frozen=True, kw_only=True):
    """The first message; a worker of another protocol, session or generation hangs up."""

    protocol: int
    instance: str
    session: str
    generation: int
    lends: bool = False
    """The daemon says until when the worker may live. False: it does not, or is of a version that never does;
    what an earlier daemon said is over."""
    slot: int | None = None
    """The slot in which the daemon reads this worker's heartbeats: what is written there need not be sent. None: it reads
    none, or is of a version that knows no slots."""
    grants: bool = False
    """The daemon says when a worker that waits may start Chromium. False: it is of a version that never does."""


class Lend(Struct, tag="lend", frozen=True, kw_only=True):
    """Until when the worker may live: seconds by CLOCK_BOOTTIME; None: forever. Only for a worker whose ``Report`` says
    that it ``obeys``."""

    until: float | None


class StartBrowser(Struct, tag="start_browser", frozen=True, kw_only=True):
    """Start Chromium: the session has its start slot. Only for a worker whose ``Report`` says that it ``waits``."""


class Request(Struct, tag="request", frozen=True, kw_only=True):
    """Answered by one ``Reply`` with the same ``id``."""

    id: int
    call: Call


class Stored(Struct, tag="stored", frozen=True, kw_only=True):
    """Every event up to ``seq`` is safe with the daemon."""

    seq: int


class Stop(Struct, tag="stop", frozen=True, kw_only=True):
    """Close Chromium and exit 0."""


FromDaemon = Hello | Lend | StartBrowser | Request | Stored | Stop


class Reply(Struct, tag="reply", frozen=True, kw_only=True):
    """The answer to ``Request(id)``."""

    id: Count
    outcome: Sent | Value | Failed


FromWorker = Report | Heartbeat | Event | Reply
