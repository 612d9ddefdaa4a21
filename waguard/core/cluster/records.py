"""What the hosts of a cluster say of themselves, and who owns which session. Pure.

A *host lease* lives in the engine (etcd, or a table of the database): one record for each host, which its daemon renews.
An *owner* lives in the database: one row for each session. An *incarnation* is one life of a host's lease: it begins with
a new record and ends irrevocably when anybody writes ``alive = false``.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

FORMAT: Final = 1
"""The host lease's: who reads a newer one claims nothing."""


class HostRecord(Struct, frozen=True, kw_only=True):
    """A host's lease as the engine has it."""

    format: int
    host: str
    """A name that no other host of the cluster has."""
    incarnation: str
    number: int
    """Each write's: different for each renewal of each process."""
    alive: bool
    lasts: float = 0.0
    """Seconds that it holds without a renewal, as its host is configured; 0: as here."""
    address: str
    """The base URL of its API, for the other hosts."""
    version: str
    """waguard's."""
    room: int
    """How many more sessions it can take."""
    owned: int
    """How many sessions it owns."""
    drain: bool
    """Whether it is being emptied: it claims nothing."""
    start: str = ""
    """Which start of its daemon: what is sealed for another one is refused. "": of a version without that, whose seals are
    of form 1."""
    conditions: tuple[str, ...] = ()
    """Types of what is wrong on it and needs a person, without that of its sessions."""
    alerts: bool = True
    """Whether it has a destination for alerts; a version that does not say may have one."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Digests of what all hosts have to have alike, by the key of the configuration."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What a newer format has besides; it stays when another host writes this record."""

    def __hash__(self) -> int:
        return hash((self.host, self.incarnation, self.number))


class Found(Struct, frozen=True):
    """A record as it was read; ``revision`` changes with each write and never comes back."""

    record: HostRecord
    revision: int


class Owner(Struct, frozen=True, kw_only=True):
    """Who owns a session, as the database has it. ``host`` and ``incarnation`` None: nobody."""

    session: str
    host: str | None
    incarnation: str | None
    epoch: int
    """Incremented by each claim; 0: nobody has ever owned it."""
    to_host: str | None = None
    """Whose it is to become: a release in order leaves it to that host."""
    moved_at: float | None = None
    """Unix time of the last change of the owner."""
    deleted: bool = False
    """There is no such session any more; its owner delivers the webhooks that it has left, and runs nothing."""


class Owning(Struct, frozen=True, kw_only=True):
    """What this host owns now, as its daemon believes; the database checks it at each write."""

    host: str
    incarnation: str
    epochs: Mapping[str, int]
    """By session, the epoch in which it is owned."""
