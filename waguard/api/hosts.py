"""/api/hosts: the hosts of the cluster, emptying one, moving a session to one."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields
from waguard.api.deps import CONFIRMATIONS, DEPS, FORWARDED, KEY_SHARING, Cluster
from waguard.api.fields import Kind, SessionId
from waguard.api.rights import Narrowing
from waguard.api.route import Done, OfSession, route
from waguard.api.session_view import Condition, condition
from waguard.core.keys import Right
from waguard.errors import ConflictError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from waguard.ports.cluster import SeenHost

NO_CLUSTER: Final = "there is one host alone"
RETRY_AFTER: Final = 5.0  # s
_NAME_LIMIT: Final = 253  # characters
_SHA256: Final = "[0-9a-f]{64}"
_SAID: Final = Meta(max_length=_NAME_LIMIT, description="as `GET /api/hosts` has it")
HostName = Annotated[str, fields.short(_NAME_LIMIT), _SAID]


def _sha256(value: Any, field: str) -> str:
    if isinstance(value, str) and re.fullmatch(_SHA256, value):
        return value
    raise fields.bad(field, value, "no SHA-256", "64 hexadecimal digits")


class Host(Struct, kw_only=True):
    """A host: ``room`` is how many more sessions it can take, ``renewed_ago`` (s) how old its lease is, ``lease_left`` (s)
    how long that holds without a renewal; ``conditions``: types of what is wrong on it and needs a person."""

    host: str
    address: str
    version: str
    alive: bool
    renewed_ago: float
    owned: int
    room: int
    drain: bool
    lease_left: float
    conditions: tuple[str, ...]


class Waiting(Struct, kw_only=True):
    """A session that no living host has: for how long, as ``host`` sees it, and why."""

    session_id: str
    seconds: float
    why: str


class Hosts(Done, kw_only=True):
    """All that have a lease, as ``host`` sees them; ``without_owner`` and ``waiting`` null: unknown, for the database does
    not answer."""

    host: str
    hosts: list[Host]
    without_owner: int | None
    waiting: list[Waiting] | None


class Conditions(Done, kw_only=True):
    """``sender``: the host that sends alerts, as this one sees it; ``complete``: what is not there is over."""

    host: str
    sender: str
    complete: bool
    conditions: list[Condition]


class Drained(Done, kw_only=True):
    """Whether the host is being emptied; it goes on behind this reply."""

    host: str
    drain: bool


class Forgotten(Done, kw_only=True):
    """None of the hosts any more; a waguard of this name that is started is one again."""

    host: str


class MoveTo(Struct, kw_only=True):
    """Where the session is to run."""

    to: HostName


class KeysChanged(Struct, kw_only=True):
    """``sha256``: of the key that ``by`` has revoked; without it there are others to read."""

    sha256: Annotated[str, Kind(_sha256), Meta(pattern=f"^{_SHA256}$")] | None = None
    by: Annotated[str, fields.short(_NAME_LIMIT), Meta(max_length=_NAME_LIMIT)] = "another host"


class ReplyWritten(Struct, kw_only=True):
    """``nonce``: of the forwarded request."""

    nonce: Annotated[str, fields.short(_NAME_LIMIT), Meta(max_length=_NAME_LIMIT)]


class Moving(OfSession, kw_only=True):
    """The session ends here in order, and then starts there."""

    to: str


@route(Right.READ, 409)
async def listing(request: web.Request) -> Hosts:
    """List the hosts, and the sessions that none of them has."""
    hosts = cluster_of(request).hosts
    view, unowned = hosts.view(), hosts.unowned()
    return Hosts(
        host=view.host,
        hosts=[_shown(it) for it in view.hosts],
        without_owner=view.without_owner,
        waiting=None
        if unowned is None
        else [
            Waiting(session_id=name, seconds=round(it.seconds, 1), why=it.why)
            for name, it in unowned.items()
        ],
    )


@route(Right.ADMIN, 409)
async def drain(request: web.Request, host: HostName) -> Drained:
    """Empty a host: it takes no session, and its own move to others, in order."""
    return await _drain(request, host, end=False)


@route(Right.ADMIN, 409)
async def end_drain(request: web.Request, host: HostName) -> Drained:
    """Let a host take sessions again."""
    return await _drain(request, host, end=True)


@route(Right.ADMIN, 409)
async def forget(request: web.Request, host: HostName) -> Forgotten:
    """Forget a host that is gone for good: its condition ends, and it is listed no more."""
    await cluster_of(request).hosts.forget(host)
    return Forgotten(host=host)


@route(Right.ADMIN, 409)
async def move(request: web.Request, session_id: SessionId, body: MoveTo) -> Moving:
    """Move a session to another host: its owner ends it in order, and that one starts it."""
    hosts = cluster_of(request).hosts
    await request.app[DEPS].sessions.view(session_id, elsewhere=True)
    await hosts.move(session_id, body.to)
    return Moving(session_id=session_id, to=body.to)


@route(Right.ADMIN, 409)
async def conditions(request: web.Request) -> Conditions:
    """What a person must act on at this host, for the one that sends alerts for all."""
    from waguard.core.cluster import alert_duty  # noqa: PLC0415 - one host alone needs nothing of it

    cluster, health = cluster_of(request), request.app[DEPS].health()
    view, forwarded = cluster.hosts.view(), request.get(FORWARDED)
    if forwarded and forwarded.caller:
        cluster.asked(forwarded.caller.name)
    return Conditions(
        host=view.host,
        sender=alert_duty.sender(view.host, [it.record for it in view.hosts]),
        complete=health.supervising and health.restored,
        conditions=[condition(it) for it in health.conditions if it.needs_person],
    )


@route(Right.ADMIN, narrows=Narrowing.HOSTS)
async def keys_changed(request: web.Request, body: KeysChanged) -> Done:
    """Another host has made or revoked a key: know it at once. Hosts notify each other."""
    sharing = request.app[KEY_SHARING]
    if body.sha256 is None:
        await sharing.learn()
    else:
        sharing.end(body.sha256, body.by)
        await request.app[DEPS].issued_keys.save()
    return Done()


@route(Right.ADMIN, narrows=Narrowing.HOSTS)
async def reply_written(request: web.Request, body: ReplyWritten) -> Done:
    """The client of another host has the reply to a send that this one was forwarded. Hosts say so to each other."""
    request.app[CONFIRMATIONS].confirm(body.nonce)
    return Done()


async def _drain(request: web.Request, host: str, *, end: bool) -> Drained:
    hosts = cluster_of(request).hosts
    if host != hosts.view().host:  # what is another one's was forwarded
        if FORWARDED in request:
            raise UnavailableError(
                "two hosts have this address", field="host", retry_after=RETRY_AFTER
            )
        raise NotFoundError(f"there is no host {host}", field="host", remedy="see `waguard hosts`")
    await hosts.drain(end=end)
    return Drained(host=host, drain=not end)


def cluster_of(request: web.Request) -> Cluster:
    """What this host is in. Raises ``ConflictError`` where it is alone."""
    if cluster := request.app[DEPS].cluster:
        return cluster
    raise ConflictError(
        NO_CLUSTER, field="cluster.engine", remedy="docs/cluster.md says how to make a cluster"
    )


def _shown(it: "SeenHost") -> Host:
    found = it.record
    return Host(
        host=found.host,
        address=found.address,
        version=found.version,
        alive=found.alive,
        renewed_ago=round(it.renewed_ago, 1),
        owned=found.owned,
        room=found.room,
        drain=found.drain,
        lease_left=round(it.lease_left, 1),
        conditions=found.conditions,
    )
