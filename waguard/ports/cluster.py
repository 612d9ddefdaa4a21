"""Several hosts: their leases in the engine, the owners of sessions in the database."""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from waguard.core.cluster.records import Found, HostRecord, Owner


class HostLeases(Protocol):
    """The leases of all hosts, in etcd or in the database. Each call raises ``EngineUnavailableError`` where the engine
    does not answer within its deadline: whether a write took place is then unknown."""

    async def read(self, host: str) -> Found | None:
        """A host's lease from the engine itself, as of now and of nothing earlier; None: there is none."""

    async def hosts(self) -> Sequence[Found]:
        """All of them, as of now."""

    async def put(self, record: HostRecord, revision: int) -> int | None:
        """Write it where what is there has ``revision``, 0: where there is none. The new revision; None: refused."""

    def changes(self) -> AsyncIterator[Sequence[Found]]:
        """All of them, first as they are, then again after each change. It may be late and may leave out what is between
        two changes; it ends with ``EngineUnavailableError`` when it is cut off."""

    async def close(self) -> None:
        """Let go what is open."""


class Owners(Protocol):
    """The owners of sessions. Each call raises ``DatabaseUnavailableError``."""

    async def owners(self) -> Sequence[Owner]:
        """Of all sessions of waguard's (provider webjs, not deleted); of one without a row: epoch 0, nobody."""

    async def claim(self, seen: Owner, host: str, incarnation: str) -> int | None:
        """Own it where its epoch still is as it was seen. The new epoch; None: somebody was faster."""

    async def release(self, session: str, epoch: int, *, to_host: str | None) -> bool:
        """Own it no more, where the epoch is still this one; whether it was."""

    async def ask_for_move(self, session: str, to_host: str) -> bool:
        """Ask its owner to release it to that host; False: it has no owner's row."""

    async def drop(self, sessions: Collection[str]) -> None:
        """Delete the rows of sessions that are no sessions any more."""
