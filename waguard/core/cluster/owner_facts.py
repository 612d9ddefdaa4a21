"""What happens to the sessions that this host owns or may claim, and what is to be done: the facts and effects of
``session_owner``. Pure.

Each effect but ``Acquire`` is answered exactly once, by one of the facts that it names.
"""

from msgspec import Struct

from waguard.core.cluster.lease_facts import TimerDue
from waguard.core.cluster.records import Found, Owner

# ---- facts ----


class OwnersRead(Struct, frozen=True, kw_only=True):
    """The answer to ``ReadOwners``: the rows of all sessions."""

    rows: tuple[Owner, ...]
    room: int
    """How many more sessions this host can take now (``placement.room``)."""
    idle: frozenset[str] = frozenset()
    """Which of the own sessions nobody uses at the moment."""


class HolderRead(Struct, frozen=True):
    """The answer to ``ReadHolder``: the lease of ``host``; None: there is none."""

    host: str
    found: Found | None


class Claimed(Struct, frozen=True):
    """The answer to ``Claim``: the row is this host's, with this epoch."""

    claim: "Claim"
    epoch: int


class ClaimRefused(Struct, frozen=True):
    """The answer to ``Claim``: somebody was faster."""

    claim: "Claim"


class Unanswered(Struct, frozen=True):
    """The database or the engine did not answer: whether ``effect`` took place is unknown. Of ``ReadOwners``,
    ``ReadHolder`` and ``Claim``; for ``Release`` see ``Ended``."""

    effect: "ReadOwners | ReadHolder | Claim"


class Ended(Struct, frozen=True):
    """Nothing of a session runs here any more, and memory has nothing of it: after ``Release``, ``Lose`` or the lease's
    ``CloseAll``. After ``Release`` its row was written, or could not be."""

    session: str


class Stays(Struct, frozen=True):
    """The other answer to ``Release``: the session cannot leave this host now, and goes on here."""

    session: str
    epoch: int
    retry_after: float
    """s until it may be able to."""


class CreateAsked(Struct, frozen=True):
    """A session is about to be created here; ``seen``: its row, of nobody (without one: epoch 0)."""

    seen: Owner


class Deleted(Struct, frozen=True):
    """A session that was this host's was deleted."""

    session: str


class NotAdmitted(Struct, frozen=True):
    """Admission has held an own session back for ``placement.HELD_BACK`` seconds: another host may have room."""

    session: str


class MoveAsked(Struct, frozen=True):
    """Somebody wants an own session at the host ``to_host``. Where that takes none now, nothing is done, nor later."""

    session: str
    to_host: str


class DrainAsked(Struct, frozen=True):
    """Move all sessions to other hosts that have room, and claim none; ``drain`` False: no more."""

    drain: bool


OwnerFact = (
    OwnersRead
    | HolderRead
    | Claimed
    | ClaimRefused
    | Unanswered
    | Ended
    | Stays
    | CreateAsked
    | Deleted
    | NotAdmitted
    | MoveAsked
    | DrainAsked
    | TimerDue
)

# ---- effects ----


class ReadOwners(Struct, frozen=True):
    """Read all rows, and how much room this host has. Answered with ``OwnersRead`` or ``Unanswered``."""


class ReadHolder(Struct, frozen=True):
    """Read the lease of ``host`` from the engine itself (``HostLeases.read``), never from the watch. Answered with
    ``HolderRead`` or ``Unanswered``."""

    host: str


class Claim(Struct, frozen=True):
    """Own a session where its epoch is still as it was seen (``Owners.claim``). Answered with ``Claimed``,
    ``ClaimRefused`` or ``Unanswered``."""

    seen: Owner
    incarnation: str
    """This host's, at the time of the claim."""


class Acquire(Struct, frozen=True):
    """A session is this host's: bring it up, or keep it up (``OwnedSessions.acquire``; repeated until it works, or until
    ``Release``, ``Lose`` or ``CloseAll``)."""

    session: str
    epoch: int


class Release(Struct, frozen=True):
    """End a session in order (``OwnedSessions.release``), then write its row (``Owners.release``). Answered with
    ``Ended``, also where the row could not be written: it is asked for again. Or with ``Stays``."""

    session: str
    epoch: int
    to_host: str | None


class Lose(Struct, frozen=True):
    """A session is another host's, or may be: end what runs of it at once, write nothing (``OwnedSessions.lose``).
    Answered with ``Ended``."""

    session: str


OwnerEffect = ReadOwners | ReadHolder | Claim | Acquire | Release | Lose
