"""The sessions of this host: all that there are, or in a cluster those that it has acquired."""

from collections.abc import Collection

from waguard.errors import NotOwnedError


class OwnSessions:
    """``every``: there is no cluster, and nothing is acquired."""

    def __init__(self, *, every: bool = True) -> None:
        self.every = every
        self._acquired: set[str] = set()
        self._coming: set[str] = set()
        self._leaving: set[str] = set()

    def __contains__(self, session_id: str) -> bool:
        """Whether it is this host's, also while it is being acquired."""
        return self.every or session_id in self._acquired

    def acquired(self) -> Collection[str] | None:
        """Those that were acquired; None: there is no cluster."""
        return None if self.every else frozenset(self._acquired)

    def is_coming(self, session_id: str) -> bool:
        """Whether it is being acquired: nothing new goes before what was left."""
        return session_id in self._coming

    def require(self, session_id: str) -> None:
        """Raises ``NotOwnedError`` where it is not this host's."""
        if session_id not in self:
            raise NotOwnedError("another host runs its session, or none for the moment")

    def expect(self, sessions: Collection[str]) -> None:
        """They are this host's, and what was left of them is being read."""
        self._acquired.update(sessions)
        self._coming.update(sessions)

    def arrived(self, sessions: Collection[str]) -> None:
        """What was left of them is in memory."""
        self._coming.difference_update(sessions)

    def is_leaving(self, session_id: str) -> bool:
        """Whether it is being released: this host still writes about it, and begins nothing."""
        return session_id in self._leaving

    def leave(self, session_id: str) -> None:
        """Begin nothing more of it."""
        self.drop((session_id,))
        self._leaving.add(session_id)

    def drop(self, sessions: Collection[str]) -> None:
        """They are this host's no more."""
        for some in (self._acquired, self._coming, self._leaving):
            some.difference_update(sessions)
