"""The lease of a database: one daemon at a time supervises the sessions in it. Pure.

All times are unix time by the database's clock. Who waits also counts by a clock of its own: a step of the database's
between two readings ends no lease early; one before the first reading, or while the database is away, may. A lease belongs
to a *place*: a machine and a runtime folder, where a file lock lets only one daemon live. The next daemon of the same place
takes it over at once, because the one before is dead. Any other daemon waits until the lease has expired, and gives up when
it is renewed meanwhile. Each new holder increments the epoch; a daemon that finds a higher epoch than its own has lost the
lease.

A cluster is a holder too: its hosts renew one lease, in one epoch. So a daemon without a cluster waits, or gives up, while
any host of it lives, and no host of it begins while such a daemon lives. Which host may do what, other leases say.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

RENEWALS: Final = 3  # in the margin: this many may fail before the lease expires
LEND_MARGIN: Final = 5.0  # s before the lease's end at which its workers are gone
OBSERVED: Final = 2.0  # renewals that must have been due before an expired lease is taken
CLUSTER: Final = "cluster"
"""The machine of a lease that the hosts of a cluster hold together: no machine's name is like this."""
STANDBY_REMEDY: Final = "its next start makes it the standby; systemd starts it again by itself"


class Holder(Struct, frozen=True, kw_only=True):
    """The daemon that holds the lease, or wants it."""

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

    @property
    def is_cluster(self) -> bool:
        """Whether several daemons hold it together."""
        return self.machine == CLUSTER

    @property
    def name(self) -> str:
        """The holder, in words."""
        if self.is_cluster:
            return f"the cluster {self.runtime}"
        return f"the waguard on {self.host} in {self.runtime}"


class Terms(Struct, frozen=True, kw_only=True):
    """How long a lease is valid without a renewal, and how often it is renewed; seconds."""

    lasts: float
    renewed_every: float


class Lease(Struct, frozen=True, kw_only=True):
    """The lease as the database has it."""

    epoch: int
    holder: Holder
    terms: Terms
    taken_at: float
    renewed_at: float
    released: bool
    """The holder has ended in order: nobody has to wait."""
    now: float
    """When it was read."""

    @property
    def expires_at(self) -> float:
        """When it is over without another renewal."""
        return self.renewed_at + self.terms.lasts


class Watch(Struct, frozen=True):
    """The lease as a waiting daemon first saw it, and when that was."""

    epoch: int
    renewed_at: float
    since: float
    here: float
    """When that was, by the waiting daemon's own clock."""
    renewed: bool = False
    """Whether it had just been renewed then: a reading before was of another renewal."""


class Take(Struct, frozen=True):
    """The lease is free: take it."""


class Wait(Struct, frozen=True):
    """Wait for ``seconds`` at most, and read the lease again meanwhile."""

    watch: Watch
    seconds: float


class Held(Struct, frozen=True):
    """The holder of the lease lives. Who waits all the same reads it again."""

    watch: Watch


Decision = Take | Wait | Held


class HeldElsewhere(Struct, frozen=True, kw_only=True):
    """What a standby knows of the daemon that it waits for."""

    holder: Holder
    since: float
    """When that took the lease."""
    renewed_ago: float | None
    """Seconds; None: unknown, for the database does not answer."""


def terms(*, orphan_grace: float, margin: float) -> Terms:
    """The terms of a lease that outlasts the workers of a daemon that was killed: two workers of one session must
    not run at the same time. Both in seconds."""
    return Terms(lasts=orphan_grace + margin, renewed_every=margin / RENEWALS)


def claim(
    mine: Holder,
    found: Lease | None,
    watch: Watch | None,
    clock: float,
    *,
    here: Holder | None = None,
) -> Decision:
    """What to do about the lease. ``watch``: from the reading before; None: this is the first reading, or the
    database was away since then. ``clock``: seconds by this daemon's own clock, now. ``here``: this daemon, where
    ``mine`` is its cluster."""
    if found is None or found.released or is_next(mine, found.holder, here=here):
        return Take()
    if watch is not None and (watch.epoch, watch.renewed_at) != (found.epoch, found.renewed_at):
        return Held(Watch(found.epoch, found.renewed_at, found.now, clock, renewed=True))
    if watch is None or found.now < watch.since:  # the database's clock was put back
        watch = Watch(found.epoch, found.renewed_at, found.now, clock)
    # one that was seen renewed lasts for all of its time by the own clock. After an outage of the database its holder has time
    # to renew it; a step of the database's clock does not make it last longer than its terms say
    observed = watch.since + OBSERVED * found.terms.renewed_every
    until = watch.since + found.terms.lasts
    if not watch.renewed:
        until = min(max(found.expires_at, observed), until)
    now = min(found.now, watch.since + clock - watch.here)  # the database's clock may be put ahead
    return Take() if now >= until else Wait(watch, until - now)


def of_cluster(name: str) -> Holder:
    """The hosts of a cluster as one holder. ``name`` is the same on all of them, and of no other cluster."""
    return Holder(machine=CLUSTER, runtime=name, host=CLUSTER, pid=0, instance=name)


def joins(mine: Holder, found: Lease | None) -> bool:
    """Whether the lease is this daemon's cluster's already."""
    if found is None or found.released:
        return False
    return mine.is_cluster and found.holder.same_place(mine)


def next_epoch(mine: Holder, found: Lease | None, above: int) -> int:
    """The epoch of a lease that is acquired: a new holder's is higher than any, a cluster's stays."""
    last = max(found.epoch if found else 0, above)
    return last if joins(mine, found) else last + 1


def is_next(mine: Holder, before: Holder, *, here: Holder | None = None) -> bool:
    """Whether the holder before is dead, or this daemon's cluster. ``here`` as ``claim`` has it."""
    return before.same_place(mine) or (here is not None and before.same_place(here))


def lent_until(renewed_at: float, terms: Terms) -> float:
    """Until when the holder's workers may live, on the clock of ``renewed_at``: when the last renewal that counted was
    begun. The database's lease began again at that time at the earliest."""
    return renewed_at + terms.lasts - LEND_MARGIN


def is_short(until: float, renewed_at: float, now: float) -> bool:
    """Whether so little of what was lent is left that a worker is not worth starting."""
    return until - now < (until - renewed_at) / 2


def is_lost(epoch: int, found: Lease | None) -> bool:
    """Whether another daemon has taken the lease since this one did at ``epoch``. A lower epoch, or no lease,
    means that the database was restored from a copy."""
    return found is not None and found.epoch > epoch


def who(lease: Lease) -> str:
    """The holder of the lease, in words."""
    since = datetime.fromtimestamp(lease.taken_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    holder = lease.holder
    pid = "" if holder.is_cluster else f" (pid {holder.pid})"
    return f"{holder.name}{pid} since {since}"


def waiting_words(lease: Lease, seconds: float) -> str:
    """Why nothing is supervised yet."""
    return (
        f"the database's lease is held by {who(lease)}: it is taken over in {seconds:.0f} s"
        " unless it is renewed"
    )


def standby_words(lease: Lease) -> str:
    """Why nothing is supervised from here, as it is meant."""
    return (
        f"standby: {who(lease)} holds the database's lease; this one takes over when that is released or not"
        " renewed any more"
    )


def held_elsewhere(found: Lease, *, read_ago: float, answers: bool) -> HeldElsewhere:
    """The lease as it was read ``read_ago`` seconds ago. ``answers``: whether the database does, now."""
    renewed_ago = max(0.0, found.now - found.renewed_at) + read_ago
    return HeldElsewhere(
        holder=found.holder,
        since=found.taken_at,
        renewed_ago=renewed_ago if answers else None,
    )


def held_elsewhere_words(it: HeldElsewhere) -> str:
    """Why this daemon supervises nothing; the text stays while nothing changes but the time."""
    line = f"standby: waiting for the lease of {it.holder.host}"
    if it.renewed_ago is not None:
        return line
    return f"{line}; the database does not answer, so nobody takes over"


def unprotected_words(sessions: Sequence[str]) -> str | None:
    """Whose workers do not end with the lease; None: all do."""
    if not sessions:
        return None
    return f"workers of an earlier version do not end with the lease, until they are replaced: {', '.join(sessions)}"


def left_behind_words(lost: Lease) -> str:
    """What a lost holder may have left on its host."""
    at = datetime.fromtimestamp(lost.renewed_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"{lost.holder.name} lost the database's lease, which it renewed last at {at}:"
        " messages that its sessions received from shortly before then until they ended were acknowledged to"
        " WhatsApp, and may not be delivered"
    )


def held_words(lease: Lease) -> tuple[str, str]:
    """Why a start is given up, and what to do."""
    return (
        f"another instance holds the database's lease: {who(lease)}, which renewed it",
        "stop that instance, or configure another database for this one",
    )


def lost_words(mine: Holder, lease: Lease) -> tuple[str, str]:
    """Why a daemon ends, and what to do."""
    message = f"another instance has taken the database's lease over: {who(lease)}"
    if lease.holder.same_place(mine):
        return (
            f"{message}; it has the same machine-id and runtime folder, as a cloned machine has",
            "stop one of them; for a clone empty /etc/machine-id and run systemd-machine-id-setup",
        )
    return message, "stop that instance first if this one is to supervise the sessions"
