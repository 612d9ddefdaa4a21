"""Queued webhooks, and what becomes of them, as the database keeps both. Pure."""

from msgspec import Struct

from waguard.core.webhooks.delivery import Cause

Key = tuple[str, str]
"""A session, and the name of one of its partitions."""


class Pending(Struct, frozen=True, kw_only=True):
    """A queued webhook, without its body. Times are unix time."""

    id: int
    event: str
    event_id: str
    session_id: str
    partition: str
    attempts: int
    next_at: float
    created_at: float
    tried_since: float | None = None
    """When the attempts began that were not followed by a hold."""
    held_since: float | None = None
    cause: str | None = None
    """A ``Cause``: it is refused for its own sake, as far as an earlier attempt showed."""

    @property
    def key(self) -> Key:
        """The webhook's partition."""
        return self.session_id, self.partition


class DeliveryResult(Struct, frozen=True, kw_only=True):
    """What became of a queued webhook: delivered (all None), to be tried again, or dead."""

    id: int
    event_id: str
    """A database that is put back to an older copy gives the ``id`` to another event's webhook."""
    attempts: int = 0
    next_at: float | None = None
    error: str | None = None
    """With ``next_at``: why it failed; without: why it is a dead letter."""
    tried_since: float | None = None
    """As ``Pending`` has it; for one that is to be tried again."""
    cause: Cause | None = None
    """The cause of a dead letter; of one that is to be tried again as ``Pending`` has it."""


def delivered(item: Pending) -> DeliveryResult:
    """The result of one that needs no more attempt."""
    return DeliveryResult(id=item.id, event_id=item.event_id)


class Hold(Struct, frozen=True):
    """A queued webhook waits for its session since then (unix time), or no longer (None): either
    way its attempts count from 0 again."""

    id: int
    event_id: str
    since: float | None
