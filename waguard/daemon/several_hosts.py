"""Whether this host is one of several: where it is not, nothing of that is imported."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from waguard.daemon.foundation import Foundation
from waguard.daemon.stop_request import StopRequest
from waguard.messaging.outbox.outbox import Outbox
from waguard.ports.process import Spawn
from waguard.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from waguard.daemon.cluster import Cluster


def cluster_of(
    base: Foundation,
    stop: StopRequest,
    spawn: Spawn,
    later: Callable[[], tuple[Supervisor, Outbox]],
) -> "Cluster | None":
    """None: it is alone. ``later``: what is made after it. Raises ``ConfigError`` for files of ``[cluster]`` that cannot
    be used."""
    if base.config().cluster.engine == "none":
        return None
    from waguard.daemon.cluster import Cluster  # noqa: PLC0415 - few have several

    return Cluster(base, stop, spawn, later)
