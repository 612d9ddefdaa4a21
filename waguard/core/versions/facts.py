"""What the decision about WhatsApp's versions hears of. Past tense: it happened; ``Pin``, ``Unpin``, ``Try``
and ``UseBundle``: an operator asked for it.

A fact that comes twice, late or out of turn does no harm. Revisions are WhatsApp's own numbers, of the
document; a later build has a higher one.
"""

from enum import StrEnum, auto
from typing import Final, Literal

from msgspec import Struct

from waguard.core.versions.version_rules import VersionRules


class Arm(Struct, frozen=True):
    """What a page is loaded with."""

    revision: int | None
    """None: whatever the network serves."""
    wajs: str
    """SHA-256 of the wa-js bundle, in hex."""


class Evidence(StrEnum):
    """What is wrong with a loaded page, and may be its version's doing."""

    EXPORTS_MISSING = auto()
    """wa-js lacks functions that waguard calls and the last good version had."""
    SEND_THROWS = auto()
    """The page's own code throws at sends."""
    NEVER_READY = auto()
    """WhatsApp's loader is there, and the page never became ready."""
    UNACKED = auto()
    """Connected, and nothing sent is acknowledged."""
    DEAF = auto()
    """The chats have messages for which no event came."""
    TOO_OLD = auto()
    """The update page, or ``DEPRECATED_VERSION``."""


SHOWN_BY_ACKS: Final = frozenset({Evidence.SEND_THROWS, Evidence.UNACKED})
"""Only an ack shows that it is over: a page that sends nothing looks healthy. ``DEAF`` needs ``Heard``."""
REPEATABLE: Final = frozenset({Evidence.EXPORTS_MISSING, Evidence.TOO_OLD})
"""Evidence that is alike at each load: no load of the same version cures it."""


class Captured(Struct, frozen=True):
    """A whole document of it is stored here."""

    revision: int


class Discarded(Struct, frozen=True):
    """The version's document is not stored here any more."""

    revision: int


class Loaded(Struct, frozen=True):
    """A page became loaded; whatever was known of the page before is over."""

    session: str
    revision: int
    """As the page itself says."""
    wajs: str
    served_by: Literal["network", "store"]
    missing: tuple[str, ...] = ()
    """Functions that waguard calls, the last good version had, and this one lacks."""
    adopted: bool = False
    """An earlier daemon started the worker."""


class Unhealthy(Struct, frozen=True):
    """The loaded page does not do its work. Not for what never blames a version: ``Unreachable``."""

    session: str
    evidence: Evidence


class Unreachable(Struct, frozen=True):
    """CDN away, HTTP 500, refused socket, no answer, blocked: says nothing of a version."""

    session: str


class Well(Struct, frozen=True):
    """Connected, and nothing that was wrong is wrong any more, as far as the page shows.

    After ``SEND_THROWS`` and ``UNACKED`` an ack is awaited all the same, after ``DEAF`` an event (``Heard``).
    """

    session: str


class Acked(Struct, frozen=True):
    """WhatsApp acknowledged something that this page sent after it was loaded."""

    session: str


class Heard(Struct, frozen=True):
    """An event came for a message that this page's chats got after it was loaded."""

    session: str


class Left(Struct, frozen=True):
    """Stopped, parked, removed, or without a page."""

    session: str


class Refused(Struct, frozen=True):
    """WhatsApp refused it as too old."""

    revision: int


class Spent(Struct, frozen=True):
    """The version's scripts are not on the CDN any more."""

    revision: int


class Pin(Struct, frozen=True):
    """Serve this stored one to all. Ignored where it cannot be served (``versions.unservable``)."""

    revision: int


class Unpin(Struct, frozen=True):
    """End the pin."""


class Try(Struct, frozen=True, kw_only=True):
    """Load one session with it, now or after the trial that runs."""

    revision: int | None = None
    """None: whatever the network serves."""
    wajs: str | None = None
    """None: the bundle in use."""
    session: str | None = None
    """None: any."""


class BundleAdded(Struct, frozen=True):
    """This wa-js bundle can be injected."""

    wajs: str


class BundleRemoved(Struct, frozen=True):
    """The bundle cannot be injected any more."""

    wajs: str


class UseBundle(Struct, frozen=True):
    """Let all sessions have it, after two canaries (mode off: at once)."""

    wajs: str


class RulesChanged(Struct, frozen=True):
    """The configuration was read again."""

    rules: VersionRules


class TimerDue(Struct, frozen=True):
    """``next_deadline`` has passed."""


VersionFact = (
    Captured
    | Discarded
    | Loaded
    | Unhealthy
    | Unreachable
    | Well
    | Acked
    | Heard
    | Left
    | Refused
    | Spent
    | Pin
    | Unpin
    | Try
    | BundleAdded
    | BundleRemoved
    | UseBundle
    | RulesChanged
    | TimerDue
)
