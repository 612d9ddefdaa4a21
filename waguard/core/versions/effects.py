"""What the shell performs for the decision about WhatsApp's versions."""

from enum import StrEnum, auto

from msgspec import Struct

from waguard.core.versions.facts import Arm, Evidence


class Kind(StrEnum):
    """What is announced."""

    SUSPECTED = auto()
    """A session is unhealthy; it is loaded with an older version to see whether it is healthy there."""
    ACQUITTED = auto()
    """A session is unhealthy with the older version, too."""
    ROLLED_BACK = auto()
    """All sessions get an older version."""
    RELEASED = auto()
    """All sessions get what the network serves again."""
    HELD = auto()
    """Versions from this one on have been held back for 14 days."""
    REFUSED = auto()
    """WhatsApp refuses it as too old."""
    SPENT = auto()
    """The version's scripts left the CDN."""
    BUNDLE_ROLLED_BACK = auto()
    BUNDLE_RELEASED = auto()


class Reload(Struct, frozen=True):
    """Load its page again; ``intended`` names the same arm."""

    session: str
    arm: Arm
    why: str


class Announce(Struct, frozen=True, kw_only=True):
    """An event, an incident, a line of the log."""

    kind: Kind
    revision: int | None = None
    """Which one it is about; from it on, where versions are held back."""
    instead: int | None = None
    """What sessions get; None: what the network serves."""
    wajs: str | None = None
    """Which bundle it is about."""
    evidence: Evidence | None = None
    sessions: tuple[str, ...] = ()
    """Where it was seen."""
    person: bool = False
    """Only a person can help."""


class TrialResult(StrEnum):
    """How a trial ended."""

    CONFIRMED = auto()
    """Unhealthy with the one, well with the other."""
    ACQUITTED = auto()
    """Unhealthy with both."""
    PASSED = auto()
    """The canary was healthy."""
    FAILED = auto()
    """The canary was unhealthy."""
    VOID = auto()
    """Nothing is proven."""


class Concluded(Struct, frozen=True):
    """A trial ended; for the log."""

    session: str
    arm: Arm
    """What it was loaded with."""
    result: TrialResult
    why: str


class Discard(Struct, frozen=True):
    """This stored document is not needed any more."""

    revision: int


VersionEffect = Reload | Announce | Concluded | Discard
