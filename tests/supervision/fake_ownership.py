"""``ports.cluster.Ownership`` as a test says, and what a keeper does with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from waguard.errors import UnavailableError


@dataclass
class FakeOwnership:
    """``epochs``: of this host's sessions; ``addresses``: of those that other hosts have."""

    epochs: dict[str, int] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    claims: int = 0
    refuses: bool = False
    """This host may own nothing now."""

    def epoch(self, session: str) -> int | None:
        return self.epochs.get(session)

    def owned(self) -> Mapping[str, int]:
        return self.epochs

    def address(self, session: str) -> str | None:
        return self.addresses.get(session)

    async def create(self, session: str) -> None:
        if session in self.epochs:
            return
        if self.refuses or session in self.addresses:
            raise UnavailableError("another host owns the session", retry_after=5)
        self.claim(session)

    def claim(self, session: str) -> None:
        """It is this host's from now on, in a new epoch."""
        self.claims += 1
        self.epochs[session] = self.claims
        self.addresses.pop(session, None)

    def leave(self, session: str, address: str | None = None) -> None:
        """It is this host's no more."""
        del self.epochs[session]
        if address:
            self.addresses[session] = address
