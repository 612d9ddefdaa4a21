"""What the API asks of sessions' own proxies, and what the database says of them."""

from collections.abc import Mapping
from typing import Protocol

from waguard.core.proxy import Proxy, Recorded


class Proxies(Protocol):
    """Each raises ``NotFoundError`` for an unknown session, ``UnavailableError`` where the file cannot be used."""

    async def find(self, session_id: str) -> Proxy | None:
        """The session's own proxy; None: it goes the host's own way."""

    async def put(self, session_id: str, proxy: Proxy | None) -> None:
        """Set it, or have none (None); a session that runs gets another worker as soon as there is a slot."""


class ProxyStore(Protocol):
    """Each call raises ``DatabaseUnavailableError``; what is written is fenced by the lease."""

    async def recorded(self) -> Mapping[str, Recorded]:
        """What is known, by session; of all others nobody has ever said whether they have a proxy."""

    async def record(self, session: str, it: Recorded) -> None:
        """Have the database say so from now on."""
