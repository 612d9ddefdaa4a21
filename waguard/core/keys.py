"""Who calls: its name, what it may do, and on which sessions."""

from enum import StrEnum
from typing import Final

from msgspec import Struct


class Right(StrEnum):
    """What a key may do; each includes those before it."""

    READ = "read"
    SEND = "send"
    OPERATE = "operate"
    ADMIN = "admin"

    def includes(self, other: "Right") -> bool:
        """Whether a key with this right may do what needs the other."""
        return _RANKS[self] >= _RANKS[other]


_RANKS: Final = {right: rank for rank, right in enumerate(Right)}


class Caller(Struct, frozen=True, kw_only=True):
    """Who makes a request.

    Without a scope of its own (``workspaces`` and ``sessions`` both None) it sees all sessions; with one, those of these
    workspaces and these sessions.
    """

    name: str
    """For the audit log: the name of its key, "the application" (a key of ``api.key_file``), "root by the socket"."""
    right: Right
    workspaces: frozenset[int] | None = None
    sessions: frozenset[str] | None = None
    key: str | None = None
    """The id of its key in ``state/keys.json``; None: it needs none there, and has no limits."""
    expires_at: float | None = None
    """Unix seconds."""

    @property
    def sees_all(self) -> bool:
        """Whether it has no scope."""
        return self.workspaces is None and self.sessions is None

    def sees(self, session_id: str, workspace_id: int | None) -> bool:
        """Whether the session is within its scope."""
        if self.sees_all:
            return True
        return session_id in (self.sessions or ()) or workspace_id in (self.workspaces or ())
