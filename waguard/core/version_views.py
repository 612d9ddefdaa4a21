"""How WhatsApp's versions stand: rows for ``waguard versions list``, and what concerns all sessions. Pure."""
# ruff: noqa: ARG001

from enum import StrEnum, auto

from msgspec import Struct

from waguard.core.blame import Blame
from waguard.core.version_state import VersionState


class Standing(StrEnum):
    """Of one version; the first that fits."""

    REFUSED = auto()
    PINNED = auto()
    CANARY = auto()
    SUSPECTED = auto()
    HELD = auto()
    GOOD = auto()
    LATEST = auto()
    UNPROVEN = auto()


class VersionRow(Struct, frozen=True, kw_only=True):
    """One version."""

    revision: int
    standing: Standing
    since: float
    """Unix time of its standing, as far as it is known."""
    why: str
    sessions: tuple[str, ...]
    """Whose pages have it."""
    wajs: tuple[str, ...]
    """The bundles of these pages."""
    stored: bool
    latest: bool
    served: bool
    """It is what all get."""


class VersionCondition(Struct, frozen=True, kw_only=True):
    """One thing that concerns all sessions; its remedy is ``remedies``' business."""

    type: str
    """version_held, version_refused, version_pinned_away or bundle_rolled_back."""
    blame: Blame
    reason: str
    message: str
    since: float
    """Unix time."""


def rows(state: VersionState) -> list[VersionRow]:
    """All versions that somebody has, that are stored, held or pinned; the newest first."""
    return []


def conditions(state: VersionState) -> list[VersionCondition]:
    """What concerns all sessions."""
    return []
