"""One suite, three engines: ``bench`` is one of them, empty, with who reads and writes it."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import delete, insert

from tests.cluster import etcd_servers
from tests.cluster.etcd_servers import Member
from tests.cluster.relay import Relay
from tests.store.conftest import mariadb, postgresql, ready_database
from waguard.cluster.database import DatabaseLeases
from waguard.cluster.etcd import EtcdLeases
from waguard.ports.cluster import HostLeases
from waguard.store.models import HOSTS
from waguard.store.sql import SqlStore

__all__ = ["mariadb", "postgresql"]

PATIENT = 40.0  # s for a call that works, on a machine that is busy with other things
NUMBER = 987_654_321
ENGINES = ("etcd", "postgresql", "mariadb")
_NUMBERS = count(1)


class Bench(ABC):
    """An engine without a record."""

    writes = b""
    """What a write of a record with ``NUMBER`` says to the server, and nothing else does."""

    def __init__(self, stack: AsyncExitStack, relay: Relay) -> None:
        self.stack = stack
        self.relay = relay

    @abstractmethod
    async def leases(self, *, relayed: bool = False, deadline: float = PATIENT) -> HostLeases:
        """Another host's. ``relayed``: ``relay`` is between."""

    @abstractmethod
    async def write_raw(self, host: str, content: str) -> None:
        """Where there is none."""

    @abstractmethod
    async def delete_raw(self, host: str) -> None:
        """As a person does."""


class EtcdBench(Bench):
    writes = b"/v3/kv/txn"

    def __init__(self, stack: AsyncExitStack, relay: Relay, member: Member) -> None:
        super().__init__(stack, relay)
        self.member = member
        self.installation = f"i{next(_NUMBERS)}-"

    async def leases(
        self, *, relayed: bool = False, deadline: float = PATIENT, idle: float = PATIENT
    ) -> EtcdLeases:
        endpoint = f"http://127.0.0.1:{self.relay.port}" if relayed else self.member.endpoint
        made = EtcdLeases([endpoint], self.installation, deadline=deadline, idle=idle)
        self.stack.push_async_callback(made.close)
        return made

    async def write_raw(self, host: str, content: str) -> None:
        made = await self.leases()
        body = {"key": made._key(host), "value": content.encode()}
        await made._gateway.call("kv/put", body, dict)

    async def delete_raw(self, host: str) -> None:
        made = await self.leases()
        await made._gateway.call("kv/deleterange", {"key": made._key(host)}, dict)


class DatabaseBench(Bench):
    writes = str(NUMBER).encode()

    def __init__(self, stack: AsyncExitStack, relay: Relay, url: str, relayed: str) -> None:
        super().__init__(stack, relay)
        self.url = url
        self._relayed = relayed

    async def store(self, url: str) -> SqlStore:
        made = SqlStore(url, busy_timeout=PATIENT)
        await made.open()
        self.stack.push_async_callback(made.close)
        return made

    async def leases(self, *, relayed: bool = False, deadline: float = PATIENT) -> DatabaseLeases:
        store = await self.store(self._relayed if relayed else self.url)
        return DatabaseLeases(
            store.writing_the_lease, store.reading_the_lease, deadline=deadline, poll=0.02
        )

    async def write_raw(self, host: str, content: str) -> None:
        store = await self.store(self.url)
        async with store.writing_the_lease() as connection:
            await connection.execute(insert(HOSTS).values(host=host, revision=7, record=content))

    async def delete_raw(self, host: str) -> None:
        store = await self.store(self.url)
        async with store.writing_the_lease() as connection:
            await connection.execute(delete(HOSTS).where(HOSTS.c.host == host))


@pytest.fixture(scope="session")
def member() -> Iterator[Member]:
    """One etcd."""
    with etcd_servers.etcd() as (it,):
        yield it


@pytest.fixture(params=ENGINES)
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, short_path: Path
) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        if request.param == "etcd":
            member = request.getfixturevalue("member")
            relay = await stack.enter_async_context(Relay(("127.0.0.1", member.port)))
            yield EtcdBench(stack, relay, member)
            return
        url = await ready_database(request.param, request, tmp_path)
        options = parse_qs(urlsplit(url).query)
        if request.param == "postgresql":
            (folder,) = options["host"]
            name = ".s.PGSQL.5432"
            relayed = url.replace(folder, str(short_path))
            leads_to = Path(folder) / name
        else:
            (socket,) = options["unix_socket"]
            name = "socket"
            relayed = url.replace(socket, str(short_path / name))
            leads_to = Path(socket)
        relay = await stack.enter_async_context(Relay(leads_to, at=short_path / name))
        yield DatabaseBench(stack, relay, url, relayed)
