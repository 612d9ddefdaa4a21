"""What it costs to ask whether messages are stored: ``python -m bench.stored [--rows 2000000]``.

Servers of its own, in a temporary folder; the rows are made by the server. Half of the ids are there. The
floor is ``SELECT 1`` on the same kind of connection. Then the plan of the query, and what a column without
an index gets.
"""

import argparse
import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from sqlalchemy import Connection, text

from tests.store import servers, tables
from tests.store.application import SqlApplication
from waguard.core.webhooks.stored import DROP_IN, Message, Presence, StoredKey, Unknown
from waguard.store.account_rows import SqlAccountRows
from waguard.store.database import Database
from waguard.store.layout import Layout
from waguard.store.sql import BUSY_TIMEOUT
from waguard.store.stored import SqlStored, checked

CHATS = 5_000
BATCHES = (1, 10, 100)
_BODY = "what most messages have, with what the application adds to it: " + "x" * 230
_COLUMNS = (
    "workspace_id, whatsapp_account_id, wam_id, whatsapp_message_id, contact_id, type, metadata"
)
_VALUES = f"1, 1, {{id}}, {{id}}, n % {CHATS}, CASE WHEN n % 4 = 0 THEN 'outbound' ELSE 'inbound' END, '{_BODY}'"
_ID = f"CONCAT('false_62811', n % {CHATS}, '@c.us_3EB0', UPPER(SUBSTR(MD5(CAST(n AS CHAR(9))), 1, 18)))"
_ROWS = {
    "mariadb": "(SELECT seq AS n FROM seq_1_to_{rows}) AS numbers",
    "postgresql": "generate_series(1, {rows}) AS n",
}
_ALSO = "CREATE INDEX chats_workspace_account ON chats (workspace_id, whatsapp_account_id)"
SERVERS = {"mariadb": servers.mariadb, "postgresql": servers.postgresql}
ACCOUNTS = {"mariadb": (tables.MYSQL_ENUMS,), "postgresql": tables.POSTGRESQL_ENUMS}


async def fill(backend: str, app: SqlApplication, rows: int) -> None:
    """The field's tables, with so many messages in them; indexes last, which is quicker."""
    table, index = tables.CHATS[backend]
    values = _VALUES.format(id=_ID)
    source = _ROWS[backend].format(rows=rows)
    await app.run(*ACCOUNTS[backend], table)
    await app.insert("s0", 1, status="connected")
    await app.run(f"INSERT INTO chats ({_COLUMNS}) SELECT {values} FROM {source}")
    await app.run(index, _ALSO)
    analyze = "ANALYZE TABLE chats" if backend == "mariadb" else "ANALYZE chats"
    await app.run_alone(analyze)


async def measured(ask: Callable[[], Awaitable[object]], rounds: int) -> str:
    """Milliseconds."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return f"{statistics.median(took):8.2f} {took[int(len(took) * 0.95)]:8.2f}"


class Ids:
    """Some that are there, and as many that are not."""

    def __init__(self, there: list[str]) -> None:
        self._chance = random.Random(1)
        self._there = there
        self._count = itertools.count()

    def some(self, count: int) -> list[Message]:
        """All different from those before, mostly."""
        found = [self._chance.choice(self._there) for _ in range((count + 1) // 2)]
        missing = [f"false_62811@c.us_{next(self._count)}" for _ in range(count // 2)]
        return [("s0", it) for it in (*found, *missing)]


async def there(app: SqlApplication, rows: int) -> list[str]:
    """Ids of received messages, from all of the table."""
    numbers = ", ".join(str(random.Random(n).randrange(rows) + 1) for n in range(2_000))
    query = (
        f"SELECT whatsapp_message_id AS it FROM chats WHERE type = 'inbound' AND id IN ({numbers})"
    )
    return [row["it"] for row in await app.rows(query)]


async def asked(stored: SqlStored, messages: list[Message]) -> None:
    found = await stored.received(DROP_IN, messages)
    assert not isinstance(found, Unknown), found.reason
    assert sum(it is Presence.STORED for it in found.values()) >= 1


async def bare(database: Database) -> None:
    async with database.reading_limited(asyncio.Lock()) as (connection, _):
        await connection.execute(text("SELECT 1"))


def plan(connection: Connection, layout: Layout, ids: list[str]) -> Iterator[str]:
    target = checked(connection, DROP_IN, layout)
    assert not isinstance(target, Unknown)
    query = target.query.params(ids=ids).compile(connection, compile_kwargs={"literal_binds": True})
    backend = connection.dialect.name
    analyze = "EXPLAIN (ANALYZE, COSTS OFF)" if backend == "postgresql" else "EXPLAIN"
    for row in connection.exec_driver_sql(f"{analyze} {query}"):
        yield " | ".join(str(it)[:60] for it in row)


async def run(backend: str, url: str, app: SqlApplication, rows: int, rounds: int) -> None:
    database = Database(url, busy_timeout=BUSY_TIMEOUT, wall=time.time)
    await database.open()
    stored, accounts = SqlStored(database), SqlAccountRows(database)
    ids = Ids(await there(app, rows))
    print(f"\n{backend}, {rows:,} rows: a look-up, median and p95 in ms; per message")
    await bare(database)
    print(f"  SELECT 1        {await measured(partial(bare, database), rounds)}")
    for size in BATCHES:
        took = await measured(lambda: asked(stored, ids.some(size)), rounds)  # noqa: B023 - awaited here
        each = float(took.split()[0]) / size
        print(f"  {size:>3} messages    {took}  {each:8.3f}")
    names = ["s0", *(f"s{n}" for n in range(1, 100))]
    took = await measured(lambda: accounts.rows_of(names), rounds)
    print(f"  rows of 100     {took}")
    async with database.reading_limited(asyncio.Lock()) as (connection, layout):
        some = [it for _, it in ids.some(10)]
        for line in await connection.run_sync(lambda it: list(plan(it, layout, some))):
            print(f"  {line}")
    began = time.perf_counter()
    why = await stored.check(StoredKey("chats", "wam_id"))
    print(f"  without an index: {why and why.reason} ({time.perf_counter() - began:.2f} s)")
    await database.close()


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.0f} s")


async def main(backend: str, server: servers.Server, rows: int, rounds: int) -> None:
    await SqlApplication(server.url(server.maintenance)).run_alone("CREATE DATABASE bench")
    url = server.url("bench")
    app = SqlApplication(url)
    with timed(f"{backend}: {rows:,} rows made"):
        await fill(backend, app, rows)
    await run(backend, url, app, rows, rounds)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=2_000_000)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--server", choices=SERVERS, action="append")
    given = options.parse_args()
    for name in given.server or SERVERS:
        with SERVERS[name]() as started:
            asyncio.run(main(name, started, given.rows, given.rounds))
