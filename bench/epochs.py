"""What the epochs of a cluster cost a write: ``python -m bench.epochs [--rounds 40] [--milliseconds 1]``.

Servers of its own, behind a proxy that makes each round trip so much longer. The same writes with and without a cluster
take turns, so that a busy machine is the same for both. Then what it costs to read a queue for the sessions that are
owned: by their ids, or by the owners' rows.
"""

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Select, insert, select, text

from tests.store import servers
from tests.store.application import SqlApplication
from tests.store.hosts import Host, message, nothing
from tests.store.test_messages import entry
from waguard.core.row_status import DerivedStatus, Status
from waguard.ports.webhooks import GLOBAL
from waguard.store.database import Database
from waguard.store.deliveries import _NEXT
from waguard.store.models import DELIVERIES, OWNERS
from waguard.store.sql import BUSY_TIMEOUT, SqlStore

SESSIONS = 300
ROWS = 500
STATUSES = 50
QUEUED = 20_000
SERVERS = {"postgresql": servers.postgresql, "mariadb": servers.mariadb}
_COUNT = itertools.count()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float
) -> None:
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(1 << 16):
            await asyncio.sleep(delay)
            writer.write(some)
    writer.close()


async def _proxy(there: str, here: str, delay: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(there)
        await asyncio.gather(_pass_on(reader, ours, delay), _pass_on(theirs, writer, delay))

    server = await asyncio.start_unix_server(serve, here)
    await server.serve_forever()


def _run_proxy(there: str, here: str, delay: float) -> None:
    asyncio.run(_proxy(there, here, delay))


@contextlib.contextmanager
def slower(server: servers.Server, database: str, seconds: float) -> Iterator[str]:
    """The URL of a server whose round trips take so much longer."""
    with tempfile.TemporaryDirectory(prefix="wgx") as folder:
        where = server.options.split("=", 1)[1].split("&")[0]
        is_postgresql = server.base.startswith("postgresql")
        name = "/.s.PGSQL.5432" if is_postgresql else ""
        here = f"{folder}{name or '/socket'}"
        process = multiprocessing.get_context("fork").Process(
            target=_run_proxy, args=(where + name, here, seconds / 2), daemon=True
        )
        process.start()
        try:
            while not Path(here).exists():
                time.sleep(0.01)
            yield server.url(database).replace(where, folder if is_postgresql else here)
        finally:
            process.terminate()
            process.join()


async def in_turns(
    writes: Mapping[str, Callable[[], Awaitable[object]]], rounds: int
) -> dict[str, str]:
    """Milliseconds: the median and the tenth percentile."""
    took: dict[str, list[float]] = {name: [] for name in writes}
    for _ in range(rounds):
        for name, write in writes.items():
            began = time.perf_counter()
            await write()
            took[name].append((time.perf_counter() - began) * 1000)
    return {
        name: f"p50 {statistics.median(some):7.2f}  p10 {sorted(some)[len(some) // 10]:7.2f}"
        for name, some in took.items()
    }


async def measure(url: str, rounds: int) -> None:
    """On one server."""
    names = [f"s{number:03}" for number in range(SESSIONS)]
    alone, shared = SqlStore(url, standby=True), SqlStore(url, standby=True)
    host = Host("h0", shared, dict.fromkeys(names, 1))
    for store in (alone, shared):
        await store.open()
    shared.guard(before_migration=nothing, owning=host.owning)
    for name in names:
        await shared.create(name, 1, account_id=None, priority=0)

    def group(store: SqlStore) -> Callable[[], Awaitable[object]]:
        def write() -> Awaitable[object]:
            keys = (f"k{next(_COUNT)}" for _ in range(ROWS))
            some = [entry(key, session=names[at % SESSIONS]) for at, key in enumerate(keys)]
            return store.messages.write(some)

        return write

    def send(store: SqlStore) -> Callable[[], Awaitable[object]]:
        return lambda: store.messages.write([], outgoing=[message("s001", f"m{next(_COUNT)}")])

    def statuses(store: SqlStore) -> Callable[[], Awaitable[object]]:
        written = DerivedStatus(Status.CONNECTED)
        return lambda: asyncio.gather(
            *(store.write_status(name, 9, written) for name in names[:STATUSES])
        )

    for what, of in (
        (f"{ROWS} rows of {SESSIONS} sessions", group),
        ("one message to send", send),
        (f"{STATUSES} statuses", statuses),
    ):
        found = await in_turns({"alone": of(alone), "cluster": of(shared)}, rounds)
        for name, said in found.items():
            print(f"  {what:28} {name:8} {said} ms", flush=True)
    for store in (alone, shared):
        await store.close()


async def _read(database: Database, query: Select[Any]) -> None:
    async with database.reading() as (connection, _):
        (await connection.execute(query)).all()


async def measure_reads(url: str, rounds: int) -> None:
    """A third of what waits is this host's."""
    for count in (333, 1_000):
        names = [f"s{number:04}" for number in range(3 * count)]
        database = Database(url, busy_timeout=BUSY_TIMEOUT, wall=time.time)
        await database.open()
        async with database.writing() as work:
            await work.connection.execute(text("DELETE FROM waguard_owners"))
            await work.connection.execute(text("DELETE FROM waguard_deliveries"))
            await work.connection.execute(
                insert(OWNERS),
                [
                    {"session_id": it, "host": f"h{at % 3}", "incarnation": "i", "epoch": 1}
                    for at, it in enumerate(names)
                ],
            )
            same: dict[str, Any] = {
                "endpoint": GLOBAL,
                "event": "message_received",
                "lane": "c",
                "body": b"{}",
            }
            same |= {"state": "pending", "attempts": 0, "next_at": 0.0, "created_at": 0.0}
            for start in range(0, QUEUED, 2_000):
                rows = [
                    {**same, "event_id": str(at), "session_id": names[at % len(names)]}
                    for at in range(start, start + 2_000)
                ]
                await work.connection.execute(insert(DELIVERIES), rows)
        analyze = "ANALYZE {}" if database.backend == "postgresql" else "ANALYZE TABLE {}"
        for table in ("waguard_owners", "waguard_deliveries"):
            await SqlApplication(url).run_alone(analyze.format(table))
        own = DELIVERIES.c
        query = _NEXT.where(own.endpoint == GLOBAL, own.id > 0).limit(500)
        mine = select(OWNERS.c.session_id).where(OWNERS.c.host == "h0", OWNERS.c.incarnation == "i")
        queries = {
            "all": query,
            "by ids": query.where(own.session_id.in_(names[::3])),
            "by owners": query.where(own.session_id.in_(mine)),
        }

        reads = {name: partial(_read, database, it) for name, it in queries.items()}
        found = await in_turns(reads, rounds)
        for name, said in found.items():
            print(f"  500 webhooks of {count} sessions {name:10} {said} ms", flush=True)
        await database.close()


def main() -> None:
    """Print the figures of each server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--milliseconds", type=float, default=1.0, help="a round trip more")
    given = parser.parse_args()
    for kind, start in SERVERS.items():
        with start() as server:
            for extra in (0.0, given.milliseconds / 1000):
                print(f"{kind}, round trips {extra * 1000:g} ms longer", flush=True)
                name = f"bench{round(extra * 1e6)}"
                maintenance = SqlApplication(server.url(server.maintenance))
                asyncio.run(maintenance.run_alone(f"CREATE DATABASE {name}"))
                with slower(server, name, extra) as slow:
                    asyncio.run(measure(slow if extra else server.url(name), given.rounds))
            asyncio.run(measure_reads(server.url(name), given.rounds))


if __name__ == "__main__":
    main()
