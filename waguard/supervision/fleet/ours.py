"""Which sessions are this host's to run: all of them, but in a cluster."""

from typing import TYPE_CHECKING

from waguard.errors import NotOwnedError

if TYPE_CHECKING:
    from waguard.ports.cluster import Ownership


class Ours:
    """``ownership`` None: there is no other host."""

    def __init__(self, ownership: "Ownership | None") -> None:
        self._ownership = ownership
        self._ended: dict[str, int] = {}
        """By session: the epoch in which it was ended here for good, though the database may not know that yet."""

    @property
    def in_cluster(self) -> bool:
        """Whether there may be sessions of other hosts."""
        return self._ownership is not None

    def has(self, session: str) -> bool:
        """Whether it is."""
        if self._ownership is None:
            return True
        epoch = self._ownership.epoch(session)
        return epoch is not None and epoch != self._ended.get(session)

    def require(self, session: str) -> None:
        """Raises ``NotOwnedError``."""
        if not self.has(session):
            raise self.refusal(session)

    def refusal(self, session: str) -> NotOwnedError:
        """The error for whoever asks for a session that does not run here."""
        address = self.address(session)
        if address is not None:
            return NotOwnedError(f"another host has the session: {address}", address=address)
        return NotOwnedError("the session's next host is being found")

    def address(self, session: str) -> str | None:
        """See ``Ownership.address``."""
        return self._ownership.address(session) if self._ownership else None

    async def create(self, session: str) -> None:
        """See ``Ownership.create``. Raises ``NotOwnedError`` for one that is on its way to another host."""
        if self._ownership:
            is_new = self._ownership.epoch(session) is None
            await self._ownership.create(session)
            if is_new:  # epochs of one that was deleted on another host meanwhile begin at 1 again
                self.begin(session)
            self.require(session)

    def begin(self, session: str) -> None:
        """From now on it runs here, also in an epoch in which it was ended."""
        self._ended.pop(session, None)

    def end(self, session: str) -> None:
        """From now on nothing of it runs here until ``begin``, or until it is claimed again."""
        if self._ownership and (epoch := self._ownership.epoch(session)) is not None:
            self._ended[session] = epoch
