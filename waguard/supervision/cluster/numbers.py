"""This host of a cluster in numbers, for metrics."""

from collections.abc import Callable, Mapping

from waguard.core.cluster import placement
from waguard.core.cluster.unowned import Unowned
from waguard.ports.cluster import HostNumbers
from waguard.supervision.cluster.host_keeper import HostKeeper
from waguard.supervision.cluster.owner_keeper import OwnerKeeper
from waguard.supervision.cluster.reports import ClusterReports


class NumbersHere:
    """``unowned``: see ``ports.cluster.Hosts``. ``refused`` counts writes of the database that were refused,
    ``credentials`` has the age of what is not shared."""

    def __init__(
        self,
        host: HostKeeper,
        owners: OwnerKeeper,
        reports: ClusterReports,
        *,
        unowned: Callable[[], Mapping[str, Unowned] | None],
        refused: Callable[[], int],
        credentials: Callable[[], Mapping[str, float]],
    ) -> None:
        self._host = host
        self._owners = owners
        self._reports = reports
        self._unowned = unowned
        self._refused = refused
        self._credentials = credentials

    def read(self) -> HostNumbers:
        """As they are now, off memory; no I/O."""
        view, seen = self._host.view, {it.record.host: it for it in self._host.seen()}
        own = seen.get(view.host)
        return HostNumbers(
            lease_left=own.lease_left if own else 0.0,
            lease_lasts=self._host.terms.lasts,
            owned=len(self._owners.load),
            room=own.record.room if own else None,
            missing={
                host: placement.is_missing(placement.load(it.record))
                for host, it in seen.items()
                if host != view.host
            },
            unowned=self._unowned(),
            takeovers=self._reports.takeovers,
            refused=self._refused(),
            engine_failures=self._reports.failures,
            credentials=self._credentials(),
        )
