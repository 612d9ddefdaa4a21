"""What the application read while it handled a message: the webhooks need to know it.

Its requests have a key of ``api.key_file``, or none where none is needed. Answers to others, refusals of the gate,
and what another host answers are not its.
"""

from typing import Final

from aiohttp import web

from waguard.api.auth import APPLICATION, shown_keys
from waguard.api.deps import BODY, CALLER, DEPS, ELSEWHERE
from waguard.api.health import Vitals
from waguard.api.problems import Handler
from waguard.api.route import REPLY
from waguard.api.session_view import Session
from waguard.core.issued_keys import is_key
from waguard.core.webhooks.call_backs import is_good_health

_HEALTH: Final = "/health"
_STATUS: Final = frozenset({"/sessions/{session_id}/status", "/api/sessions/{session_id}/status"})


@web.middleware
async def witnessed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Report each answer about health and status to the webhooks as it leaves, also where it failed."""
    response = await handler(request)
    if ELSEWHERE in request or not _is_of_the_application(request):
        return response
    resource = request.match_info.route.resource
    call_backs = request.app[DEPS].webhooks.call_backs
    if resource is None or request.method != "GET":
        return response
    reply = request.get(REPLY)
    if resource.canonical == _HEALTH:
        connected = reply.sessions.connected if isinstance(reply, Vitals) else None
        call_backs.health_answered(good=is_good_health(response.status, connected))
    elif resource.canonical in _STATUS:
        session_id = request.match_info["session_id"]
        good = response.status == web.HTTPOk.status_code
        is_connected = isinstance(reply, Session) and reply.status == "connected"
        call_backs.status_answered(session_id, good=good and is_connected)
    return response


def _is_of_the_application(request: web.Request) -> bool:
    """Whether the gate let it pass, with a key of ``api.key_file`` or without any. One that has ended opens nothing, and
    is no key of the application's either."""
    if CALLER in request:
        return request[CALLER] is APPLICATION
    return BODY in request and not any(map(is_key, shown_keys(request)))
