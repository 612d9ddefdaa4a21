"""What is done with a profile before Chromium starts on it. Pure.

Actions are performed in their order. The last one says how it ends: ``Use`` and ``ShowQr`` start Chromium,
``Hold`` does not. Nothing is deleted: a damaged profile goes to the quarantine. Each snapshot is tried once, until
the session has been connected again.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from waguard.core.profile.snapshots import Snapshot, age_order
from waguard.core.replace import replace

# ---- what is found ----


class Healthy(Struct, frozen=True):
    """The profile can be used.

    ``torn``: databases in which a crash left half a record; that must be cut off before the next start.
    """

    torn: tuple[str, ...] = ()


class Missing(Struct, frozen=True):
    """Chromium has stored nothing in it."""


class Emptied(Struct, frozen=True):
    """The profile was removed under a living browser, which created some of its files again: it has no credentials."""


class Damaged(Struct, frozen=True):
    """Chromium cannot use it, or would discard stored data.

    ``whole``: the credentials in it can be read; only other data is damaged.
    """

    why: str
    whole: bool = False


class CredentialsLost(Struct, frozen=True):
    """The session was paired, and does not connect any more, without a logout."""

    why: str


class NoRoom(Struct, frozen=True):
    """The disk is full: nothing can be moved or restored. The profile may be healthy."""

    why: str


Finding = Healthy | Missing | Emptied | Damaged | CredentialsLost | NoRoom


class Free(Struct, frozen=True):
    """No ``SingletonLock``."""


class DeadOwner(Struct, frozen=True):
    """``SingletonLock`` names a process that is not, or not any more, a browser of this profile."""

    pid: int


class LivingOwner(Struct, frozen=True):
    """A browser of this profile runs, or may run."""

    pid: int


class OtherHost(Struct, frozen=True):
    """``SingletonLock`` names a process of another host: the container was moved."""

    host: str
    pid: int


Owner = Free | DeadOwner | LivingOwner | OtherHost


class Found(Struct, frozen=True, kw_only=True):
    """All that is known before a start. ``locked``: this worker holds waguard's lock on the profile."""

    finding: Finding
    owner: Owner = Free()
    locked: bool = True
    pairing: str | None = None
    """The owner token in the profile; None: it was never connected, or it was logged out."""
    logged_out: bool = False
    """Whether the session was logged out since it was connected: no snapshot of it connects any more."""
    snapshots: tuple[Snapshot, ...] = ()
    snapshots_away: str | None = None
    """Why no snapshot can be seen now, although there may be some; None: all can."""
    tried: frozenset[str] = frozenset()
    """Snapshots (and ``CARRIED``) that were restored since the session was last connected."""


CARRIED: Final = "carried"


# ---- what is done ----


class Use(Struct, frozen=True):
    """Start Chromium on it."""


class RemoveStaleLock(Struct, frozen=True):
    """Remove ``SingletonLock`` and its two companions."""

    why: str


class CutTornTails(Struct, frozen=True):
    """Cut off the half record that a crash left in these databases."""

    databases: tuple[str, ...]


class Quarantine(Struct, frozen=True):
    """Quarantine the profile with this note; a new, empty one replaces it."""

    why: str


class CarryOver(Struct, frozen=True):
    """Copy the credentials from the profile that was just quarantined."""


class RestoreSnapshot(Struct, frozen=True):
    """Restore this snapshot's credentials."""

    id: str


class ShowQr(Struct, frozen=True):
    """Start Chromium, and expect that a person has to pair it again."""

    why: str


class Hold(Struct, frozen=True):
    """Do not start: the cause has to end first, by a person or by itself."""

    why: str


Action = (
    Use | RemoveStaleLock | CutTornTails | Quarantine | CarryOver | RestoreSnapshot | ShowQr | Hold
)


def in_words(action: Action) -> str | None:
    """What was done, for the log and `waguard why`; None: nothing worth reporting."""
    match action:
        case Use():
            return None
        case RemoveStaleLock(why):
            return f"Chromium's stale lock was removed ({why})"
        case CutTornTails(databases):
            return f"an incomplete record from a crash was truncated ({', '.join(databases)})"
        case Quarantine(why):
            return f"the profile was quarantined ({why})"
        case CarryOver():
            return "its credentials were carried over into a new profile"
        case RestoreSnapshot(id_):
            return f"the snapshot {id_} was restored"
        case ShowQr(why):
            return f"a QR code has to be scanned ({why})"
        case Hold(why):
            return f"it was not started ({why})"


def is_severe(actions: Iterable[Action]) -> bool:
    """Whether the actions are more than the tidying up after a crash."""
    return any(isinstance(action, Quarantine | RestoreSnapshot | ShowQr) for action in actions)


def decide(found: Found) -> tuple[Action, ...]:
    """What to do at a start."""
    match found.owner:
        case LivingOwner(pid):
            return (Hold(f"Chromium {pid} still uses the profile"),)
        case _ if not found.locked:
            return (Hold("this process does not hold the profile's lock"),)
        case DeadOwner(pid):
            return (RemoveStaleLock(f"its owner {pid} no longer runs"), *_unlocked(found))
        case OtherHost(host, pid):
            return (RemoveStaleLock(f"its owner {pid} was on {host}"), *_unlocked(found))
        case Free():
            return _unlocked(found)


def _unlocked(found: Found) -> tuple[Action, ...]:
    actions = _by_finding(found)
    if isinstance(actions[-1], ShowQr) and (why := _unread(found)):
        return (Hold(why),)  # a code would be scanned for nothing, and its pairing given up
    return actions


def _by_finding(found: Found) -> tuple[Action, ...]:
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
            # without a snapshot the quarantine would not help
            return (Quarantine(why), *restored) if restored else (ShowQr(why),)


def _restored(found: Found) -> tuple[Action, ...]:
    """The restore of a snapshot; empty: none may be tried."""
    candidate = _candidate(found)
    return (RestoreSnapshot(candidate.id), Use()) if candidate else ()


def _candidate(found: Found) -> Snapshot | None:
    """The newest snapshot that may be tried: never one of another pairing where there is a profile."""
    if found.logged_out:
        return None
    gone = isinstance(found.finding, Missing | Emptied)  # and the token with it
    fitting = [
        snapshot
        for snapshot in found.snapshots
        if snapshot.intact
        and snapshot.id not in found.tried
        and (snapshot.pairing == found.pairing or (gone and found.pairing is None))
    ]
    return max(fitting, key=age_order, default=None)


def _unread(found: Found) -> str | None:
    """Why a snapshot that might be restored cannot be read now; None: there is none."""
    own = found.pairing or ""
    hopes = [
        replace(snapshot, intact=True, pairing=snapshot.pairing or own)
        for snapshot in found.snapshots
        if snapshot.unread
    ]
    if found.snapshots_away:
        hopes.append(Snapshot(id="", taken_at=0.0, pairing=own, unread=found.snapshots_away))
    hope = _candidate(replace(found, snapshots=tuple(hopes)))
    return hope.unread if hope else None
