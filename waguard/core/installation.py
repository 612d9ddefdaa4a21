"""Which database belongs to an installation: a marker in the database, and one in the sessions folder. Pure.

An empty database is a fact only where it is known to be ours. What another database says, or one that nobody
has marked although the sessions folder is marked, says nothing about the sessions that run here.
"""

from msgspec import Struct


class Marker(Struct, frozen=True, kw_only=True):
    """The marker of the sessions folder."""

    installation: str
    """Empty: the file is there, and damaged."""
    database: str = ""
    """The name of the database that was used last, without user and password."""


class Found(Struct, frozen=True, kw_only=True):
    """What is known of the database."""

    name: str
    """Without user and password."""
    installation: str | None
    """The database's marker; None: it has none."""
    rows: int | None
    """How many sessions it has; None: they were not read yet."""


class Known(Struct, frozen=True):
    """The database is ours: what it says is a fact."""

    installation: str


class Unmarked(Struct, frozen=True):
    """The database is to be marked as ours."""

    installation: str | None
    """With this; None: with a new one."""


class Unknown(Struct, frozen=True, kw_only=True):
    """What it says is not known to be about the sessions that run here."""

    database: str
    expected: str
    """The database that the sessions folder names; empty: none."""
    installation: str | None
    """The marker that was found in it."""
    marked: str
    """The marker that was expected; empty: none can be read."""
    workers: int
    """Living workers of an earlier daemon."""


Identity = Known | Unmarked | Unknown


def identify(
    folder: Marker | None, found: Found, *, workers: int, accepted: Unknown | None = None
) -> Identity:
    """Whose the database is. ``folder``: None where the sessions folder has no marker; ``accepted``: what a
    person said is meant."""
    marked = folder.installation if folder else ""
    if found.installation is not None and marked in {"", found.installation}:
        return Known(found.installation)
    empty = found.rows == 0
    if found.installation is None and folder is None and not (empty and workers):
        return Unmarked(None)
    unknown = Unknown(
        database=found.name,
        expected=folder.database if folder else "",
        installation=found.installation,
        marked=marked,
        workers=workers,
    )
    if unknown != accepted:
        return unknown
    return Known(found.installation) if found.installation else Unmarked(marked or None)


def may_be_marked(found: Found, *, bare: bool) -> bool:
    """Whether the sessions folder gets its marker. ``bare``: nothing is in it. Where there are sessions it is then
    probably not mounted yet, and nothing is made where the mount belongs."""
    return not (bare and found.rows)


def words(unknown: Unknown) -> str:
    """Why nothing is created or ended."""
    if unknown.installation is not None:
        what = f"the database {unknown.database} belongs to another installation of waguard"
    else:
        what = f"the database {unknown.database} is new here, or was emptied"
    if unknown.expected:
        what += f", and the sessions belong to the database {unknown.expected}"
        if unknown.expected == unknown.database:
            what += " as it was before"
    elif not unknown.marked:
        what += ", and there are living workers" if unknown.workers else ""
    return f"{what}: sessions that run go on, none is created or ended"


def other_etcd_words(expected: str, found: str) -> str:
    """Why this host owns nothing. Both are ids of an etcd."""
    return (
        f"the hosts that own the sessions in this database have their leases in another etcd (cluster_id {expected}) than"
        f" that of `cluster.endpoints` here ({found}): this host owns none"
    )
