"""This host's lease in the engine: when it is renewed, what runs under it, and which other host is dead. Pure.

Times are seconds of the boot clock (CLOCK_BOOTTIME), which goes on while the machine is suspended. The owner of a lease
counts from when it *sent* a renewal, the others from when they *saw* it: what a host runs has ended before anybody
declares it dead, and only what was declared dead is claimed. Each call (``Renew``, ``ReadOwn``, ``Sweep``) is answered
exactly once, by one of the facts that it names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto

from waguard.core.cluster.records import Found
from waguard.core.session.facts import Moment


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What follows from how long a lease lasts; all in seconds."""

    lasts: float
    """10 for etcd, 60 for the database. All hosts of a cluster have the same."""

    @property
    def renewed_every(self) -> float:
        """Between two renewals."""
        return self.lasts / 5

    @property
    def closes_after(self) -> float:
        """From the sending of the last renewal that counted, until all sessions are closed in order."""
        return self.lent_for - min(0.35 * self.lasts, 10.0)

    @property
    def lent_for(self) -> float:
        """From that sending until the kernel ends each worker."""
        return 0.95 * self.lasts

    @property
    def dead_after(self) -> float:
        """From seeing a renewal, with no other one seen since, until its host is declared dead. The boot clocks of two
        hosts may differ by 7 % each."""
        return 1.1 * self.lasts


# ---- facts ----


@dataclass(frozen=True, slots=True)
class Renewed:
    """The answer to ``Renew``: it was written."""

    incarnation: str
    number: int
    revision: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to ``Renew``: what is there has another revision."""

    incarnation: str
    number: int


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """``Renew`` or ``ReadOwn`` had no answer within its deadline: whether a write took place is unknown."""

    call: int


@dataclass(frozen=True, slots=True)
class OwnRead:
    """The answer to ``ReadOwn``: this host's lease from the engine itself; None: there is none."""

    call: int
    found: Found | None


@dataclass(frozen=True, slots=True)
class Swept:
    """The answer to ``Sweep``: nothing of an earlier incarnation runs on this host."""

    incarnation: str
    """Of the next one: a new random name, which ``<paths.runtime>/incarnation`` has already."""


@dataclass(frozen=True, slots=True)
class PeersSeen:
    """All leases, this host's included, as the watch or a reading has them. They may be late."""

    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class TimerDue:
    """The time of ``due_at`` has come."""


LeaseFact = Renewed | Refused | NoAnswer | OwnRead | Swept | PeersSeen | TimerDue

# ---- effects ----


@dataclass(frozen=True, slots=True)
class Renew:
    """Write this host's record, alive, with this incarnation and number, where ``revision`` is there (0: where there is
    none). Answered with ``Renewed``, ``Refused`` or ``NoAnswer``."""

    incarnation: str
    number: int
    """It is the number of the call, too (``NoAnswer.call``)."""
    revision: int


@dataclass(frozen=True, slots=True)
class ReadOwn:
    """Read this host's record from the engine itself. Answered with ``OwnRead`` or ``NoAnswer``."""

    call: int


@dataclass(frozen=True, slots=True)
class Lend:
    """Every worker that is not being closed may live until ``until``, on the boot clock; later ones as well."""

    until: float


@dataclass(frozen=True, slots=True)
class CloseAll:
    """Close all sessions in order, and lend nothing further to what is being closed. What has not ended when its time is
    over is ended by the kernel. Their rows stay."""


@dataclass(frozen=True, slots=True)
class KillAll:
    """SIGKILL all workers and what they started: this incarnation is dead, and others may own its sessions."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """End everything of earlier incarnations on this host, whoever started it, and wait until it has ended. Write a new
    incarnation to ``<paths.runtime>/incarnation``. Answered with ``Swept``; it is repeated until it works."""


@dataclass(frozen=True, slots=True)
class DeclareDead:
    """Write the record of ``found`` with ``alive = false``, where exactly this revision is there. Its answer does not
    matter: the watch shows it."""

    found: Found


@dataclass(frozen=True, slots=True)
class Exit:
    """Two machines have this name: end with exit code 3, after ``KillAll``. No further fact has an effect."""

    why: str


LeaseEffect = Renew | ReadOwn | Lend | CloseAll | KillAll | Sweep | DeclareDead | Exit

# ---- state ----


class LeaseStage(StrEnum):
    """What the lease waits for."""

    SWEEPING = auto()
    """Earlier incarnations are being ended; there is no incarnation."""
    READING = auto()
    """The record is to be read before anything is written."""
    RENEWING = auto()
    """The record is this incarnation's, or free, as it was read; it is written regularly."""
    OVER = auto()
    """Two machines have this name."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host's lease as it was seen."""

    found: Found
    since: float
    """When this revision was first seen."""
    declared_at: float | None = None
    """When ``DeclareDead`` was last asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """This host's lease, as its daemon knows it. Begins with ``begin``."""

    host: str
    terms: LeaseTerms
    stage: LeaseStage
    incarnation: str | None
    number: int
    """Of the next call."""
    first: int
    """The first number of this process; drawn at random, so that no two daemons of a host share one."""
    revision: int = 0
    """Of the record, as it was last read or written."""
    call: int | None = None
    """The call that has no answer yet."""
    called_at: float = -1e18
    sent: Mapping[int, float] = field(default_factory=dict)
    """When each recent renewal was sent."""
    confirmed: float | None = None
    """When the last renewal that counted was sent; None: none of this incarnation by this process."""
    held_since: float | None = None
    """Since when the lease has been held without interruption; None: it is not."""
    peers: Mapping[str, Peer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeaseStep:
    """The state after a fact, and what is to be performed, in order."""

    state: LeaseState
    effects: tuple[LeaseEffect, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseView:
    """What ownership has to know of the leases, at one moment."""

    host: str
    incarnation: str | None
    """Of this host; None: it has none yet, and may own nothing."""
    held: bool
    """Sessions may run and be claimed here."""
    newer_format: bool
    """Some host's record has a newer format: nothing is claimed."""
    peers: Mapping[str, Found]
    """The other hosts as the watch last showed them, the dead ones included."""


def begin(
    host: str, terms: LeaseTerms, *, number: int, adopts: str | None, now: Moment
) -> LeaseStep:
    """The state of a daemon that has just taken the instance lock. ``number``: a random one of 62 bits. ``adopts``: what
    ``<paths.runtime>/incarnation`` says; None: there is no such file, so everything is swept first."""
    raise NotImplementedError


def advance(state: LeaseState, fact: LeaseFact, now: Moment) -> LeaseStep:
    """Handle one fact. Never raises; a late or repeated answer changes nothing."""
    raise NotImplementedError


def due_at(state: LeaseState) -> float | None:
    """When ``TimerDue`` has to be posted, on the boot clock; None: only another fact changes anything."""
    raise NotImplementedError


def lent_until(state: LeaseState) -> float | None:
    """Until when workers may live, on the boot clock; None: nothing is lent (by this process)."""
    raise NotImplementedError


def view(state: LeaseState, now: Moment) -> LeaseView:
    """The leases as ownership sees them."""
    raise NotImplementedError
