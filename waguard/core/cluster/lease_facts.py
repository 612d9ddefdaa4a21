"""What happens to this host's lease, and what is to be done about it: the facts and effects of ``host_lease``. Pure.

Each call (``Renew``, ``ReadOwn``, ``Sweep``) is answered exactly once, by one of the facts that it names.
"""

from msgspec import Struct

from waguard.core.cluster.records import Found

# ---- facts ----


class Renewed(Struct, frozen=True):
    """The answer to ``Renew``: it was written."""

    incarnation: str
    number: int
    revision: int


class Refused(Struct, frozen=True):
    """The answer to ``Renew``: what is there has another revision."""

    incarnation: str
    number: int


class NoAnswer(Struct, frozen=True):
    """``Renew`` or ``ReadOwn`` had no answer within its deadline: whether a write took place is unknown."""

    call: int


class OwnRead(Struct, frozen=True):
    """The answer to ``ReadOwn``: this host's lease from the engine itself; None: there is none."""

    call: int
    found: Found | None


class Swept(Struct, frozen=True):
    """The answer to ``Sweep``: nothing of an earlier incarnation runs on this host."""

    incarnation: str
    """The next one: a new random name, which ``<paths.runtime>/incarnation`` has already."""


class PeersSeen(Struct, frozen=True):
    """All leases, this host's included, as the watch or a reading has them. They may be late."""

    found: tuple[Found, ...]


class TimerDue(Struct, frozen=True):
    """The time of ``due_at`` has come. For ``session_owner`` also: what the leases show may have changed."""


LeaseFact = Renewed | Refused | NoAnswer | OwnRead | Swept | PeersSeen | TimerDue

# ---- effects ----


class Renew(Struct, frozen=True):
    """Write this host's record, alive, with this incarnation and number, where ``revision`` is there (0: where there is
    none). Answered with ``Renewed``, ``Refused`` or ``NoAnswer``."""

    incarnation: str
    number: int
    """The call has this number, too (``NoAnswer.call``)."""
    revision: int


class ReadOwn(Struct, frozen=True):
    """Read this host's record from the engine itself. Answered with ``OwnRead`` or ``NoAnswer``."""

    call: int


class Lend(Struct, frozen=True):
    """Every worker that is not being closed may live until ``until``, on the boot clock; later ones as well."""

    until: float


class CloseAll(Struct, frozen=True):
    """Close all owned sessions in order, and lend nothing further to what is being closed. What has not ended when its time
    is over is ended by the kernel. Their rows stay. ``session_owner`` waits for ``Ended`` of each; adopted workers whose
    sessions are not claimed yet close by themselves."""


class KillAll(Struct, frozen=True):
    """SIGKILL all workers and what they started: this incarnation is dead, and others may own its sessions."""


class Sweep(Struct, frozen=True):
    """End everything of earlier incarnations on this host, whoever started it, and wait until it has ended. Write a new
    incarnation to ``<paths.runtime>/incarnation``. Answered with ``Swept``; it is repeated until it works."""


class DeclareDead(Struct, frozen=True):
    """Write the record of ``found`` with ``alive = false``, where exactly this revision is there. Its answer does not
    matter: the watch shows it."""

    found: Found


class Exit(Struct, frozen=True):
    """Two machines have this name: end with exit code 3, after ``KillAll``. No further fact has an effect."""

    why: str


LeaseEffect = Renew | ReadOwn | Lend | CloseAll | KillAll | Sweep | DeclareDead | Exit
