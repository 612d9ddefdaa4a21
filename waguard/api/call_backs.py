"""What the application read while it handled a message: the webhooks need to know it.

Its requests have a key of ``api.key_file``, or none where none is needed. Answers to others, refusals of the gate,
and what another host answers are not its.
"""

import re
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from waguard.api import connection
from waguard.api.auth import APPLICATION, shown_keys
from waguard.api.deps import BODY, CALLER, DEPS, ELSEWHERE, ApiDeps
from waguard.api.health import Vitals
from waguard.api.problems import Handler
from waguard.api.route import REPLY
from waguard.api.session_view import Session
from waguard.core.issued_keys import is_key
from waguard.core.webhooks.call_backs import is_good_health

_HEALTH: Final = "/health"
_STATUS: Final = frozenset({"/sessions/{session_id}/status", "/api/sessions/{session_id}/status"})

_STATUS_PATH: Final = re.compile("(?:/api)?/sessions/([^/]+)/status")


def given_up(deps: ApiDeps, method: str, path: str, keys: Sequence[str]) -> None:
    """A client has left before its request was begun: where it is the application, it drops its message. ``keys``: what it
    shows outside of the body."""
    call_backs = deps.webhooks.call_backs
    if method != "GET":
        return
    if path == _HEALTH and not any(map(is_key, keys)):
        call_backs.health_answered(good=False)
    elif (found := _STATUS_PATH.fullmatch(path)) and _opens_status(deps, keys):
        call_backs.status_answered(found[1], good=False)


def _opens_status(deps: ApiDeps, keys: Sequence[str]) -> bool:
    """Whether it may be the application; also where another host forwards it, for somebody."""
    if not keys:
        return deps.config().api.keyless_loopback
    return deps.keys.caller(keys) is APPLICATION or any(map(deps.keys.is_of_a_host, keys))


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
    reply, of = request.get(REPLY), connection.of(request)
    is_read = (
        of is None or not of.has_hung_up
    )  # else the application has given it up, and drops its message
    if resource.canonical == _HEALTH:
        connected = reply.sessions.connected if isinstance(reply, Vitals) else None
        call_backs.health_answered(good=is_read and is_good_health(response.status, connected))
    elif resource.canonical in _STATUS:
        session_id = request.match_info["session_id"]
        good = response.status == web.HTTPOk.status_code
        is_connected = isinstance(reply, Session) and reply.status == "connected"
        call_backs.status_answered(session_id, good=is_read and good and is_connected)
    return response


def _is_of_the_application(request: web.Request) -> bool:
    """Whether the gate let it pass, with a key of ``api.key_file`` or without any. One that has ended opens nothing, and
    is no key of the application's either."""
    if CALLER in request:
        return request[CALLER] is APPLICATION
    return BODY in request and not any(map(is_key, shown_keys(request)))
