"""Which sessions this host owns: it claims those of nobody and of dead hosts, and releases what is to move. Pure.

Rows are the database's, leases the engine's. A claim reads the row, *then* the holder's lease from the engine itself,
and then writes where the epoch is still the same: an incarnation has its lease before it owns anything, so one that is
not in that reading is dead. While the database is away nothing is claimed, and what runs goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.records import Found, Owner
from waguard.core.session.facts import Moment

# ---- facts ----


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnersRead:
    """The answer to ``ReadOwners``: the rows of all sessions."""

    rows: tuple[Owner, ...]
    room: int
    """How many more sessions this host can take now (``placement.room``)."""
    idle: frozenset[str] = frozenset()
    """Which of the own sessions nobody uses at the moment."""


@dataclass(frozen=True, slots=True)
class HolderRead:
    """The answer to ``ReadHolder``: the lease of ``host``; None: there is none."""

    host: str
    found: Found | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to ``Claim``: the row is this host's, with this epoch."""

    claim: "Claim"
    epoch: int


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    """The answer to ``Claim``: somebody was faster."""

    claim: "Claim"


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The database or the engine did not answer: whether ``effect`` took place is unknown. Of ``ReadOwners``,
    ``ReadHolder`` and ``Claim``; for ``Release`` see ``Ended``."""

    effect: "ReadOwners | ReadHolder | Claim"


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing of a session runs here any more, and memory has nothing of it: after ``Release``, ``Lose`` or the lease's
    ``CloseAll``. After ``Release`` its row was written, or could not be."""

    session: str


@dataclass(frozen=True, slots=True)
class Created:
    """A session was created here; its row has this host, this incarnation and this epoch. It needs no ``Acquire``."""

    session: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """A session that was this host's was deleted."""

    session: str


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """Admission has held an own session back for ``placement.HELD_BACK`` seconds: another host may have room."""

    session: str


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """Move all sessions to other hosts, and claim none; ``drain`` False: no more. ``end``: release also what no other
    host has room for."""

    drain: bool
    end: bool = False


@dataclass(frozen=True, slots=True)
class TimerDue:
    """The time of ``due_at`` has come, or what the leases show has changed."""


OwnerFact = (
    OwnersRead
    | HolderRead
    | Claimed
    | ClaimRefused
    | Unanswered
    | Ended
    | Created
    | Deleted
    | NotAdmitted
    | DrainAsked
    | TimerDue
)

# ---- effects ----


@dataclass(frozen=True, slots=True)
class ReadOwners:
    """Read all rows, and how much room this host has. Answered with ``OwnersRead`` or ``Unanswered``."""


@dataclass(frozen=True, slots=True)
class ReadHolder:
    """Read the lease of ``host`` from the engine itself (``HostLeases.read``), never from the watch. Answered with
    ``HolderRead`` or ``Unanswered``."""

    host: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Own a session where its epoch is still as it was seen (``Owners.claim``). Answered with ``Claimed``,
    ``ClaimRefused`` or ``Unanswered``."""

    seen: Owner
    incarnation: str
    """Of this host, at the time of the claim."""


@dataclass(frozen=True, slots=True)
class Acquire:
    """A session is this host's: bring it up, or keep it up (``OwnedSessions.acquire``; repeated until it works, or until
    ``Release``, ``Lose`` or ``CloseAll``)."""

    session: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Release:
    """End a session in order (``OwnedSessions.release``), then write its row (``Owners.release``). Answered with
    ``Ended``, also where the row could not be written: it is asked for again."""

    session: str
    epoch: int
    to_host: str | None


@dataclass(frozen=True, slots=True)
class Lose:
    """A session is another host's, or may be: end what runs of it at once, write nothing (``OwnedSessions.lose``).
    Answered with ``Ended``."""

    session: str


OwnerEffect = ReadOwners | ReadHolder | Claim | Acquire | Release | Lose

# ---- state ----


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerState:
    """Which sessions are this host's, as its daemon knows it."""

    host: str
    incarnation: str | None = None
    """In which ``owned`` and ``ending`` were owned."""
    adopted: frozenset[str] = frozenset()
    """Sessions whose workers this daemon adopted, and whose rows it has not read yet. They run."""
    owned: Mapping[str, int] = field(default_factory=dict)
    """Their epochs: they may run here, and rows may be written."""
    ending: Mapping[str, int] = field(default_factory=dict)
    """What is being ended or closed, with its epoch, until ``Ended``: it is acquired again only then. Its rows may still
    be written while it is ending in order; the database checks."""
    drain: bool = False
    drain_ends: bool = False
    """``DrainAsked.end``."""


@dataclass(frozen=True, slots=True)
class OwnerStep:
    """The state after a fact, and what is to be performed, in order."""

    state: OwnerState
    effects: tuple[OwnerEffect, ...] = ()


def begin(host: str, adopted: frozenset[str]) -> OwnerState:
    """The state of a daemon that has just started. ``adopted``: the sessions whose workers it greeted."""
    return OwnerState(host=host, adopted=adopted)


def advance(state: OwnerState, fact: OwnerFact, lease: LeaseView, now: Moment) -> OwnerStep:
    """Handle one fact. Never raises; a late or repeated answer changes nothing. ``now.at``: on the boot clock."""
    raise NotImplementedError


def due_at(state: OwnerState) -> float:
    """When ``TimerDue`` has to be posted, on the boot clock."""
    raise NotImplementedError
