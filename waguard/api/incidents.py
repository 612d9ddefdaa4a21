"""What went wrong, what waguard did, how it ended: of a session, and of all at once."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import DEPS
from waguard.api.sessions import condition
from waguard.core.incidents import Incident, fold, fold_fleet, sentences
from waguard.errors import DatabaseUnavailableError
from waguard.ports import AuditEntry


async def listing(request: web.Request) -> web.Response:
    """GET /api/sessions/:id/incidents: the newest, oldest first, each also in sentences."""
    view = await request.app[DEPS].sessions.view(fields.path_session(request))
    trail = await _trail(request, view.session_id)
    return web.json_response(
        {
            "success": True,
            "session_id": view.session_id,
            "status": view.status,
            "conditions": [condition(it) for it in view.conditions],
            "incidents": None
            if trail is None
            else [_shown(it) for it in fold(trail, session=view.session_id)],
        }
    )


async def fleet(request: web.Request) -> web.Response:
    """GET /api/incidents: those that concern all sessions, told alike; and every condition."""
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


def _shown(incident: Incident) -> dict[str, Any]:
    return asdict(incident) | {
        "began": _time(incident.began),
        "ended": None if incident.ended is None else _time(incident.ended),
        "sentences": list(sentences(incident)),
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
