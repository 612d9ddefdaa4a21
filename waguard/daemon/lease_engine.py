"""Where the leases of a cluster's hosts are kept, as it is configured; and whether it is the engine that the owners in the
database rely on. Imported only with ``cluster.engine``."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from waguard.config.sections import Config
from waguard.daemon.installation import Installation
from waguard.ports.cluster import HostLeases
from waguard.store.sql import SqlStore

if TYPE_CHECKING:
    from waguard.cluster.etcd import EtcdLeases


class LeaseEngine:
    """Raises ``ConfigError`` for files of ``[cluster]`` that cannot be used."""

    def __init__(self, config: Callable[[], Config], store: SqlStore) -> None:
        self._config = config
        self._store = store
        self._etcd: EtcdLeases | None = None
        self._installation: Installation | None = None
        self.connect("checked only")

    def connect(self, cluster_id: str) -> HostLeases:
        """The leases of this cluster; nothing is connected yet."""
        if self._config().cluster.engine == "database":
            from waguard.cluster.database import DatabaseLeases  # noqa: PLC0415 - one of two

            return DatabaseLeases(self._store.writing_the_lease, self._store.reading_the_lease)
        from waguard.cluster.etcd import connect  # noqa: PLC0415

        self._etcd = connect(self._config().cluster, cluster_id)
        return self._etcd

    @property
    def is_the_database(self) -> bool:
        """Whether a lease can be renewed only as long as the store is open."""
        return self._etcd is None

    def belongs_to(self, installation: Installation) -> None:
        """The id of the cluster is this one's."""
        self._installation = installation

    async def recognize(self) -> None:
        """Raises ``DatabaseUnknownError`` where the database's owners rely on another etcd, and
        ``DatabaseUnavailableError``."""
        if self._installation and self._etcd and self._etcd.cluster:
            await self._installation.recognize_etcd(self._etcd.cluster)
