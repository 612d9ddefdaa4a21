"""The database's connections, as several hosts rely on them: one server, whose commits stay, and limits that hold."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from waguard.doctor.report import Check, failed, ok, warning

NAME: Final = "connections"


class Connections(Struct, frozen=True, kw_only=True):
    """Connections that were made as the daemon makes its own. ``error``: there are none."""

    error: str | None = None
    backend: str = ""
    """postgresql, mariadb or mysql: what answers."""
    idle_limit: float | None = None
    """Seconds after which the server ends a transaction in which nothing happens; 0: never; None: unknown."""
    wanted: float = 0.0
    shared: bool = False
    """Two connections, both open, had one session of the server, or one of them changed its session."""
    servers: tuple[str, ...] = ()
    """All that answered."""
    read_only: tuple[str, ...] = ()
    """Those that take no writes."""
    galera: int = 0
    """Nodes of its cluster."""
    asynchronous: int | None = None
    """Replicas that a commit does not wait for; None: this user may not see them."""
    etcd: str = ""
    """The id of the etcd that the owners of sessions rely on; empty: of none, or unknown."""
    forgets: str | None = None
    """The setting by which a commit may be lost in a crash of the server."""


def connections(seen: Connections, engine: str) -> list[Check]:
    """One check for each fault, else one. ``engine``: where the hosts' leases are."""
    if seen.error and not seen.shared:
        return [
            failed(
                NAME,
                f"a connection as several hosts need it is refused: {seen.error}",
                "Correct what is between waguard and the server (pgbouncer: pool_mode = session)",
            )
        ]
    return list(_faults(seen, engine)) or [
        ok(NAME, f"all end at {seen.servers[0]}, and idle transactions at {seen.idle_limit:g} s")
    ]


def _faults(seen: Connections, engine: str) -> Iterator[Check]:
    if seen.backend == "mysql":
        yield warning(
            NAME,
            "this is MySQL, with which several hosts were never tried",
            "Use MariaDB or PostgreSQL, or try every failure before you rely on it",
        )
    if seen.shared:
        yield failed(
            NAME,
            "a proxy gives one session of the server to several connections (pgbouncer: pool_mode = transaction or"
            " statement): limits and prepared statements are another connection's",
            "Set pool_mode = session for waguard's user, or name the server itself in database.url",
        )
    if seen.error:
        return
    if len(seen.servers) > 1:
        yield failed(
            NAME,
            f"connections end at different servers ({', '.join(seen.servers)}): what one host writes, another one does"
            " not find there yet",
            "Have database.url lead to one server, which is the same for all hosts",
        )
    if seen.read_only:
        yield failed(
            NAME,
            f"{', '.join(seen.read_only)} takes no writes: it is a replica",
            "Have database.url lead to the server that takes them",
        )
    yield from _limits(seen)
    yield from _commits(seen, engine)


def _limits(seen: Connections) -> Iterator[Check]:
    if seen.idle_limit is not None and 0 < seen.idle_limit <= seen.wanted:
        return
    how = "not ended" if not seen.idle_limit else f"ended after {seen.idle_limit:g} s"
    yield failed(
        NAME,
        f"a transaction in which nothing happens is {how}, and {seen.wanted:g} s are set for each connection: a host"
        " that stands still keeps the others from its sessions",
        "See what is between waguard and the server; pgbouncer drops settings that ignore_startup_parameters names",
    )


def _commits(seen: Connections, engine: str) -> Iterator[Check]:
    if seen.galera > 1:
        yield warning(
            NAME,
            f"Galera with {seen.galera} nodes: locks of two nodes do not know each other before the commit",
            "Have database.url of all hosts lead to one and the same node (a proxy with one writer)",
        )
    if seen.forgets:
        yield warning(
            NAME,
            f"{seen.forgets}: when the server crashes it may forget whose a session is, and what was sent",
            "Have the server write each commit to its disk",
        )
    if seen.asynchronous and engine == "database":
        yield warning(
            NAME,
            f"replicas that a commit does not wait for: {seen.asynchronous}. One that is promoted forgets claims, and"
            " hosts' leases",
            "Promote none of them, or have commits wait for one (synchronous replication)",
        )
