"""The sessions of this host: all that there are, or in a cluster those that it has acquired."""

from collections.abc import Collection

from waguard.errors import UnavailableError

RETRY_AFTER = 5.0  # s; somebody owns it by then, mostly


class OwnSessions:
    """``every``: there is no cluster, and nothing is acquired."""

    def __init__(self, *, every: bool = True) -> None:
        self.every = every
        self._acquired: set[str] = set()
        self._coming: set[str] = set()

    def __contains__(self, session_id: str) -> bool:
        """Whether it is this host's, also while it is being acquired."""
        return self.every or session_id in self._acquired

    def is_coming(self, session_id: str) -> bool:
        """Whether it is being acquired: nothing new goes before what was left."""
        return session_id in self._coming

    def require(self, session_id: str) -> None:
        """Raises ``UnavailableError`` where it is not this host's."""
        if session_id not in self:
            raise UnavailableError(
                "this host does not run its session",
                remedy="send it again: it is then for the host that runs it",
                retry_after=RETRY_AFTER,
            )

    def expect(self, sessions: Collection[str]) -> None:
        """They are this host's, and what was left of them is being read."""
        self._acquired.update(sessions)
        self._coming.update(sessions)

    def arrived(self, sessions: Collection[str]) -> None:
        """What was left of them is in memory."""
        self._coming.difference_update(sessions)

    def drop(self, sessions: Collection[str]) -> None:
        """They are this host's no more."""
        self._acquired.difference_update(sessions)
        self._coming.difference_update(sessions)
