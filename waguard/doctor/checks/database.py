"""The database: whether it answers, which revision it has, who supervises it, what its rows say."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from waguard.core.lease import Lease, who
from waguard.core.row_status import Status
from waguard.doctor.checks.instance import START, Instance
from waguard.doctor.report import Check, Cli, failed, ok, skipped, warning

_SHOWN: Final = 3
PAIRED: Final = frozenset({Status.CONNECTED, Status.AUTHENTICATED})


class Row(Struct, frozen=True, kw_only=True):
    """One account of ``whatsapp_accounts`` that is waguard's. ``address``: where the application
    calls it."""

    session: str
    workspace: int
    status: str
    phone: str | None = None
    active: bool = True
    address: str | None = None

    @property
    def paired(self) -> bool:
        """Whether its row says that it is linked to a phone."""
        return self.status in PAIRED


class Database(Struct, frozen=True, kw_only=True):
    """``name`` without a password. ``rows`` None: they could not be read, and unknown is not empty."""

    name: str
    error: str | None = None
    remedy: str | None = None
    command: str | None = None
    absent: bool = False
    """The database is an SQLite file, which the daemon creates."""
    refusal: str | None = None
    """Why the application's table cannot serve."""
    revision: str | None = None
    newest: str = ""
    """The revision that this version knows."""
    unfit: tuple[str, ...] = ()
    """What the database says of waguard's own tables that cannot be read as this revision needs them."""
    unwritable: str | None = None
    """Why it takes no writes."""
    damage: str | None = None
    narrow: tuple[str, ...] = ()
    """Tables that cannot hold every text …"""
    widen: str | None = None
    """… and what changes all of them."""
    lease: Lease | None = None
    now: float | None = None
    """Unix time of its own clock."""
    rows: tuple[Row, ...] | None = None


def database(
    seen: Database, daemon: Instance, runtime: str, cli: Cli, *, standby: bool = False
) -> list[Check]:
    """``runtime``: the runtime folder, by which this daemon's lease is known; ``standby``: as it is configured."""
    if seen.error:
        remedy = seen.remedy or "See that it runs, and that database.url names it"
        return [failed("database", f"{seen.name}: {seen.error}", remedy, seen.command)]
    if seen.absent:
        if daemon.up and not daemon.starts:
            return [
                failed(
                    "database",
                    f"{seen.name} was removed or moved while waguard uses it",
                    "Restore the file; nothing is written until then",
                    f"ls -l {seen.name}",
                )
            ]
        return [ok("database", f"{seen.name} does not exist yet: a start makes it")]
    if seen.damage:
        return [
            failed(
                "database",
                f"{seen.name} is damaged: {seen.damage}",
                "Stop waguard, and put a good copy in its place, or what can be saved of it",
                f"systemctl stop waguard && sqlite3 {seen.name} .recover | sqlite3 {seen.name}.new",
            )
        ]
    return [
        _answers(seen),
        *_table(seen, daemon, cli),
        _lease(seen, daemon, runtime, cli, standby=standby),
    ]


def _answers(seen: Database) -> Check:
    if seen.unwritable:
        return failed(
            "database",
            f"{seen.name} answers, and takes no writes: {seen.unwritable}",
            "Let waguard's user write there, end the server's read-only mode, or have database.url name the server that"
            " takes writes",
        )
    if not seen.narrow:
        return ok("database", f"{seen.name} answers")
    return warning(
        "database",
        f"{seen.name} answers, but {some(seen.narrow)} cannot hold every text: columns are not utf8mb4",
        "Stop waguard and convert them; until then what the application's table cannot hold becomes a question mark, and"
        " what another one cannot hold is lost",
        seen.widen,
    )


def _table(seen: Database, daemon: Instance, cli: Cli) -> list[Check]:
    name = "migrations"
    if seen.refusal:
        return [
            failed(
                name,
                f"whatsapp_accounts: {seen.refusal}",
                "Run the application's migrations, or name its database in database.url",
                "php artisan migrate",
            )
        ]
    if seen.revision is None or seen.revision < seen.newest:
        at = f"at revision {seen.revision}" if seen.revision else "without waguard's tables"
        if daemon.up and not daemon.starts:
            return [
                failed(
                    name,
                    f"{seen.name} is {at}, and a daemon runs: it waits for the database, or is older",
                    "Read its log; where it is older, restart it",
                    cli("logs --level WARNING -n 20"),
                )
            ]
        return [ok(name, f"{seen.name} is {at}: a start brings it to {seen.newest}")]
    if seen.revision > seen.newest:
        return [
            warning(
                name,
                f"{seen.name} is at revision {seen.revision}, this waguard knows {seen.newest}",
                "Install the newer waguard again; this one does not use what it does not know",
                "waguard --version",
            )
        ]
    if seen.unfit:
        return [
            failed(
                name,
                f"{seen.name} is at revision {seen.revision}, and tables of waguard's cannot be read: {some(seen.unfit)}",
                "Put back the table, the column or the right that is missing; what needs it is refused or waits until then",
                cli("logs --level ERROR -n 20"),
            )
        ]
    return [ok(name, f"{seen.name} is at revision {seen.revision}, the newest")]


def _lease(seen: Database, daemon: Instance, runtime: str, cli: Cli, *, standby: bool) -> Check:
    lease = seen.lease
    if standby and seen.name.startswith("/"):  # an SQLite file
        return failed(
            "lease",
            f"lease.standby is set, and no other host sees {seen.name}: both would run the sessions",
            "Use PostgreSQL or MariaDB for two hosts, or set lease.standby = false",
            cli("config show"),
        )
    if lease is None or lease.released:
        if daemon.up and seen.revision == seen.newest and not daemon.starts:
            return warning(
                "lease",
                f"a daemon runs here, and nobody holds the lease of {seen.name}",
                "It uses another database, or waits for this one",
                cli("config show"),
            )
        return ok("lease", "nobody supervises this database")
    ours = lease.holder.runtime == runtime and lease.holder.pid == daemon.pid
    if daemon.lives and ours:
        return ok(
            "lease", f"this daemon holds it, renewed {lease.now - lease.renewed_at:.0f} s ago"
        )
    if lease.holder.runtime == runtime and not daemon.lives:
        return ok("lease", "the last daemon here held it: the next one takes it over at once")
    if (lease.holder.runtime, lease.holder.machine) == (runtime, daemon.machine):
        return ok("lease", "the daemon here before this one held it: it changes hands")
    left = lease.expires_at - lease.now
    if left <= 0:
        return ok("lease", f"{who(lease)} held it, and has not renewed it: it may be taken over")
    if lease.holder.is_cluster:
        return ok(
            "lease", f"{who(lease)} holds it: a daemon without it begins when its hosts have ended"
        )
    if standby:
        return ok(
            "lease", f"{who(lease)} supervises this database, and a daemon here is its standby"
        )
    return failed(
        "lease",
        f"{who(lease)} supervises this database, for {left:.0f} s more unless it renews that",
        "Stop that one, or give this one another database",
        f"ssh {lease.holder.host} systemctl stop waguard",
    )


def rows(seen: Database, daemon: Instance) -> Check:
    """With a daemon that is down: what the application still believes."""
    if seen.rows is None:
        why = "there are none yet" if seen.absent else "the accounts could not be read"
        return skipped("rows", why)
    paired = [row.session for row in seen.rows if row.paired]
    if daemon.lives or not paired:
        return ok(
            "rows", f"{len(seen.rows)} accounts, {len(paired)} of them say that they are linked"
        )
    return warning(
        "rows",
        f"{some(paired)} say connected, and no daemon runs: whatever the application sends is refused",
        "Start waguard, which restores them",
        START,
    )


def some(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
