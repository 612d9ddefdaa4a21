"""The metrics of a host of a cluster. Imported only in one."""

from collections.abc import Collection, Iterator, Mapping

from waguard.api.rights import within
from waguard.core.metrics import hosts
from waguard.core.metrics.families import Metric
from waguard.ports.cluster import HostNumbers

_Sample = tuple[Mapping[str, str], float | None]


def series(
    it: HostNumbers, names: Collection[str] | None
) -> Iterator[tuple[Metric, list[_Sample]]]:
    """Each metric with its samples, for who sees the sessions of these ``names``; None: for who sees all."""
    ages = [({"session": name}, age) for name, age in it.credentials.items() if within(names, name)]
    yield hosts.CREDENTIALS, [*ages]
    if names is not None:
        return
    unowned = it.unowned
    oldest = max((one.seconds for one in unowned.values()), default=0.0) if unowned else 0.0
    for metric, value in (
        (hosts.LEASE, it.lease_left),
        (hosts.LEASE_LASTS, it.lease_lasts),
        (hosts.OWNED, it.owned),
        (hosts.ROOM, it.room),
        (hosts.UNOWNED, None if unowned is None else len(unowned)),
        (hosts.UNOWNED_OLDEST, None if unowned is None else oldest),
        (hosts.TAKEOVERS, it.takeovers),
        (hosts.REFUSED, it.refused),
        (hosts.ENGINE_FAILURES, it.engine_failures),
    ):
        yield metric, [({}, value)]
    yield hosts.MISSING, [({"host": name}, missing) for name, missing in it.missing.items()]
