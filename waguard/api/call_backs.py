"""What the application read while it handled a message: the webhooks need to know it."""

import json
from typing import Any, Final

from aiohttp import web

from waguard.api.deps import DEPS
from waguard.api.problems import Handler
from waguard.core.webhooks.call_backs import is_good_health

_HEALTH: Final = "/health"
_STATUS: Final = frozenset({"/sessions/{session_id}/status", "/api/sessions/{session_id}/status"})


@web.middleware
async def witnessed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Report each answer about health and status to the webhooks as it leaves, also where it failed."""
    response = await handler(request)
    resource = request.match_info.route.resource
    call_backs = request.app[DEPS].webhooks.call_backs
    if resource is None or request.method != "GET":
        return response
    if resource.canonical == _HEALTH:
        connected = _answer_of(response).get("sessions", {}).get("connected")
        call_backs.health_answered(good=is_good_health(response.status, connected))
    elif resource.canonical in _STATUS:
        session_id = request.match_info["session_id"]
        good = response.status == web.HTTPOk.status_code
        is_connected = _answer_of(response).get("status") == "connected"
        call_backs.status_answered(session_id, good=good and is_connected)
    return response


def _answer_of(response: web.StreamResponse) -> dict[str, Any]:
    text = response.text if isinstance(response, web.Response) else None
    return json.loads(text) if text else {}
