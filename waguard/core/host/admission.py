"""Which sessions may start now, and why each of the others waits. Pure.

A starting Chromium takes a core for some seconds, and its memory until it ends. So only a few start at
the same time, and none where memory or pids are short. A value that could not be read delays nobody:
unknown is not short.

The host may lack for a while what all sessions need: Chromium's executable during an upgrade, the disk with
the profiles before it is mounted. That is no session's fault: all wait, and no restart is spent.
"""

from collections.abc import Iterable
from enum import StrEnum, auto
from typing import Final

from msgspec import Struct, field

from waguard.core.blame import Failure
from waguard.core.host.evidence import BROWSER_HANGS, NO_SANDBOX

# s in which the memory of a session's last browser is still free for its next one
JUST_ENDED: Final = 30.0
TRIAL: Final = 10.0  # s between two tries of a Chromium that starts on no profile
PIDS: Final = 150  # processes and threads of a worker and its Chromium with one page, and a margin


class Limits(Struct, frozen=True, kw_only=True):
    """Memory in bytes, pressure in percent."""

    places: int
    session_memory: int
    """What one session is expected to use."""
    memory_reserve: int
    """What stays free for everything else."""
    memory_pressure: float


class Reading(Struct, frozen=True, kw_only=True):
    """What the host has left; None where that could not be read."""

    memory: int | None = None
    """Bytes."""
    pressure: float | None = None
    """Percent of the last 10 s in which something waited for memory."""
    pids: int | None = None
    disk: Failure | None = None
    """Why nothing can be stored where a session writes."""
    executable: str | None = None
    """Why Chromium cannot be executed, and the remedy; None: it probably can."""
    unreadable: str | None = None
    """Why the folder of all profiles cannot be read; None: it can, or it does not exist."""
    lease: str | None = None
    """Why no worker may start although the host has what it needs: the database's lease is running out."""
    empty: str | None = None
    """In words, that the folder of all profiles is missing or has none in it; None: it has some."""
    missing: bool = False
    """The executable does not exist."""


class Broken(Struct, frozen=True):
    """Chromium does not start, not even on a new profile."""

    why: Failure
    tried_at: float
    """Monotonic time of the last try, or of its failure."""
    trial: str | None = None
    """The session that tries it now, or tried it last."""

    def at(self, now: float) -> "Trial":
        """What it means for a start at ``now``, in monotonic time."""
        return Trial(self.why, now - self.tried_at >= TRIAL)


class Trial(Struct, frozen=True):
    """Chromium does not start; ``due``: one session may try it again now."""

    why: Failure
    due: bool


class Candidate(Struct, frozen=True, kw_only=True):
    """A session that is to start."""

    session: str
    priority: int = 0
    active: float = 0.0
    """Unix time of its last activity; 0: never."""
    asked: bool = True
    """A person or the application requested the start; False: a restore, or a restart after a failure."""
    ended: float | None = None
    """Seconds since its last browser ended, whose memory is still free. None also where the kernel may
    have killed that browser because of its memory."""
    planned: bool = False
    """The session's worker runs meanwhile, and neither a person nor a dead link requested its replacement."""
    new: bool = False
    """The session waits for its first scan, or for one after an unlink: it has no profile to miss."""


class Cause(StrEnum):
    """What a session waits for."""

    PLACE = auto()
    MEMORY = auto()
    PRESSURE = auto()
    PIDS = auto()
    FLEET = auto()
    DISK = auto()
    EXECUTABLE = auto()
    BROWSER_HANGS = auto()
    SANDBOX = auto()
    SESSIONS_FOLDER = auto()
    LEASE = auto()
    """With a standby, workers end with the lease."""
    TURN = auto()
    """Another one's turn: of the sessions that spent their restarts one is tried at a time."""
    WHATSAPP = auto()
    """WhatsApp serves no page: one session tries for all."""


_OF_BROWSER: Final = {NO_SANDBOX: Cause.SANDBOX, BROWSER_HANGS: Cause.BROWSER_HANGS}


class Wait(Struct, frozen=True):
    """Why a session waits. ``words`` have numbers in them, and may change while the cause stays."""

    cause: Cause
    words: str
    why: Failure | None = None
    """What the host lacks, where that is more than the cause."""
    ahead: bool = False
    """Only a place is missing: the worker may be started, its Chromium waits."""


class Decision(Struct, frozen=True):
    """``admitted``: who may start, in order; ``waiting``: why each of the others waits."""

    admitted: tuple[str, ...] = ()
    waiting: dict[str, Wait] = field(default_factory=dict)


def order(candidate: Candidate) -> tuple[bool, int, float, str]:
    """Sort key: planned replacements last, then priority, then who was active last."""
    return (candidate.planned, -candidate.priority, -candidate.active, candidate.session)


def sessions_folder(host: Reading, *, paired: bool) -> str | None:
    """Why it is unknown which profiles there are; None: it is known.

    ``paired``: whether any session was ever paired. A folder without any profile is then probably not
    mounted, and a later mount would hide a profile that is created in it. Only a new session that somebody
    asks for starts all the same: its code may be what the person waits for.
    """
    return host.unreadable or (host.empty if paired else None)


def admit(
    limits: Limits,
    host: Reading,
    waiting: Iterable[Candidate],
    *,
    starting: int,
    fleet: str | None = None,
    paired: bool = False,
    trial: Trial | None = None,
) -> Decision:
    """Decide about every session that waits.

    ``starting``: how many hold a start slot; their memory is not used yet. ``fleet``: why the fleet
    breaker admits only requested starts; None: it is closed. ``paired``: as for ``sessions_folder``.
    ``trial``: Chromium does not start, and at most one session tries it.
    """
    admitted: list[str] = []
    waits: dict[str, Wait] = {}
    for candidate in sorted(waiting, key=order):
        lost = _lost(host, candidate, paired=paired)
        wait = _held_back(limits, host, candidate, starting + len(admitted), fleet, lost)
        if wait is None and trial and (admitted or not trial.due):
            wait = Wait(_OF_BROWSER.get(trial.why.reason, Cause.EXECUTABLE), str(trial.why))
        if wait is None:
            admitted.append(candidate.session)
        else:
            waits[candidate.session] = wait
    return Decision(tuple(admitted), waits)


def _lost(host: Reading, candidate: Candidate, *, paired: bool) -> Wait | None:
    """Why it cannot start, whatever is left; None: it can."""
    if host.lease:
        return Wait(Cause.LEASE, host.lease)
    begins = candidate.new and candidate.asked and not (host.missing or host.unreadable)
    if (why := sessions_folder(host, paired=paired)) and not begins:
        return Wait(Cause.SESSIONS_FOLDER, why)
    if host.disk:
        return Wait(Cause.DISK, str(host.disk), host.disk)
    return Wait(Cause.EXECUTABLE, host.executable) if host.executable else None


def _held_back(
    limits: Limits,
    host: Reading,
    candidate: Candidate,
    starting: int,
    fleet: str | None,
    lost: Wait | None,
) -> Wait | None:
    if fleet is not None and not candidate.asked:
        return Wait(Cause.FLEET, fleet)
    lacking = lost or _short(limits, host, candidate, starting)
    if starting >= limits.places:
        words = f"{starting} sessions are starting, the limit is {limits.places}"
        return Wait(Cause.PLACE, words, ahead=lacking is None)
    return lacking


def _short(limits: Limits, host: Reading, candidate: Candidate, starting: int) -> Wait | None:
    if candidate.ended is not None and candidate.ended <= JUST_ENDED:
        return None  # it uses what its last browser had
    expected = starting * limits.session_memory
    if host.memory is not None and (
        host.memory < expected + limits.session_memory + limits.memory_reserve
    ):
        others = f", {starting} that are starting as much each" if starting else ""
        return Wait(
            Cause.MEMORY,
            f"memory: {_mb(host.memory)} available; a session needs about "
            f"{_mb(limits.session_memory)}{others}, and {_mb(limits.memory_reserve)} stay free",
        )
    if host.pressure is not None and host.pressure > limits.memory_pressure:
        return Wait(
            Cause.PRESSURE,
            f"memory pressure is {host.pressure:.0f} %; none starts above {limits.memory_pressure:g} %",
        )
    if host.pids is not None and host.pids < (starting + 1) * PIDS:
        return Wait(Cause.PIDS, f"the host has {host.pids} pids left; a session needs about {PIDS}")
    return None


def _mb(size: int) -> str:
    return f"{size >> 20} MB"
