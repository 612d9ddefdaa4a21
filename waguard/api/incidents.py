"""What went wrong, what waguard did, how it ended: of a session, and of all at once."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import DEPS
from waguard.api.sessions import condition
from waguard.core.incidents.entries import Incident
from waguard.core.incidents.incidents import fold, fold_fleet
from waguard.core.incidents.why import sentences
from waguard.errors import DatabaseUnavailableError, NotFoundError
from waguard.ports.store import AuditEntry

PURGED: Final = "purged"
"""The status of a session that has a history and no row."""
_EVER: Final = 2.0**40  # unix time; no database takes infinity


async def listing(request: web.Request) -> web.Response:
    """GET /api/sessions/:id/incidents: the newest, oldest first, each also in sentences.

    Of a session that was purged, too, as long as its trail is kept.
    """
    session_id = fields.path_session(request)
    try:
        view = await request.app[DEPS].sessions.view(session_id)
    except NotFoundError:
        view = None
    trail = await _trail(request, session_id)
    if view is None and not trail:
        raise NotFoundError("Session not found")
    return web.json_response(
        {
            "success": True,
            "session_id": session_id,
            "status": view.status if view else PURGED,
            "conditions": [condition(it) for it in view.conditions] if view else [],
            "incidents": None
            if trail is None
            else [_shown(it) for it in fold(trail, session=session_id)],
        }
    )


async def fleet(request: web.Request) -> web.Response:
    """GET /api/incidents: those that concern all sessions, in the same form; and every condition."""
    trail = await _trail(request, None)
    found = request.app[DEPS].health().conditions
    return web.json_response(
        {
            "success": True,
            "conditions": [condition(it) for it in found],
            "incidents": None if trail is None else [_shown(it) for it in fold_fleet(trail)],
        }
    )


async def _trail(request: web.Request, session_id: str | None) -> Sequence[AuditEntry] | None:
    """None: the database is away. Unknown is not empty, and conditions are known all the same."""
    try:
        return await request.app[DEPS].store.audit(session_id)
    except DatabaseUnavailableError:
        return None


async def every(request: web.Request) -> web.Response:
    """GET /api/incidents/all: those of each session, also of a purged one, and of the fleet (null) that
    went on at ``?since=`` or later."""
    since, store = fields.moment(request, "since"), request.app[DEPS].store
    found: list[tuple[str | None, Incident]] = []
    for name in await store.audited(before=_EVER):
        trail = await store.audit(name)
        incidents = fold_fleet(trail) if name is None else fold(trail)
        found += [(name, it) for it in incidents if it.ended is None or it.ended >= since]
    found.sort(key=lambda it: it[1].began)
    listed = [{"session_id": name, **_shown(it)} for name, it in found]
    return web.json_response({"success": True, "incidents": listed})


def _shown(incident: Incident) -> dict[str, Any]:
    return asdict(incident) | {
        "began": _time(incident.began),
        "ended": None if incident.ended is None else _time(incident.ended),
        "sentences": list(sentences(incident)),
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
