"""Several connections to the database at once, made as the daemon makes its own; nothing is written."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.doctor.checks.connections import Connections
from waguard.errors import ConfigError
from waguard.store.engine import IDLE_LIMIT, connect, parse

WITHIN: Final = 10.0  # s for all of it
COUNT: Final = 4  # connections at once, so that two of a proxy's servers are met
_MS: Final = 1000.0
_SESSION: Final = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}
_SERVER: Final = {
    "postgresql": "SELECT COALESCE(host(inet_server_addr()) || ':' || inet_server_port(), 'a socket')"
    " || ', up since '"
    " || date_trunc('milliseconds', pg_postmaster_start_time()), pg_is_in_recovery()",
    "mysql": "SELECT CONCAT(@@hostname, ':', @@port, ', ', @@datadir), @@read_only",
}
_WRITES: Final = (
    " FOR UPDATE"  # a proxy that splits sends such a read to the server that takes writes
)
_PREPARED: Final = "prepared statement"  # another connection has made one, or dropped it
_IDLE: Final = "SELECT setting FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
_UNSAFE: Final = {
    "postgresql": "SELECT name || ' = ' || setting FROM pg_settings"
    " WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off' ORDER BY name",
    "mysql": "SELECT CONCAT('innodb_flush_log_at_trx_commit = ', @@innodb_flush_log_at_trx_commit)"
    " WHERE @@innodb_flush_log_at_trx_commit <> 1",
}


async def connections(url: str, *, within: float = WITHIN) -> Connections:
    """Ask over all of them. ``within``: seconds for it."""
    try:
        parsed = parse(url)
        engines = connect(parsed, busy_timeout=within / 2, standby=True)
    except ConfigError as error:
        return Connections(error=error.message)
    kind = "postgresql" if parsed.get_backend_name() == "postgresql" else "mysql"
    try:
        async with asyncio.timeout(within), AsyncExitStack() as stack:
            # those of rows, each statement its own transaction, and those of transactions
            alone = [await stack.enter_async_context(engines.limited.connect()) for _ in range(2)]
            whole = [
                await stack.enter_async_context(engines.reader.connect()) for _ in range(COUNT)
            ]
            return await _seen(alone, whole, kind)
    except TimeoutError:
        return Connections(error=f"no answer within {within:g} s")
    except (OSError, SQLAlchemyError) as error:
        why = str(getattr(error, "orig", None) or error)
        first = (why.splitlines() or [type(error).__name__])[0]
        return Connections(error=first, shared=_PREPARED in why)
    finally:
        await engines.dispose()


async def _seen(
    alone: Sequence[AsyncConnection], whole: Sequence[AsyncConnection], kind: str
) -> Connections:
    servers: dict[str, bool] = {}
    for it, asked in [
        *((it, _SERVER[kind]) for it in alone),
        *((it, _SERVER[kind] + _WRITES) for it in whole),
    ]:
        [(name, read_only)] = await _rows(it, asked)
        servers[str(name)] = bool(read_only)
    first = whole[0]
    [(version,)] = await _rows(first, "SELECT VERSION()")
    backend = "mariadb" if "mariadb" in str(version).lower() else kind
    sessions = [(await _rows(it, _SESSION[kind]))[0][0] for it in (*alone, *alone)]
    return Connections(
        backend=backend,
        idle_limit=await _idle_limit(first, backend),
        wanted=float(IDLE_LIMIT),
        shared=sessions[0] == sessions[1] or sessions[:2] != sessions[2:],
        servers=tuple(sorted(servers)),
        read_only=tuple(sorted(name for name, is_so in servers.items() if is_so)),
        galera=await _galera(first) if backend == "mariadb" else 0,
        asynchronous=await _asynchronous(first, kind),
        etcd=await _etcd(first),
        forgets=", ".join(str(it) for (it,) in await _rows(first, _UNSAFE[kind])) or None,
    )


async def _etcd(it: AsyncConnection) -> str:
    """As ``store.marker`` keeps it."""
    with suppress(SQLAlchemyError):  # a new database has no such table
        found = await _rows(it, "SELECT installation FROM waguard_installation WHERE id = 2")
        return str(found[0][0]) if found else ""
    return ""


async def _idle_limit(it: AsyncConnection, backend: str) -> float | None:
    if backend == "postgresql":
        found = await _rows(it, _IDLE)
        return float(found[0][0]) / _MS if found else None
    name = "idle_transaction_timeout" if backend == "mariadb" else "wait_timeout"
    return float((await _rows(it, f"SELECT @@SESSION.{name}"))[0][0])


async def _galera(it: AsyncConnection) -> int:
    """How many nodes it has; 0: there is none."""
    is_on = await _rows(it, "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'")
    nodes = await _rows(it, "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'")
    return int(nodes[0][1]) if nodes and is_on and is_on[0][1] == "ON" else 0


async def _asynchronous(it: AsyncConnection, kind: str) -> int | None:
    """Replicas that a commit does not wait for; None: this user may not see them."""
    if kind == "postgresql":
        query = "SELECT count(*) FROM pg_stat_replication WHERE COALESCE(sync_state, '') IN ('', 'async')"
        waits = "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'"
        if (await _rows(it, waits))[0][0]:
            return 0
        return int((await _rows(it, query))[0][0])
    with suppress(SQLAlchemyError):
        semi = await _rows(it, "SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_master_enabled'")
        if semi and semi[0][1] == "ON":
            return 0
        return len(await _rows(it, "SHOW SLAVE HOSTS"))
    return None


async def _rows(it: AsyncConnection, statement: str) -> Sequence[Any]:
    """Run it; the transaction is over then."""
    try:
        return (await it.execute(text(statement))).all()
    finally:
        await it.rollback()
