"""Whether waguard can see in the receiver's own table what it has stored; the index: ``store/query_plans.py``."""

import shlex
from typing import Final

from msgspec import Struct

from waguard.core.webhooks.stored import StoredKey
from waguard.doctor.report import Check, Cli, failed, ok, skipped, warning

NAME: Final = "stored"
_COUNTS: Final = "what gets a 2xx counts as delivered"


class Login(Struct, frozen=True):
    """Who waguard is at the database's server. ``space``: MySQL's database, PostgreSQL's schema."""

    backend: str
    user: str
    host: str
    database: str
    space: str

    def grant(self, table: str) -> str:
        """The statement that lets waguard read the receiver's table."""
        if self.backend == "postgresql":
            user, space, name = (f'"{it}"' for it in (self.user, self.space, table))
            return (
                f"GRANT USAGE ON SCHEMA {space} TO {user}; GRANT SELECT ON {space}.{name} TO {user}"
            )
        return f"GRANT SELECT ON `{self.space}`.`{table}` TO '{self.user}'@'{self.host}'"

    def run(self, statement: str) -> str:
        """The command that runs it, as an administrator of the server."""
        if self.backend == "postgresql":
            database = shlex.quote(self.database)
            return f"sudo -u postgres psql -d {database} -c {shlex.quote(statement)}"
        return f"{self.backend} -e {shlex.quote(statement)}"


class Stored(Struct, frozen=True, kw_only=True):
    """A key that was tried. ``problem`` None: it can be looked up; ``login`` None: SQLite."""

    key: StoredKey
    problem: str | None = None
    denied: bool = False
    """The database refuses it to waguard's user, and to nobody else."""
    login: Login | None = None

    @property
    def right(self) -> str:
        """The right that it needs, for the end of a sentence."""
        return f"; it may be read: {self.login.grant(self.key.table)}" if self.login else ""

    @property
    def granting(self) -> str | None:
        """The command that gives it the right."""
        return self.login.run(self.login.grant(self.key.table)) if self.login else None


def stored(seen: Stored | None, key: str | None, cli: Cli, name: str = NAME) -> Check:
    """``key``: ``webhook.stored``; ``seen`` None: the database does not answer."""
    if key is None:
        return ok(name, f"webhook.stored is not set: {_COUNTS}")
    if seen is None:
        return skipped(name, "the database does not answer")
    if seen.problem is None:
        return ok(name, f"{seen.key} is looked up by its index{seen.right}")
    if seen.denied and seen.login:
        return failed(name, _why(seen), "Grant it to waguard's database user", seen.granting)
    remedy = "Name a column of the receiver's that has an index, or remove webhook.stored"
    return failed(name, _why(seen), remedy, cli("config check"))


def proposed(seen: Stored | None, key: str | None, path: str, cli: Cli) -> Check:
    """Before the cut-over: ``seen`` is ``key``, or else where the application keeps its ids."""
    name = "webhook.stored"
    if key is not None:
        return stored(seen, key, cli, name)
    if seen is None:
        return skipped(
            name, "the application's messages are not known: its database does not answer"
        )
    setting = f'set webhook.stored = "{seen.key}" in {path}'
    if seen.problem is None:
        return warning(
            name,
            f"webhook.stored is not set, and the application keeps WhatsApp's ids in {seen.key}: a"
            f" message that it answers with 200 and does not store is lost{seen.right}",
            f"S{setting[1:]}",
            cli("config check"),
        )
    if seen.denied and seen.login:
        return warning(name, _why(seen), f"Grant it, then {setting}", seen.granting)
    return ok(name, _why(seen))


def _why(seen: Stored) -> str:
    return f"{seen.problem}: {_COUNTS}"
