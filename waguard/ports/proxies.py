"""What the API asks of sessions' own proxies."""

from typing import Protocol

from waguard.core.proxy import Proxy


class Proxies(Protocol):
    """Each raises ``NotFoundError`` for an unknown session, ``UnavailableError`` where the file cannot be used."""

    async def find(self, session_id: str) -> Proxy | None:
        """The session's own proxy; None: it goes the host's own way."""

    async def put(self, session_id: str, proxy: Proxy | None) -> None:
        """Set it, or have none (None); a session that runs gets another worker as soon as there is a slot."""
