"""/health: the truth. 200 while waguard supervises: a cron restarts the service on anything else."""

import asyncio
import math
import os
import time
from collections import Counter
from collections.abc import Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from aiohttp import web
from loguru import logger
from msgspec import UNSET, Struct, UnsetType

from waguard.api import fields, rights
from waguard.api.deps import DEPS
from waguard.api.fields import Switch
from waguard.api.rights import Narrowing
from waguard.api.route import Reply, route
from waguard.api.seats import seating
from waguard.api.session_view import Condition, Session, condition
from waguard.api.sessions import Removed
from waguard.api.standby import ASK_THE_HOLDER
from waguard.api.timings import TIMINGS
from waguard.core import unknown_sessions
from waguard.core.keys import Right
from waguard.core.lease import HeldElsewhere, held_elsewhere_words
from waguard.core.replace import replace
from waguard.errors import WaguardError
from waguard.ports import sessions
from waguard.ports.sessions import SessionView

T = TypeVar("T")
STARTED: Final = time.monotonic()
_MB: Final = 1 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_INSTALLED: Final = os.sysconf("SC_PHYS_PAGES") * _PAGE

_MISSING: Final = {
    "supervising": "waguard is stopping, or waits for the database's lease, which another one holds",
    "database": f"{unknown_sessions.NOT_ANSWERED} yet",
    "restored": "sessions are still being restored",
}


def memory_used() -> int:
    """Bytes that are resident of this process."""
    # proc(5): the second number of statm is the resident size in pages; no disk is touched
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


class Counts(Struct, kw_only=True):
    """Sessions that were not removed."""

    total: int
    connected: int
    disconnected: int


class Memory(Struct, kw_only=True):
    """Memory of the daemon without its workers, and of this machine."""

    used: float
    total: int
    unit: str = "MB"


class ClusterCounts(Struct, kw_only=True):
    """Hosts, those of them that live, and sessions that none of these owns (null: unknown)."""

    hosts: int
    alive: int
    without_owner: int | None


class Vitals(Reply, kw_only=True):
    """Whether all is well, and for how many seconds this daemon runs."""

    status: str
    uptime: float
    sessions: Counts
    memory: Memory
    timestamp: str
    cluster: ClusterCounts | UnsetType = UNSET
    """Only where there are several hosts: ``sessions`` are those of all of them then."""


class LeaseHolder(Struct, kw_only=True):
    """The daemon whose standby this one is."""

    host: str
    runtime: str
    pid: int
    since: str
    renewed_ago: float | None
    """Seconds; null: unknown, for the database does not answer."""


class Healthy(Vitals, kw_only=True):
    """waguard supervises: ``conditions`` counts them by their type, without a session's name."""

    conditions: dict[str, int]


class NotSupervising(Healthy, kw_only=True):
    """waguard stops, or waits for the lease."""

    STATUS: ClassVar[int] = 503
    error: str = _MISSING["supervising"]
    remedy: str = "see /health/detailed with the key"


class Detailed(Vitals, kw_only=True):
    """Each session, null where that is unknown, and what is wrong in words."""

    conditions: list[Condition]
    problems: tuple[str, ...]
    database: str
    restored: bool
    lease_holder: LeaseHolder | None
    """Null: this daemon waits for no other one, or the key is for some sessions."""
    details: list[Session] | None


COUNTED_EVERY: Final = 5.0  # s; whoever asks needs no key
COUNTED_AGAIN: Final = 1.0  # s after a count that failed


async def _in_time(app: web.Application, asking: Coroutine[Any, Any, T]) -> T:
    """What the database answers. Raises ``TimeoutError`` after ``Timings.ping``: nobody waits until the question is cut
    off, which lasts as long again on a connection that hangs."""
    task = asyncio.ensure_future(asking)
    try:
        done, _ = await asyncio.wait({task}, timeout=app[TIMINGS].ping)
    finally:
        task.add_done_callback(lambda it: it.cancelled() or it.exception())
        task.cancel()
    if not done:
        raise TimeoutError
    return task.result()


async def _views(app: web.Application) -> Sequence[SessionView] | None:
    """The sessions of all hosts; None: they are unknown."""
    try:
        return await _in_time(app, app[DEPS].sessions.views(elsewhere=True))
    except (WaguardError, TimeoutError):
        return None
    except Exception:  # noqa: BLE001 - a cron restarts the service on any answer but 200
        logger.exception("a bug in waguard: the sessions of all hosts are not counted", event="bug")
        return None


class Counted:
    """How many sessions all hosts together have: from the database, at most so often, and the last that is known."""

    def __init__(self) -> None:
        self._counts = Counts(total=0, connected=0, disconnected=0)
        self._due_at = -math.inf
        self._has_failed = False
        self._count: asyncio.Task[None] | None = None

    async def counts(self, request: web.Request) -> Counts:
        """0, as ``ports.sessions.Health`` has it, where they have never been known. After a count that failed nobody waits
        for the next one."""
        if self._count is None and asyncio.get_running_loop().time() >= self._due_at:
            self._count = asyncio.create_task(self._count_all(request.app), name="counted")
        if self._count and not self._has_failed:
            await asyncio.shield(self._count)  # others wait for it, too
        return self._counts

    async def _count_all(self, app: web.Application) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            views = await _views(app)
        finally:
            self._count = None
        self._has_failed = views is None
        if views is None:
            self._due_at = clock() + COUNTED_AGAIN
            return
        total, connected = len(views), sum(it.status == "connected" for it in views)
        self._counts = Counts(total=total, connected=connected, disconnected=total - connected)
        self._due_at = began + COUNTED_EVERY


COUNTED: Final = web.AppKey("counted", Counted)


async def _of_cluster(request: web.Request) -> dict[str, Any]:
    """What stands in place of this host's own."""
    cluster = request.app[DEPS].cluster
    if cluster is None:
        return {}
    view = cluster.hosts.view()
    alive = sum(it.record.alive for it in view.hosts)
    return {
        "cluster": ClusterCounts(
            hosts=len(view.hosts), alive=alive, without_owner=view.without_owner
        ),
        "sessions": await request.app[COUNTED].counts(request),
    }


def _vitals(it: sessions.Health, standby: HeldElsewhere | None) -> dict[str, Any]:
    healthy = "standby" if standby else "healthy"
    return {
        "status": "degraded" if it.problems and not standby else healthy,
        "uptime": round(time.monotonic() - STARTED, 1),
        "sessions": Counts(total=it.total, connected=it.connected, disconnected=it.disconnected),
        "memory": Memory(used=round(memory_used() / _MB, 1), total=round(_INSTALLED / _MB)),
        "timestamp": fields.iso(time.time()),
    }


@route(None)
async def health(request: web.Request) -> Healthy | NotSupervising:
    """Whether waguard supervises; counts, without names."""
    deps = request.app[DEPS]
    found, standby = deps.health(), deps.standby()
    counts = dict(Counter(it.type for it in found.conditions))
    said = {**_vitals(found, standby), **await _of_cluster(request), "conditions": counts}
    if standby:
        return NotSupervising(**said, error=held_elsewhere_words(standby), remedy=ASK_THE_HOLDER)
    if found.supervising:
        return Healthy(**said)
    return NotSupervising(**said, error=unknown_sessions.barred(counts) or _MISSING["supervising"])


class Alive(Reply, kw_only=True):
    """The loop moves: that this is answered is the proof."""

    status: str = "alive"


@route(None)
async def live(_: web.Request) -> Alive:
    """Whether the loop moves."""
    return Alive()


class Checks(Struct, kw_only=True):
    """What is there."""

    supervising: bool
    database: bool
    restored: bool


class Ready(Reply, kw_only=True):
    """The database is open and the restore has ended."""

    status: str = "ready"
    checks: Checks


class NotReady(Reply, kw_only=True):
    """Something is missing."""

    STATUS: ClassVar[int] = 503
    RETRY_AFTER: ClassVar[int | None] = 2
    status: str = "not ready"
    error: str
    remedy: str = "ask again in a moment"
    checks: Checks


@route(None)
async def ready(request: web.Request) -> Ready | NotReady:
    """Whether the database is open and the restore has ended."""
    deps = request.app[DEPS]
    found, standby = deps.health(), deps.standby()
    checks = Checks(supervising=found.supervising, database=found.database, restored=found.restored)
    if standby:
        error = held_elsewhere_words(standby)
        return NotReady(status="standby", error=error, remedy=ASK_THE_HOLDER, checks=checks)
    missing = [words for name, words in _MISSING.items() if not getattr(checks, name)]
    if missing and (why := unknown_sessions.barred({it.type for it in found.conditions})):
        missing = [why]
    return NotReady(error="; ".join(missing), checks=checks) if missing else Ready(checks=checks)


class Which(Removed, kw_only=True):
    """Which sessions; 1: in a cluster also those of other hosts and of none, by their rows."""

    elsewhere: Switch = False


@route(Right.READ, narrows=Narrowing.LIST)
async def detailed(request: web.Request, query: Which) -> Detailed:
    """Every session and condition."""
    deps = request.app[DEPS]
    found, names = deps.health(), await rights.sessions_seen(request)
    conditions = tuple(it for it in found.conditions if rights.within(names, it.session))
    found, standby = replace(found, conditions=conditions), deps.standby()
    # all at once: one after the other they would outlast the patience of ``waguard status`` where the database hangs
    of_cluster, database, details = await asyncio.gather(
        _of_cluster(request), _database(request), _details(request, query, names)
    )
    return Detailed(
        **_vitals(found, standby) | of_cluster,
        conditions=[condition(it) for it in found.conditions],
        problems=found.problems,
        database=database,
        restored=found.restored,
        lease_holder=_holder(standby) if standby and names is None else None,
        details=details,
    )


async def _details(
    request: web.Request, query: Which, names: Collection[str] | None
) -> list[Session] | None:
    deps = request.app[DEPS]
    try:
        views = await _in_time(
            request.app,
            deps.sessions.views(removed=query.removed, elsewhere=query.elsewhere),
        )
    except (WaguardError, TimeoutError):
        return None  # unknown is not empty
    seen = (view for view in views if rights.within(names, view.session_id))
    return [*map(seating(deps.cluster), seen)]


def _holder(it: HeldElsewhere) -> LeaseHolder:
    return LeaseHolder(
        host=it.holder.host,
        runtime=it.holder.runtime,
        pid=it.holder.pid,
        since=fields.iso(it.since),
        renewed_ago=it.renewed_ago if it.renewed_ago is None else round(it.renewed_ago, 1),
    )


async def _database(request: web.Request) -> str:
    within = request.app[TIMINGS].ping
    try:
        await _in_time(request.app, request.app[DEPS].store.ping())
    except WaguardError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {within:g} s"
    return "answers"
