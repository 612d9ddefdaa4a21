"""Whether this host is one of several: where it is not, nothing of that is imported."""

from typing import TYPE_CHECKING

from waguard.daemon.foundation import Foundation
from waguard.daemon.stop_request import StopRequest
from waguard.ports.process import Spawn

if TYPE_CHECKING:
    from waguard.daemon.cluster import Cluster


def cluster_of(
    base: Foundation, stop: StopRequest, spawn: Spawn, instance: str
) -> "Cluster | None":
    """None: it is alone. Raises ``ConfigError`` for files of ``[cluster]`` that cannot be used."""
    if base.config().cluster.engine == "none":
        return None
    from waguard.daemon.cluster import Cluster  # noqa: PLC0415 - few have several

    return Cluster(base, stop, spawn, instance)
