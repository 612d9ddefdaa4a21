"""Several hosts: their leases in the engine, the owners of sessions in the database."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from waguard.core.cluster.records import Found, HostRecord, Owner
from waguard.core.cluster.unowned import Unowned
from waguard.core.issued_keys import IssuedKey


class HostLeases(Protocol):
    """The leases of all hosts, in etcd or in the database. Each call raises ``EngineUnavailableError`` where the engine
    does not answer within its deadline: whether a write took place is then unknown."""

    async def read(self, host: str) -> Found | None:
        """A host's lease from the engine itself, as of now and of nothing earlier; None: there is none."""

    async def hosts(self) -> Sequence[Found]:
        """All of them, as of now."""

    async def put(self, record: HostRecord, revision: int) -> int | None:
        """Write it where what is there has ``revision``, 0: where there is none. The new revision; None: refused."""

    async def delete(self, host: str, revision: int) -> bool:
        """Delete the lease of a host where it has ``revision``; whether it had."""

    def changes(self) -> AsyncIterator[Sequence[Found]]:
        """All of them, first as they are, then again after each change. It may be late and may leave out what is between
        two changes; it ends with ``EngineUnavailableError`` when it is cut off."""

    async def close(self) -> None:
        """Let go what is open."""


class Owners(Protocol):
    """The owners of sessions. Each call raises ``DatabaseUnavailableError``."""

    async def owners(self) -> Sequence[Owner]:
        """All sessions of waguard's (provider webjs, not deleted), of one without a row: epoch 0, nobody; and those that were
        deleted and have a row."""

    async def claim(self, seen: Owner, host: str, incarnation: str) -> int | None:
        """Own it where its epoch still is as it was seen. The new epoch; None: somebody was faster."""

    async def claim_free(
        self, seen: Collection[Owner], host: str, incarnation: str
    ) -> Mapping[str, int]:
        """Own all whose epoch still is as it was seen and whose row nobody holds, at once. The new epochs; what is left
        out is to be claimed by itself."""

    async def release(self, session: str, epoch: int, *, to_host: str | None) -> bool:
        """Own it no more, where the epoch is still this one; whether it was."""

    async def drop(self, sessions: Collection[str]) -> None:
        """Delete the rows of these, but of those that are sessions, or have webhooks left to deliver."""


class Ownership(Protocol):
    """Which sessions are this host's, in memory: what the daemon believes now. The database checks each write."""

    def epoch(self, session: str) -> int | None:
        """The epoch in which this host owns it; None: it does not."""

    def owned(self) -> Mapping[str, int]:
        """The epochs of all sessions that this host owns."""

    def address(self, session: str) -> str | None:
        """The base URL of the living host that owns it; None: nobody does, or it is not known."""

    async def create(self, session: str) -> None:
        """Own a session that is about to be created here. Raises ``UnavailableError`` where this host may not own
        anything now, or another one owns it."""


class OwnedSessions(Protocol):
    """What owning a session means for what runs on this host."""

    async def acquire(self, sessions: Collection[str]) -> None:
        """They are this host's since a moment ago: read all that memory keeps of them from the database, and bring them up
        as the restore at a start does. Raises ``DatabaseUnavailableError`` and can then be repeated."""

    async def release(self, session: str) -> None:
        """End it in order, with its rows written and its credentials shared; when it returns nothing of it runs here, and
        nothing of it is kept in memory."""

    async def lose(self, sessions: Collection[str]) -> None:
        """They are another host's: end their workers at once, write nothing, forget them. Their profiles stay."""


class SeenHost(Struct, frozen=True, kw_only=True):
    """A host of the cluster, as this one sees it."""

    record: HostRecord
    renewed_ago: float
    """Seconds since this daemon first saw what its lease says now; of its own lease: since it was confirmed."""
    lease_left: float
    """Seconds that its lease still holds without another renewal; 0: it is over."""


class HostsView(Struct, frozen=True, kw_only=True):
    """The cluster, as this host sees it."""

    host: str
    """This one's name."""
    hosts: Sequence[SeenHost]
    """All that have a lease, this one and dead ones too, by name."""
    without_owner: int | None
    """Sessions that nobody living owns; None: unknown, for the database does not answer."""


class HostNumbers(Struct, frozen=True, kw_only=True):
    """This host of the cluster in numbers. What is counted begins with 0 at each start of the daemon."""

    lease_left: float
    """Seconds; see ``SeenHost``."""
    lease_lasts: float
    """Seconds."""
    owned: int
    room: int | None
    """None: unknown, for the host has had no lease yet."""
    missing: Mapping[str, bool]
    """By the name of each other host, whether it is down and was not taken out in order."""
    unowned: Mapping[str, Unowned] | None
    """See ``Hosts.unowned``."""
    takeovers: int
    """Sessions that were claimed from dead hosts."""
    refused: int
    """Writes that the database refused, for this host did not own the session any more."""
    engine_failures: int
    """Calls of the engine about the own lease that had no answer in time."""
    credentials: Mapping[str, float]
    """By session, seconds since the first change of its credentials that is not shared; 0: all of them are."""


class Hosts(Protocol):
    """What the API asks of the cluster."""

    def view(self) -> HostsView:
        """What is known of it now, off memory; no I/O."""

    def owner(self, session: str) -> str | None:
        """The name of the living host that owns it; None: nobody does, or it is not known."""

    def unowned(self) -> Mapping[str, Unowned] | None:
        """The sessions that nobody living owns, and why; None: unknown, for the database does not answer."""

    async def drain(self, *, end: bool) -> None:
        """Empty this host: it claims nothing, and moves its sessions to others that have room, in order. ``end``: do so
        no more. It returns when that is asked for, before it is done; asked for again, it changes nothing. Raises
        ``UnavailableError`` where the engine does not take it."""

    async def move(self, session: str, to_host: str) -> None:
        """Release a session that this host owns, in order, to another one; it returns when that has begun. What it refuses
        is not done later, either. Raises ``NotFoundError`` for a host that is unknown, ``ConflictError`` where that one is
        dead, drains or has no room, or owns it already, and ``UnavailableError`` where this host does not own it or the
        database does not answer."""

    async def forget(self, host: str) -> None:
        """A dead host is gone for good: it is none of the hosts any more, unless a waguard of that name is started again.
        Raises ``NotFoundError``, ``ConflictError`` where it lives, and ``UnavailableError`` where the engine does not
        answer: then it may have been done."""


class KeyRows(Protocol):
    """The issued keys that all hosts accept. Each call raises ``DatabaseUnavailableError``."""

    async def revision(self) -> int:
        """A number that changes with each change of a key, but for its last use, and never comes back."""

    async def keys(self) -> tuple[int, Sequence[IssuedKey]]:
        """A revision, and all that was so by then, or later."""

    async def exchange(
        self, decide: Callable[[Sequence[IssuedKey]], Sequence[IssuedKey]]
    ) -> tuple[int, Sequence[IssuedKey]]:
        """Write what ``decide`` makes of all that is there: keys that are new, and those that were revoked. Nobody else
        changes a key meanwhile. What is there then, and its revision. Raises what ``decide`` raises, and writes nothing."""

    async def use(self, used: Mapping[str, float]) -> None:
        """Note by SHA-256 when keys were last used, in unix time."""
