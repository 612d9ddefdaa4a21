"""What went wrong, what waguard did, how it ended: of a session, and of all at once."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from waguard.api import fields, rights
from waguard.api.deps import DEPS
from waguard.api.fields import Moment, SessionId
from waguard.api.rights import Narrowing
from waguard.api.route import Done, OfSession, route
from waguard.api.session_view import Condition, condition
from waguard.core.incidents import entries
from waguard.core.incidents.folding import fold, fold_fleet
from waguard.core.incidents.sentences import sentences
from waguard.core.keys import Right
from waguard.errors import DatabaseUnavailableError, NotFoundError
from waguard.ports.store import AuditEntry

PURGED: Final = "purged"
"""The status of a session that has a history and no row."""
CHANGES: Final = 200  # of a session, the newest: they say who did what
_EVER: Final = 2.0**40  # unix time; no database takes infinity


class Incident(Struct, kw_only=True):
    """What happened, in fields and in sentences; ``session_id`` where those of all are listed."""

    session_id: str | UnsetType | None = UNSET
    began: str
    cause: str
    actions: list[str]
    result: str | None
    ended: str | None
    advice: str | None
    pause: tuple[float, str] | None
    kind: str
    sentences: tuple[str, ...]


class OfOne(OfSession, kw_only=True):
    """A session's conditions and incidents; null: the database is away."""

    status: str
    conditions: list[Condition]
    incidents: list[Incident] | None


class OfFleet(Done, kw_only=True):
    """Every condition, and incidents of all sessions at once; null: the database is away."""

    conditions: list[Condition]
    incidents: list[Incident] | None


class Incidents(Done, kw_only=True):
    """Incidents of every session and of all, the oldest first."""

    incidents: list[Incident]


class Since(Struct, kw_only=True):
    """Those that ended before are left out."""

    since: Moment = 0.0


@route(Right.READ)
async def listing(request: web.Request, session_id: SessionId) -> OfOne:
    """Conditions and incidents of one session.

    Of a purged one, too, as long as its audit log is kept.
    """
    try:
        view = await request.app[DEPS].sessions.view(session_id)
    except NotFoundError:
        view = None
    trail = await _trail(request, session_id)
    if view is None and not trail:
        raise NotFoundError("Session not found")
    return OfOne(
        session_id=session_id,
        status=view.status if view else PURGED,
        conditions=[condition(it) for it in view.conditions] if view else [],
        incidents=None if trail is None else [_shown(it) for it in fold(trail, session=session_id)],
    )


@route(Right.READ)
async def fleet(request: web.Request) -> OfFleet:
    """Every condition, and incidents of all sessions at once."""
    trail = await _trail(request, None)
    found = request.app[DEPS].health().conditions
    return OfFleet(
        conditions=[condition(it) for it in found],
        incidents=None if trail is None else [_shown(it) for it in fold_fleet(trail)],
    )


async def _trail(request: web.Request, session_id: str | None) -> Sequence[AuditEntry] | None:
    """None: the database is away. Unknown is not empty, and conditions are known all the same."""
    try:
        return await request.app[DEPS].store.audit(session_id, changes=CHANGES)
    except DatabaseUnavailableError:
        return None


@route(Right.READ, narrows=Narrowing.LIST)
async def every(request: web.Request, query: Since) -> Incidents:
    """Incidents of every session, also of purged ones, and of all at once."""
    store, names = request.app[DEPS].store, await rights.sessions_seen(request)
    found: list[tuple[str | None, entries.Incident]] = []
    for name in await store.audited(before=_EVER):
        if not rights.within(names, name):
            continue
        trail = await store.audit(name, changes=CHANGES)
        incidents = fold_fleet(trail) if name is None else fold(trail)
        found += [(name, it) for it in incidents if it.ended is None or it.ended >= query.since]
    found.sort(key=lambda it: it[1].began)
    return Incidents(incidents=[_shown(it, name) for name, it in found])


def _shown(it: entries.Incident, session_id: str | UnsetType | None = UNSET) -> Incident:
    shown = {
        "session_id": session_id,
        "began": fields.iso(it.began),
        "ended": None if it.ended is None else fields.iso(it.ended),
        "sentences": tuple(sentences(it)),
    }
    return Incident(**asdict(it) | shown)
