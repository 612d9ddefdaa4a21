"""Workers live by a lease: each is reported until when, at each renewal that counts."""

from collections.abc import Callable

from waguard.core.lease import unprotected_words
from waguard.supervision.supervisor import Supervisor


def lend(
    supervisor: Supervisor, *, lends: bool, closes: Callable[[str], bool] = lambda _: False
) -> None:
    """``lends``: they end with the lease. What ``closes`` is lent nothing further."""
    sessions = [it for it in supervisor.registry.by_id if not closes(it.name)]
    for session in sessions:
        session.runner.lend()
    names = [it.name for it in sessions if lends and it.runner.is_unprotected]
    supervisor.fleet.outages.update("workers_unprotected", unprotected_words(names))
