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

    async def engine() -> list[Check]:
        if cluster.engine == "etcd":
            return etcd.etcd(await etcd_probes.ask(cluster))
        return [ok(etcd.NAME, "the database has the hosts' leases")]

    async def database() -> list[Check]:
        seen = await connection_probes.connections(config.database.url)
        return connections.connections(seen, cluster.engine)

    async def others() -> list[Check]:
        found = await host_probes.hosts(cluster, await ask(host_probes.LISTED))
        return hosts.hosts(found, cli)

    return [it for found in await asyncio.gather(engine(), database(), others()) for it in found]
