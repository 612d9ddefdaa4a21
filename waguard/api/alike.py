"""/api/cluster/alike: what has to be alike on all hosts, as this one has it, for the doctor of another one."""

from aiohttp import web

from waguard import __version__
from waguard.api.hosts import cluster_of
from waguard.api.route import Done, route
from waguard.core.keys import Right


class Alike(Done, kw_only=True):
    """This host's. ``digests``: of secrets, by the keys that name their files; hosts with the same `cluster.key_file` and
    the same secrets have the same. Null: there is no secret."""

    host: str
    version: str
    public_url: str
    digests: dict[str, str | None]


@route(Right.ADMIN, 409)
async def show(request: web.Request) -> Alike:
    """Show what has to be alike on all hosts, as this one has it."""
    cluster = cluster_of(request)
    return Alike(
        host=cluster.hosts.view().host,
        version=__version__,
        public_url=cluster.instance_url,
        digests=dict(cluster.digests()),
    )
