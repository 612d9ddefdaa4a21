"""What is done with a profile before Chromium starts on it, and which copies are kept.

The order of the actions is the order in which they are carried out, and the last one says how it
ends: ``Use`` and ``ShowQr`` start Chromium, ``Hold`` does not. Nothing is deleted on the way: what is
damaged is moved aside. Each snapshot is tried once; "tried" is forgotten when the session has been
connected again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

GENERATIONS: Final = 2  # snapshots that are kept of a session
# s connected; Chromium writes localStorage to the disk up to 60 s late (measured: 60.1)
STORED_AFTER: Final = 65.0


# ---- what is found ----


@dataclass(frozen=True, slots=True)
class Healthy:
    """Nothing speaks against using it.

    ``torn``: databases in which a crash left half a record, which must go before the next start.
    """

    torn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """Chromium has stored nothing here."""


@dataclass(frozen=True, slots=True)
class Emptied:
    """It was removed under a living browser, which made some of its files anew: no credentials."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """Chromium cannot use it, or would throw stored data away.

    ``whole`` says that the credentials in it can be read: then the rest is to blame.
    """

    why: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class CredentialsLost:
    """It was paired, and what it holds does not connect any more, without a logout."""

    why: str


@dataclass(frozen=True, slots=True)
class NoRoom:
    """The disk is full: nothing can be moved or restored, and nothing need be broken."""

    why: str


Finding = Healthy | Missing | Emptied | Damaged | CredentialsLost | NoRoom


@dataclass(frozen=True, slots=True)
class Free:
    """No ``SingletonLock``."""


@dataclass(frozen=True, slots=True)
class DeadOwner:
    """``SingletonLock`` names a process that is no browser of this profile (any more)."""

    pid: int


@dataclass(frozen=True, slots=True)
class LivingOwner:
    """A browser of this profile runs, or that cannot be ruled out."""

    pid: int


@dataclass(frozen=True, slots=True)
class OtherHost:
    """``SingletonLock`` names a process of another host: the container was moved."""

    host: str
    pid: int


Owner = Free | DeadOwner | LivingOwner | OtherHost


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A copy of the credentials. ``taken_at`` is unix time; ``pairing`` the owner token."""

    id: str
    taken_at: float
    pairing: str
    intact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that is known before a start. ``locked``: waguard's own lock on the profile is held."""

    finding: Finding
    owner: Owner = Free()
    locked: bool = True
    pairing: str | None = None
    """The owner token in the profile; None: it was never connected, or it was logged out."""
    snapshots: tuple[Snapshot, ...] = ()
    tried: frozenset[str] = frozenset()
    """Snapshots (and ``CARRIED``) that were put in place since it was connected last."""


CARRIED: Final = "carried"


# ---- what is done ----


@dataclass(frozen=True, slots=True)
class Use:
    """Start Chromium on it."""


@dataclass(frozen=True, slots=True)
class RemoveStaleLock:
    """Remove ``SingletonLock`` and its two companions."""

    why: str


@dataclass(frozen=True, slots=True)
class CutTornTails:
    """Cut the half record off that a crash left in these databases."""

    databases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Move the profile aside with this note; a new, empty one takes its place."""

    why: str


@dataclass(frozen=True, slots=True)
class CarryOver:
    """Copy the credentials out of the profile that was just moved aside."""


@dataclass(frozen=True, slots=True)
class RestoreSnapshot:
    """Put this snapshot's credentials in place."""

    id: str


@dataclass(frozen=True, slots=True)
class ShowQr:
    """Start Chromium, and expect that a person has to pair it anew."""

    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Do not start: a person, or time, has to remove the cause."""

    why: str


Action = (
    Use | RemoveStaleLock | CutTornTails | Quarantine | CarryOver | RestoreSnapshot | ShowQr | Hold
)


def in_words(action: Action) -> str | None:
    """What was done, for the log and `waguard why`; None: nothing worth telling."""
    match action:
        case Use():
            return None
        case RemoveStaleLock(why):
            return f"Chromium's stale lock was removed ({why})"
        case CutTornTails(databases):
            return f"half a record that a crash left was cut off ({', '.join(databases)})"
        case Quarantine(why):
            return f"the profile was moved aside ({why})"
        case CarryOver():
            return "its credentials were carried over into a new profile"
        case RestoreSnapshot(id_):
            return f"the snapshot {id_} was restored"
        case ShowQr(why):
            return f"a QR code has to be scanned ({why})"
        case Hold(why):
            return f"it was not started ({why})"


def is_severe(actions: Iterable[Action]) -> bool:
    """Whether more than what any crash leaves was tidied up."""
    return any(isinstance(action, Quarantine | RestoreSnapshot | ShowQr) for action in actions)


def decide(found: Found) -> tuple[Action, ...]:
    """What to do at a start."""
    match found.owner:
        case LivingOwner(pid):
            return (Hold(f"Chromium {pid} still uses the profile"),)
        case _ if not found.locked:
            return (Hold("the profile's lock is not ours"),)
        case DeadOwner(pid):
            return (RemoveStaleLock(f"its owner {pid} is gone"), *_unlocked(found))
        case OtherHost(host, pid):
            return (RemoveStaleLock(f"its owner {pid} was on {host}"), *_unlocked(found))
        case Free():
            return _unlocked(found)


def _unlocked(found: Found) -> tuple[Action, ...]:
    match found.finding:
        case Healthy(torn):
            return (CutTornTails(torn), Use()) if torn else (Use(),)
        case NoRoom(why):
            return (Hold(why),)
        case Missing():
            return _restored(found) or (ShowQr("there is no profile"),)
        case Emptied():
            why = "its folder was removed while it ran"
            restored = _restored(found)
            return (Quarantine(why), *restored) if restored else (ShowQr(why),)
        case Damaged(why, whole=True) if CARRIED not in found.tried:
            return (Quarantine(why), CarryOver(), Use())
        case Damaged(why):
            return (Quarantine(why), *(_restored(found) or (ShowQr(why),)))
        case CredentialsLost(why):
            restored = _restored(found)
            # without a snapshot nothing is won by moving it
            return (Quarantine(why), *restored) if restored else (ShowQr(why),)


def _restored(found: Found) -> tuple[Action, ...]:
    """Nothing where no snapshot may be tried."""
    candidate = _candidate(found)
    return (RestoreSnapshot(candidate.id), Use()) if candidate else ()


def _candidate(found: Found) -> Snapshot | None:
    """The newest that may be tried: never one of another pairing over what is there."""
    gone = isinstance(found.finding, Missing | Emptied)  # and the token with it
    fitting = [
        snapshot
        for snapshot in found.snapshots
        if snapshot.intact
        and snapshot.id not in found.tried
        and (snapshot.pairing == found.pairing or (gone and found.pairing is None))
    ]
    return max(fitting, key=_age_order, default=None)


def _age_order(snapshot: Snapshot) -> tuple[float, str]:
    return (snapshot.taken_at, snapshot.id)


# ---- snapshots ----


def due_in(*, connected_for: float, last_taken_ago: float | None, every: float) -> float:
    """Seconds until a connected session is to be copied; 0: now.

    Once in each connection, and then every ``every`` seconds. ``connected_for`` counts from the last
    time that this page became connected: a page that is opened anew after a pairing (which makes
    Chromium write) starts it again.
    """
    wait = STORED_AFTER - connected_for
    if last_taken_ago is not None and last_taken_ago < connected_for:
        wait = max(wait, every - last_taken_ago)
    return max(0.0, wait)


def superfluous(
    snapshots: Iterable[Snapshot], *, pairing: str | None, generations: int = GENERATIONS
) -> list[Snapshot]:
    """Those to delete, oldest first: of this pairing the newest ``generations`` stay.

    While no snapshot of this pairing is intact, everything stays.
    """
    ordered = sorted(snapshots, key=_age_order)
    current = [s for s in ordered if s.pairing == pairing and s.intact]
    if not current:
        return []
    kept = {snapshot.id for snapshot in current[-max(1, generations) :]}
    return [snapshot for snapshot in ordered if snapshot.id not in kept]


# ---- quarantine ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A profile that was moved aside.

    ``at`` is unix time, ``size`` bytes. ``only`` says that the session has neither a paired profile
    nor an intact snapshot beside its quarantined copies.
    """

    name: str
    session: str
    at: float
    size: int
    only: bool


def expired(copies: Sequence[Copy], *, now: float, keep_for: float, size_limit: int) -> list[Copy]:
    """Those to delete, oldest first: too old, then as many as exceed ``size_limit`` bytes in all.

    The newest copy of a session that has nothing else is never among them, whatever it weighs.
    """
    ordered = sorted(copies, key=lambda copy: (copy.at, copy.name))
    newest = {copy.session: copy.name for copy in ordered}
    deletable = [c for c in ordered if not (c.only and newest[c.session] == c.name)]
    gone = [copy for copy in deletable if now - copy.at > keep_for]
    left = sum(copy.size for copy in copies) - sum(copy.size for copy in gone)
    for copy in deletable:
        if left <= size_limit:
            break
        if copy not in gone:
            gone.append(copy)
            left -= copy.size
    return sorted(gone, key=lambda copy: (copy.at, copy.name))
