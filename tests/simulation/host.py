"""What the host has, as a daemon reads it."""

from collections import Counter

from waguard.core.fleet.facts import HostRead
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.host.admission import Reading

_GB = 1 << 30


def read_host(active: Counter[str]) -> HostRead:
    """With the faults that are ``active``."""
    return HostRead(left=_left(active), network=_network(active), paired=True)


def _left(active: Counter[str]) -> Reading:
    return Reading(
        memory=_GB // 8 if active["memory_short"] else 64 * _GB,
        pressure=50.0 if active["memory_short"] else 0.0,
        pids=100 if active["pids_short"] else 30_000,
        executable="Chromium is missing" if active["executable"] else None,
        lease="the lease was not renewed" if active["lease"] else None,
        empty="the folder is not mounted" if active["folder"] else None,
    )


def _network(active: Counter[str]) -> NetworkReading:
    if active["network_unsure"]:
        return NetworkReading(route=True)
    away = active["network"] > 0
    return NetworkReading(
        route=not (away or active["no_route"]),
        reachable=not away,
        error="no route to host" if away else None,
    )
