"""Hosts of a cluster on one database: each has a store, and believes that it owns some of the sessions."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.store.conftest import PATIENT, Wall
from waguard.core.cluster.records import Owner, Owning
from waguard.core.messages.send_states import State
from waguard.ports.outbox import NewMessage
from waguard.store.sql import SqlStore

SERVERS = ("postgresql", "mariadb")


async def nothing() -> None:
    """Nobody has to be waited for."""


@dataclass
class Host:
    """One of them; ``epochs`` is what it believes."""

    name: str
    store: SqlStore
    epochs: dict[str, int] = field(default_factory=dict)

    def owning(self) -> Owning:
        return Owning(host=self.name, incarnation=f"1 of {self.name}", epochs=self.epochs)

    async def owner(self, session: str) -> Owner:
        """Of a session, as the database has it."""
        [found] = [it for it in await self.store.owners().owners() if it.session == session]
        return found

    async def claim(self, session: str) -> int | None:
        """Own it, whoever does now."""
        seen = await self.owner(session)
        epoch = await self.store.owners().claim(seen, self.name, self.owning().incarnation)
        if epoch is not None:
            self.epochs[session] = epoch
        return epoch

    async def claim_free(self, sessions: Collection[str]) -> None:
        """Own those of them that nobody holds, whoever does now."""
        owners = self.store.owners()
        seen = [it for it in await owners.owners() if it.session in sessions]
        self.epochs |= await owners.claim_free(seen, self.name, self.owning().incarnation)


@asynccontextmanager
async def hosts(
    database: str,
    count: int,
    *,
    sessions: Collection[str] = (),
    busy_timeout: float = PATIENT,
    wall: Callable[[], float] | None = None,
) -> AsyncIterator[list[Host]]:
    """So many, called h0, h1 …; the first one owns the ``sessions``."""
    made: list[Host] = []
    try:
        for number in range(count):
            store = SqlStore(database, busy_timeout=busy_timeout, standby=True, wall=wall or Wall())
            host = Host(f"h{number}", store)
            await store.open()
            made.append(host)
            store.guard(before_migration=nothing, owning=host.owning)
        for session in sessions:
            await created(made[0], session)
        yield made
    finally:
        for host in made:
            await host.store.close()


async def created(host: Host, session: str, epoch: int = 1) -> None:
    """A new session of this host."""
    host.epochs[session] = epoch
    await host.store.create(session, 1, account_id=None, priority=0)


def message(session: str, name: str, **more: Any) -> NewMessage:
    """Something to send."""
    fields: Mapping[str, Any] = {
        "workspace_id": 1,
        "chat": "49170@c.us",
        "kind": "text",
        "body": b'{"text":"hello"}',
        "message_id": f"true_49170@c.us_{name}",
        "state": State.ACCEPTED,
        "fingerprint": name,
    }
    return NewMessage(session_id=session, **{**fields, **more})
