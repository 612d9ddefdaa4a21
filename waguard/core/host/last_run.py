"""How the daemon's last run ended, and what the next one found of it. Pure.

A run that ends in order records that itself. Any other run was killed (by a person, by the kernel because
memory was missing, by the watchdog: this cannot be distinguished) or crashed, between the moment when it was last
seen alive and the moment when the next run began.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from waguard.core.replace import replace

# s; the moment of a death is known to within this, unless the daemon hung before
SEEN_EVERY: Final = 5.0
AHEAD: Final = 60.0  # s; after a correction of the clock a time in the file may be in the future
UNREPORTED: Final = 16  # deaths that are not in the database yet


class Death(Struct, frozen=True, kw_only=True):
    """A run that did not end in order. Times are unix times, ``start_time`` clock ticks after boot."""

    pid: int
    start_time: int
    boot: str
    began: float
    last_seen: float
    """Where ``error`` is known: when it ended."""
    next_began: float
    rebooted: bool
    stopping: str | None = None
    error: str | None = None


class Run(Struct, frozen=True, kw_only=True):
    """One run, as ``run.json`` has it; ``boot`` changes with each boot of the machine."""

    pid: int
    start_time: int
    boot: str
    began: float
    stopping: str | None = None
    """Why it is stopping."""
    ended: bool = False
    """The run ended in order, unless there is an ``error``."""
    error: str | None = None
    unreported: tuple[Death, ...] = ()
    """Earlier deaths that are not in the audit log yet, the oldest first."""


class Restoration(Struct, frozen=True):
    """What became of an earlier daemon's workers, in numbers."""

    adopted: int = 0
    replaced: int = 0
    ended: int = 0
    """Ended, and their sessions have no worker now: they are not wanted up, or wait for their start."""
    lost: int = 0
    """They were gone, and had left their records; after a reboot there may be no records."""
    started: int = 0
    """Sessions without a living worker that have one now."""


def impossible(run: Run, *, last_seen: float, now: float) -> str | None:
    """Why the file cannot be believed, in words; None: it can."""
    times = [run.began, last_seen]
    for death in run.unreported:
        times += (death.began, death.last_seen, death.next_began)
    if all(0 <= at <= now + AHEAD for at in times):
        return None
    return "it is dated in the future, or before 1970"


def deaths(run: Run, *, last_seen: float, boot: str, now: float) -> tuple[Death, ...]:
    """The deaths to report: those that the last run could not report, and its own where it did not end in order.

    ``boot`` and ``now`` (unix time) are those of the run that begins.
    """
    if run.ended and run.error is None:
        return run.unreported
    died = Death(
        pid=run.pid,
        start_time=run.start_time,
        boot=run.boot,
        began=run.began,
        last_seen=min(last_seen, now),
        next_began=now,
        rebooted=run.boot != boot,
        stopping=run.stopping,
        error=run.error,
    )
    return (*run.unreported, died)[-UNREPORTED:]


def began_after(run: Run, *, last_seen: float, boot: str, now: float) -> str | None:
    """What a start logs about an earlier run that ended in order; None: it did not."""
    if not run.ended or run.error is not None:
        return None
    at, _ = _moments(last_seen, now)
    return (
        f"waguard (pid {run.pid}) had ended in order at {at} UTC ({run.stopping or 'by itself'});"
        f" {_machine(rebooted=run.boot != boot)}"
    )


def account(death: Death) -> str:
    """When and how it died, as far as that can be known."""
    seen, began = _moments(death.last_seen, death.next_began)
    who, machine = f"waguard (pid {death.pid})", _machine(rebooted=death.rebooted)
    if death.error is not None:
        return (
            f"{who} ended by an error at {seen} UTC: {death.error}; the next one began at {began} UTC;"
            f" {machine}"
        )
    # it may have been killed before the reboot, and nothing started it again
    how = "did not end in order" if death.rebooted else "was killed or crashed"
    busy = f" while it was stopping ({death.stopping})" if death.stopping else ""
    return (
        f"{who} {how} between {seen} UTC, when it was last seen alive{busy}, and {began} UTC,"
        f" when the next one began; {machine}"
    )


def evidence(death: Death) -> dict[str, Any]:
    """For the audit log, without unknown values."""
    return {name: value for name, value in asdict(death).items() if value is not None}


def restoration(
    living: Collection[tuple[str, int]], gone: Collection[str], running: Mapping[str, int]
) -> Restoration:
    """``living``: session and pid of the earlier daemon's living workers; ``gone``: sessions of which only a
    record was left; ``running``: after the restore, the pid of each session's worker."""
    adopted = sum(running.get(session) == pid for session, pid in living)
    served = {session for session, _ in living}
    wanted = sum(session in running for session in served)
    return Restoration(
        adopted=adopted,
        replaced=wanted - adopted,
        ended=len(living) - wanted,
        lost=len(set(gone) - served),
        started=len(set(running) - served),
    )


def result(restored: Restoration) -> str:
    """The numbers that are not zero, in words."""
    counts = [
        (restored.adopted, "worker", "adopted"),
        (restored.replaced, "worker", "replaced"),
        (restored.ended, "worker", "ended"),
        (restored.lost, "worker", "gone already"),
        (restored.started, "session", "started"),
    ]
    parts = [_counted(count, what, done) for count, what, done in counts if count]
    return ", ".join(parts) or "no worker was left, and none was started"


def reported(run: Run) -> Run:
    """The run once all its deaths are in the audit log."""
    return replace(run, unreported=())


def _counted(count: int, what: str, done: str) -> str:
    return f"{count} {what} was {done}" if count == 1 else f"{count} {what}s were {done}"


def _machine(*, rebooted: bool) -> str:
    return "the machine was rebooted in between" if rebooted else "the machine was not rebooted"


def _moments(first: float, second: float) -> tuple[str, str]:
    """Both moments in words; with the days where these differ."""
    one, other = datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(second, UTC)
    form = "%H:%M:%S" if one.date() == other.date() else "%Y-%m-%d %H:%M:%S"
    return one.strftime(form), other.strftime(form)
