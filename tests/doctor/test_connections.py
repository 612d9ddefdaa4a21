"""The doctor and real database servers: what is between them and waguard, and what of it several hosts cannot have."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.doctor.host import require_runnable
from tests.store import servers
from tests.store.application import SqlApplication
from tests.store.poolers import InTurn, pgbouncer, replica
from tests.store.servers import Server
from waguard.core.replace import replace
from waguard.doctor.checks import connections as checks
from waguard.doctor.checks.connections import Connections
from waguard.doctor.probes import connections as probes
from waguard.doctor.report import Check, Result

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    with servers.postgresql() as made:
        yield made


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Server]:
    with servers.mariadb() as made:
        yield made


async def asked(url: str) -> Connections:
    return await probes.connections(url, within=60.0)  # a machine that is busy


def wrong(seen: Connections, engine: str = "etcd") -> list[Check]:
    made = [it for it in checks.connections(seen, engine) if it.result is not Result.OK]
    for check in made:
        require_runnable(check.command)
        assert check.remedy
    return made


def one(found: Sequence[Check], result: Result, seen: str) -> None:
    fitting = [it for it in found if seen in it.seen]
    assert [it.result for it in fitting] == [result], found


async def test_servers_that_may_forget(postgresql: Server, mariadb: Server) -> None:
    """The tests' own do not write each commit to the disk."""
    seen = await asked(postgresql.url("postgres"))
    assert (seen.idle_limit, seen.backend, len(seen.servers)) == (4.0, "postgresql", 1)
    one(wrong(seen), Result.WARNING, "fsync = off: when the server crashes")
    assert len(wrong(seen)) == 1, wrong(seen)
    seen = await asked(mariadb.url("mysql"))
    assert (seen.idle_limit, seen.backend, len(seen.servers)) == (4.0, "mariadb", 1)
    one(wrong(seen), Result.WARNING, "innodb_flush_log_at_trx_commit = 0")
    assert len(wrong(seen)) == 1, wrong(seen)
    [good] = checks.connections(replace(seen, forgets=None), "etcd")
    assert (good.result, "idle transactions at 4 s" in good.seen) == (Result.OK, True)


@pytest.mark.parametrize("mode", ["transaction", "statement", "session"])
async def test_a_pgbouncer(postgresql: Server, mode: str) -> None:
    with pgbouncer(postgresql, mode) as url:
        refused = await asked(url)
        limit = "idle_in_transaction_session_timeout"
        one(wrong(refused), Result.FAILED, f"unsupported startup parameter: {limit}")
    with pgbouncer(postgresql, mode, drops=limit) as url:
        seen = await asked(url)
        found = wrong(replace(seen, forgets=None))
    if mode != "statement":  # which takes no transaction at all
        one(found, Result.FAILED, "nothing happens is not ended, and 4 s are set")
    shared = [it for it in found if "one session of the server to several" in it.seen]
    assert len(shared) == (mode == "transaction"), found
    if mode == "statement":
        one(found, Result.FAILED, "transaction blocks not allowed in statement pooling")


async def test_a_replica_and_a_proxy_that_leads_to_both(
    postgresql: Server, short_path: Path
) -> None:
    with replica(postgresql) as copy:
        seen = await asked(postgresql.url("postgres"))
        seen = replace(seen, forgets=None)
        assert wrong(seen, "etcd") == []
        late = "replicas that a commit does not wait for: 1"
        one(wrong(seen, "database"), Result.WARNING, late)
        alone = await asked(copy.url("postgres"))
        one(wrong(alone), Result.FAILED, "takes no writes: it is a replica")
        sockets = [Path(parse_qs(it.options)["host"][0]) for it in (postgresql, copy)]
        name = ".s.PGSQL.5432"
        async with InTurn([it / name for it in sockets], at=short_path / name):
            both = await asked(f"{copy.base}/postgres?host={short_path}")
        one(wrong(both), Result.FAILED, "connections end at different servers")


async def test_a_proxy_that_takes_two_mariadb_in_turn(mariadb: Server, short_path: Path) -> None:
    with servers.mariadb() as other:
        sockets = [Path(parse_qs(it.options)["unix_socket"][0]) for it in (mariadb, other)]
        async with InTurn(sockets, at=short_path / "socket"):
            seen = await asked(f"{other.base}/mysql?unix_socket={short_path}/socket")
        one(wrong(seen), Result.FAILED, "connections end at different servers")


async def test_a_mariadb_that_takes_no_writes(mariadb: Server) -> None:
    app = SqlApplication(mariadb.url("mysql"))
    await app.run_alone("SET GLOBAL read_only = 1")
    seen = await asked(mariadb.url("mysql"))
    await app.run_alone("SET GLOBAL read_only = 0")
    one(wrong(seen), Result.FAILED, "takes no writes")


def test_what_cannot_be_had_here() -> None:
    """MySQL, and a Galera of several nodes: their answers alone."""
    seen = Connections(backend="mysql", idle_limit=4, wanted=4, servers=("a",))
    one(wrong(seen), Result.WARNING, "with which several hosts were never tried")
    seen = replace(seen, backend="mariadb", galera=3)
    one(wrong(seen), Result.WARNING, "Galera with 3 nodes")
