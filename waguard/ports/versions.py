"""WhatsApp's versions, and the wa-js bundles, as operators see and change them."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from waguard.core.versions.version_rules import Mode
from waguard.core.versions.views import VersionRow


class BundleRow(Struct, frozen=True, kw_only=True):
    """One bundle of wa-js."""

    sha256: str
    version: str | None
    """wa-js's own word for it; None: no page has said it yet."""
    packed: bool
    """The bundle is the one that waguard ships."""
    in_use: bool
    """All sessions get it."""
    candidate: bool
    """Canaries get it; where they are healthy, all do."""
    rolled_back: float | None
    """Unix time at which it was rolled back; None: it was not."""
    sessions: tuple[str, ...]
    """Whose pages have it."""


class Listing(Struct, frozen=True, kw_only=True):
    """How the versions stand."""

    mode: Mode
    newest: int | None
    pin: int | None
    held_from: int | None
    """Versions from this one on are held back."""
    trial: str | None
    """The session that tries another version now."""
    rows: Sequence[VersionRow]
    configured: str | None
    """The wa-js file of the configuration, which wins."""
    bundles: Sequence[BundleRow]


class VersionControl(Protocol):
    """What operators ask for. ``by`` says who, for the trail.

    The calls that change something raise ``UnknownVersionError`` with those that are known, and
    ``ConflictError`` where it cannot be done now.
    """

    def listing(self) -> Listing:
        """How the versions stand now."""

    async def pin(self, revision: int, *, by: str) -> None:
        """Serve this stored one to all."""

    async def unpin(self, *, by: str) -> None:
        """End that."""

    def try_version(self, revision: int | None, *, session: str | None, by: str) -> None:
        """Load a session with it; None: with what WhatsApp serves; session None: any."""

    async def try_bundle(self, sha256: str, *, session: str | None, by: str) -> None:
        """Load a session with this wa-js."""

    async def use_bundle(self, sha256: str, *, by: str) -> None:
        """Let all sessions have it, after canaries."""

    async def refresh_bundles(self) -> None:
        """Look which bundles are there."""
