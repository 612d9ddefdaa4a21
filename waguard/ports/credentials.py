"""Credentials in the database, for another host."""

from collections.abc import Collection, Sequence
from typing import Protocol

from waguard.core.shipping import Claim, Part


class CredentialStore(Protocol):
    """Each call raises ``DatabaseUnavailableError``; what is written is fenced by the lease, in a cluster by the session's
    epoch: then writes raise ``NotOwnedError``."""

    async def shipped(self) -> set[str]:
        """Sessions of which something was shipped."""

    async def claim(self, session: str) -> Claim | None:
        """Whose profile of it is the newest; None: nobody has ever said so."""

    async def files(self, session: str) -> set[str]:
        """The ids of all files of which there are parts."""

    async def parts(self, session: str, file: str, count: int) -> Sequence[Part]:
        """The first ``count``, in order."""

    async def put(self, session: str, parts: Sequence[Part]) -> None:
        """Add these; they replace what is there with these numbers and above."""

    async def commit(
        self, session: str, claim: Claim, parts: Sequence[Part] = (), gone: Collection[str] = ()
    ) -> None:
        """Add the last parts, say so in the claim, and delete files of which it says nothing more, all at once."""
