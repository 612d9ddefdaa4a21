"""What people hear of several hosts: events of the log and conditions, each once."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from loguru import logger

from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.records import Found, Owner
from waguard.supervision.outages import Outages

FAILURES: Final = 2  # calls in a row: one is lost where etcd elects another leader
ENGINE_AWAY: Final = "engine_away"
WITHOUT_LEASE: Final = "host_without_lease"
NO_LEASE: Final = (
    "this host's lease is not renewed: its sessions are closed, and start again with it"
)
STARTS: Final = 3.0  # s in which a daemon that begins has its lease, where nothing is wrong


class ClusterReports:
    """Fills ``host_duties.HostReports`` and ``owner_keeper.OwnerReports``. ``outages`` is asked for at each use: it is
    made later."""

    def __init__(
        self, outages: Callable[[], Outages], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._outages = outages
        self._failures = 0
        self.failures = 0
        """Calls of the engine without an answer since the start."""
        self.takeovers = 0
        """Sessions that were claimed from other hosts, which were dead."""
        self._host = ""
        self._incarnation: str | None = None
        self._was_held = False
        self._clock = clock
        self._began: float | None = None

    def answered(self, why_not: str | None) -> None:
        """See ``host_duties.HostReports``."""
        self._failures = self._failures + 1 if why_not else 0
        self.failures += bool(why_not)
        if self._failures == 0 or self._failures >= FAILURES:
            self._outages().update(ENGINE_AWAY, why_not)

    def changed(self, view: LeaseView) -> None:
        """See ``host_duties.HostReports``."""
        self._host = view.host
        is_held = view.held_since is not None
        if is_held and view.incarnation != self._incarnation:
            self._incarnation = view.incarnation
            logger.info(
                "this host has its lease",
                event="host_lease_acquired",
                host=view.host,
                incarnation=view.incarnation,
            )
        self._was_held = self._was_held or is_held
        self._began = self._clock() if self._began is None else self._began
        starts = not self._was_held and self._clock() - self._began < STARTS
        self._outages().update(WITHOUT_LEASE, None if is_held or starts else NO_LEASE)

    def declared_dead(self, found: Found) -> None:
        """See ``host_duties.HostReports``."""
        logger.warning(
            "a host did not renew its lease and is declared dead",
            event="host_declared_dead",
            host=found.record.host,
            incarnation=found.record.incarnation,
        )

    def claimed(self, seen: Owner, epoch: int) -> None:
        """See ``owner_keeper.OwnerReports``."""
        self.takeovers += seen.host not in {None, self._host}
        logger.info(
            "a session is this host's",
            event="session_claimed",
            session=seen.session,
            epoch=epoch,
            before=seen.host,
        )

    def conditions(self, found: Mapping[str, str | None]) -> None:
        """See ``owner_keeper.OwnerReports``."""
        for kind, why in found.items():
            self._outages().update(kind, why)
