"""Whose turn it is on a database: one daemon at a time supervises what is in it. Pure.

All times are unix time by the database's clock. A lease is of a *place*: a machine and a runtime
folder, on which a file lock lets one daemon live. So the daemon of the same place takes it over at
once: the one before is dead. Any other waits until the lease has expired, and gives up when it is
renewed meanwhile. Each taking counts the epoch up; who finds a higher one than its own has lost it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

RENEWALS: Final = 3  # in the margin: so many may fail before the lease expires early
OBSERVED: Final = 2.0  # renewals that must have been due before an expired lease is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds it, or wants to."""

    machine: str
    """The machine, derived from its machine-id."""
    runtime: str
    """The runtime folder on it."""
    host: str
    """The machine's name, for people."""
    pid: int
    instance: str
    """Different at each start."""

    def same_place(self, other: "Holder") -> bool:
        """Whether the lock in the runtime folder lets only one of the two live."""
        return (self.machine, self.runtime) == (other.machine, other.runtime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """For how long a lease is good without a renewal, and how often it is renewed; seconds."""

    lasts: float
    renewed_every: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The lease as the database has it."""

    epoch: int
    holder: Holder
    terms: Terms
    taken_at: float
    renewed_at: float
    released: bool
    """Its holder has ended in order: nobody has to wait."""
    now: float
    """When it was read."""

    @property
    def expires_at(self) -> float:
        """When it is over without another renewal."""
        return self.renewed_at + self.terms.lasts


@dataclass(frozen=True, slots=True)
class Watch:
    """What somebody who waits has seen of the lease first, and when."""

    epoch: int
    renewed_at: float
    since: float


@dataclass(frozen=True, slots=True)
class Take:
    """It is free for us."""


@dataclass(frozen=True, slots=True)
class Wait:
    """For ``seconds`` at most, looking again meanwhile."""

    watch: Watch
    seconds: float


@dataclass(frozen=True, slots=True)
class Held:
    """Its holder lives."""


Decision = Take | Wait | Held


def terms(*, orphan_grace: float, margin: float) -> Terms:
    """The lease outlasts the workers of a daemon that was killed: whoever takes it over must not
    meet them at WhatsApp. Both in seconds."""
    return Terms(lasts=orphan_grace + margin, renewed_every=margin / RENEWALS)


def claim(mine: Holder, found: Lease | None, watch: Watch | None) -> Decision:
    """What to do for the lease. ``watch``: of the look before, None: this is the first, or the
    database was away since then."""
    if found is None or found.released or found.holder.same_place(mine):
        return Take()
    if watch is not None and (watch.epoch, watch.renewed_at) != (found.epoch, found.renewed_at):
        return Held()
    if watch is None or found.now < watch.since:  # the database's clock was put back
        watch = Watch(found.epoch, found.renewed_at, found.now)
    # a holder whose database was away renews it as soon as it is back, and has the time for that;
    # and no step of the database's clock makes it last longer than it lasts
    observed = watch.since + OBSERVED * found.terms.renewed_every
    until = min(max(found.expires_at, observed), watch.since + found.terms.lasts)
    return Take() if found.now >= until else Wait(watch, until - found.now)


def is_lost(epoch: int, found: Lease | None) -> bool:
    """Whether somebody else has taken it since we did, which was ``epoch``. A lower epoch, or none,
    is that of a database that was restored from a copy."""
    return found is not None and found.epoch > epoch


def who(lease: Lease) -> str:
    """Its holder, for a person."""
    since = datetime.fromtimestamp(lease.taken_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    holder = lease.holder
    return f"the waguard on {holder.host} in {holder.runtime} (pid {holder.pid}) since {since}"


def waiting_words(lease: Lease, seconds: float) -> str:
    """Why nothing is supervised yet."""
    return (
        f"the database's lease is held by {who(lease)}: it is taken over in {seconds:.0f} s"
        " unless it is renewed"
    )


def held_words(lease: Lease) -> tuple[str, str]:
    """Why a start is given up, and what to do."""
    return (
        f"another instance holds the database's lease: {who(lease)}, which has renewed it meanwhile",
        "stop that one, or give this one another database",
    )


def lost_words(mine: Holder, lease: Lease) -> tuple[str, str]:
    """Why a daemon ends, and what to do."""
    message = f"another instance has taken the database's lease over: {who(lease)}"
    if lease.holder.same_place(mine):
        return (
            f"{message}; it has the same machine-id and runtime folder, as a cloned machine has",
            "stop one of them; for a clone empty /etc/machine-id and run systemd-machine-id-setup",
        )
    return message, "stop that one first if this one is to supervise"
