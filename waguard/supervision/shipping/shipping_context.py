"""What the shipments of all sessions share."""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct, field

from waguard.core.shipping import LIMIT, RATE, WITHIN, Claim, Note, used_by
from waguard.errors import DatabaseUnavailableError
from waguard.ports.clock import Clock
from waguard.ports.credentials import CredentialStore
from waguard.supervision.shipping.sealer import Sealer


class ShippingContext(Struct, frozen=True, kw_only=True):
    """``host``: this one, as claims name it; ``epoch`` in which it may use a session: of the lease, in a cluster that of the
    session's owner; None: it may not."""

    store: CredentialStore
    sealer: Sealer
    host: str
    epoch: Callable[[str], int | None]
    clock: Clock
    rolled_back: Callable[[str, float], Awaitable[None]]
    """Called before older credentials of a session are used, with the unix time of them."""
    not_rolled_back: Callable[[str], Awaitable[None]]
    """Called after the newest credentials of a session are in their place, before they are used."""
    waits: Callable[[str], bool]
    """Whether a session's groups wait for a person."""
    all_share: bool = False
    """Whether each host that uses a session shares its credentials. Else one in between may have used it and shared
    nothing, not even that it did."""
    rate: int = RATE
    limit: int = LIMIT
    again: float = WITHIN
    """Seconds until the last shipment of a session that has ended is tried again."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """The turn to ship what has more than one piece."""

    def new_note(self, session: str, before: Claim | None) -> Note:
        """The note that this host uses the session's profile from now on, after this claim. Raises
        ``DatabaseUnavailableError``."""
        if (epoch := self.epoch(session)) is None:
            whose = "the session's profile is not this host's to use"
            raise DatabaseUnavailableError(
                whose if self.all_share else "the database's lease is not held"
            )
        return used_by(self.host, epoch, before)
