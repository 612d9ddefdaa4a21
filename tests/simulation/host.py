"""What the host has, as a daemon reads it: for starts, and at the moment of a failure."""

from collections import Counter

from waguard.core.fleet.facts import HostRead
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.host.admission import Reading
from waguard.core.host.evidence import TO_START, Disk, Evidence, disk_failure

_GB = 1 << 30


def read_host(active: Counter[str]) -> HostRead:
    """With the faults that are ``active``."""
    return HostRead(left=_left(active), network=_network(active), paired=True)


def _left(active: Counter[str]) -> Reading:
    return Reading(
        memory=_GB // 8 if active["memory_short"] else 64 * _GB,
        pressure=50.0 if active["memory_short"] else 0.0,
        pids=100 if active["pids_short"] else 30_000,
        disk=disk_failure(_disks(active), margin=TO_START),
        executable="Chromium is missing" if active["executable"] else None,
        lease="the lease was not renewed" if active["lease"] else None,
        empty="the folder is not mounted" if active["folder"] else None,
    )


def _disks(active: Counter[str]) -> tuple[Disk, ...]:
    sessions = Disk(
        key="paths.sessions",
        folder="/sessions",
        free=0 if active["disk_full"] else 64 * _GB,
        files=0 if active["inodes"] else 1_000_000,
        read_only=active["read_only"] > 0,
    )
    free = 0 if active["runtime_full"] else _GB
    return (sessions, Disk(key="paths.runtime", folder="/run", free=free))


def read_evidence(active: Counter[str], *, browser: bool) -> Evidence:
    """``browser``: Chromium ran."""
    return Evidence(
        disks=_disks(active),
        pids=30_000,
        descriptors=60_000,
        executable="/chromium",
        hangs=5.0 if active["hanging"] and not browser else None,
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
