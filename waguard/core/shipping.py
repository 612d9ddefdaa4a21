"""Credentials that hosts share through the database: which profile is the newest, what is shipped of it, and when. Pure.

A *claim* says which host has used a session's profile last, and since which epoch of the lease; the profile's own note
says the same. Only where both agree is the profile on this host's disk the newest.
"""

from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from waguard.core.profile.snapshots import STORED_AFTER

KIND: Final = "credentials_not_shared"
LIMIT: Final = 128 << 20  # bytes of one session's credentials
PIECE: Final = 512 << 10  # bytes of one part; a multiple of LevelDB's blocks
RATE: Final = 1 << 20  # bytes a second, of what has more than one piece
MESSAGES: Final = 20  # that may be missing in what is shipped
WITHIN: Final = 10.0  # s
AHEAD: Final = 120.0  # s of a profile's last change after the shipment: what a dead host had not shipped, and two clocks
LAST_ONES: Final = 4.0  # s for what is shipped at the end of the daemon
FORMAT: Final = 1


class Note(Struct, frozen=True):
    """Who has used a profile: a host, since this epoch of the lease."""

    host: str
    epoch: int


class Claim(Struct, frozen=True, kw_only=True):
    """What the database has of a session; ``sealed``: its ``Shipment``, None: nothing was shipped. ``orderly``: all of
    it, of a host that has ended the session in order."""

    note: Note
    pairing: str | None = None
    sealed: bytes | None = None
    sealed_epoch: int = 0
    shipped_at: float = 0.0
    """Unix time."""
    orderly: bool = False


class Part(Struct, frozen=True, kw_only=True):
    """A piece of a file, as the database has it."""

    file: str
    number: int
    epoch: int
    sealed: bytes


class ShippedFile(Struct, frozen=True, kw_only=True):
    """A file of the credentials: ``id`` is that of its parts, the others are of its content."""

    id: str
    size: int
    sha256: str
    parts: int


class Shipment(Struct, frozen=True, kw_only=True):
    """What belongs together, as a crash at that moment would have left it: by the path below the profile."""

    format: int
    files: dict[str, ShippedFile]
    paired_at: float | None
    """Unix time."""
    ended: int = 0
    """The epoch of the lease in which the session ended in order, and this is all of it; 0: it did not."""


class Local(Struct, frozen=True, kw_only=True):
    """A profile on this host: whether Chromium has stored something in it, and whether it is paired."""

    note: Note | None
    stored: bool
    paired: bool
    written_at: float = 0.0
    """Unix time of the newest of its credentials, by the clock of the host that wrote them."""


class Use(Struct, frozen=True):
    """What is there is the newest, or nothing better is known."""


class Scan(Struct, frozen=True):
    """There are no credentials, here or shipped."""


class Retire(Struct, frozen=True):
    """Quarantine what is there: another host has used the session since, and has shipped nothing."""


class LayDown(Struct, frozen=True):
    """Put what was shipped in its place. ``rolled_back``: the host before may have used newer credentials."""

    rolled_back: bool


class Newer(Struct, frozen=True):
    """What is there may be newer than what anybody has shared: a person decides."""


Decision = Use | Scan | Retire | LayDown | Newer
OUTDATED: Final = "another host has used the session since"
NEWER: Final = "this host's profile is newer than what is shared"


def decide(claim: Claim | None, local: Local, host: str) -> Decision:
    """What a session is started with on ``host``."""
    if claim is None:
        return Use()
    ours = claim.note.host == host
    # one without a note was put in place by somebody who writes none, on the host that used the session last
    if ours and local.stored and (local.note is None or _is_ours_since(claim, local.note)):
        return Use()
    # the last host's own profile, which a person has copied: both times are of that host's clock
    is_copy = local.note == claim.note and local.written_at >= claim.shipped_at
    is_newer = local.stored and local.paired and _is_newer(claim, local)
    if claim.sealed is not None and (ours or not is_copy):
        return Newer() if is_newer else LayDown(rolled_back=not claim.orderly)
    if ours or is_copy:
        return Use()
    if not local.paired:
        return Scan()
    return Newer() if is_newer else Retire()


def _is_ours_since(claim: Claim, note: Note) -> bool:
    """Whether its host has used it last, also where the database was away before that use was written there."""
    return note.host == claim.note.host and note.epoch >= claim.note.epoch


def _is_newer(claim: Claim, local: Local) -> bool:
    """A host that shared nothing meanwhile, or a database that came back from a copy."""
    if local.note is not None and local.note.epoch > claim.note.epoch:
        return True
    return bool(claim.shipped_at) and local.written_at > claim.shipped_at + AHEAD


def used_by(host: str, epoch: int, before: Claim | None) -> Note:
    """The note that ``host`` uses a profile from now on, in its ``epoch``. Leases and owners of sessions count apart, and a
    session that is made again counts from 1: so a note has no lower number than the claim before, else an older profile
    would seem to be the newer one."""
    if before is None:
        return Note(host, epoch)
    return Note(host, max(epoch, before.note.epoch + (before.note.host != host)))


def newer_words(claim: Claim, local: Local) -> str:
    """Why nothing is begun, with both times; where these say nothing, with both uses."""
    shared = f"was shared at {_time(claim.shipped_at)}" if claim.sealed else "is not shared"
    words = f"{NEWER}: it was written at {_time(local.written_at)}, the session {shared}"
    note, known = local.note, claim.note
    if note is None or note.epoch <= known.epoch:
        return words
    return (
        f"{words}; {note.host} used it in epoch {note.epoch}, of which the database knows nothing: the last use"
        f" there is by {known.host} in epoch {known.epoch}, as after an older copy of it was put back"
    )


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def due_in(changes: int, first_ago: float | None, last_ago: float | None) -> float | None:
    """Seconds until the next shipment, after so many ``changes`` since the last one; None: nothing is due.

    ``first_ago`` is the first of these, ``last_ago`` the last one of all, None: what Chromium writes late after it
    is shipped, too.
    """
    if changes >= MESSAGES:
        return 0.0
    waits = [] if first_ago is None else [WITHIN - first_ago]
    if last_ago is not None:
        waits.append(STORED_AFTER - last_ago)
    return max(0.0, min(waits)) if waits else None


def not_shared_words(reasons: dict[str, str]) -> str | None:
    """Which sessions no other host could take over, and why; None: there is none."""
    if not reasons:
        return None
    named = "; ".join(f"{session}: {why}" for session, why in sorted(reasons.items()))
    return f"another host could not take these sessions over as they are: {named}"


def about(session: str, epoch: int, file: str, number: int) -> bytes:
    """What a sealed piece is bound to; the file "" is the ``Shipment``."""
    return "\n".join((session, str(epoch), file, str(number))).encode()
