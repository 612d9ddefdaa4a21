"""The checks of a cluster: its engine, its database, its hosts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from waguard.config.sections import Config
from waguard.doctor.checks import connections, etcd, hosts
from waguard.doctor.probes import connections as connection_probes
from waguard.doctor.probes import etcd as etcd_probes
from waguard.doctor.probes import hosts as host_probes
from waguard.doctor.report import Check, Cli, ok

Ask = Callable[[str], Awaitable[Mapping[str, Any] | None]]


async def checks(config: Config, cli: Cli, ask: Ask) -> list[Check]:
    """All of them, side by side. ``ask``: the daemon here."""
    cluster = config.cluster

    async def others() -> list[hosts.Host] | None:
        return await host_probes.hosts(cluster, await ask(host_probes.LISTED))

    engine, database, found = await asyncio.gather(
        etcd_probes.ask(cluster),
        connection_probes.connections(config.database.url),
        others(),
    )
    of_engine = [ok(etcd.NAME, "the database has the hosts' leases")]
    if cluster.engine == "etcd":
        of_engine = etcd.of_owners(engine, database.etcd) or etcd.etcd(engine)
    return [
        *of_engine,
        *connections.connections(database, cluster.engine),
        *hosts.hosts(found, cli),
    ]
