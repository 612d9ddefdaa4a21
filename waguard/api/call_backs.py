"""What the application read while it handled a message: the webhooks need to know it.

Its requests have a key of ``api.key_file``, or none where none is needed. Answers to others, refusals of the gate,
and what another host answers are not its.
"""

import re
from typing import Final

from aiohttp import web

from waguard.api import connection
from waguard.api.auth import APPLICATION, address_of, is_for_another, shown_keys
from waguard.api.deps import BODY, CALLER, DEPS, ELSEWHERE, FORWARDED, ApiDeps
from waguard.api.gate import is_addressed
from waguard.api.health import Vitals
from waguard.api.problems import Handler
from waguard.api.route import REPLY
from waguard.api.session_view import Session
from waguard.config.addresses import is_loopback
from waguard.core.issued_keys import is_key
from waguard.core.text.raw_http import Question
from waguard.core.webhooks.call_backs import is_good_health

_HEALTH: Final = "/health"
_STATUS: Final = frozenset({"/sessions/{session_id}/status", "/api/sessions/{session_id}/status"})

_ADDRESSES: Final = 64  # that are remembered
_STATUS_PATH: Final = re.compile("(?:/api)?/sessions/([^/]+)/status")


class Addresses:
    """From which keys of ``api.key_file`` were shown, the last ones: who asks from there without a key may be the application."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}

    def add(self, address: str) -> None:
        """Remember where one was shown; empty: on the local socket."""
        if not address:
            return
        self._known.pop(address, None)
        self._known[address] = None
        if len(self._known) > _ADDRESSES:
            self._known.pop(next(iter(self._known)))

    def __contains__(self, address: str) -> bool:
        return address in self._known


ADDRESSES: Final = web.AppKey("addresses", Addresses)


def given_up(app: web.Application, question: Question, peer: str | None) -> None:
    """A client has left before its request was begun: where it is the application, it drops its message. ``peer``: from
    which address, as ``web.BaseRequest.remote`` has it."""
    call_backs = app[DEPS].webhooks.call_backs
    if question.method != "GET":
        return
    if question.path == _HEALTH and _opens_health(app, question, peer):
        call_backs.health_answered(good=False)
    elif (found := _STATUS_PATH.fullmatch(question.path)) and _opens_status(app, question, peer):
        call_backs.status_answered(found[1], good=False)


def _opens_health(app: web.Application, question: Question, peer: str | None) -> bool:
    """Whether it may be the application, and is nobody else as far as can be seen: whoever asks, nobody needs a key."""
    if app[DEPS].keys.caller(question.keys) is APPLICATION:
        return True
    address = address_of(peer)
    is_near = is_loopback(address) or address in app[ADDRESSES]
    return is_near and _is_its_own(app[DEPS], question)


def _opens_status(app: web.Application, question: Question, peer: str | None) -> bool:
    """Whether it may be the application; also where another host forwards it, for somebody."""
    deps, keys = app[DEPS], question.keys
    if deps.keys.caller(keys) is APPLICATION or any(map(deps.keys.is_of_a_host, keys)):
        return True
    return (
        deps.config().api.keyless_loopback
        and is_loopback(address_of(peer))
        and not question.path.startswith("/api/")
        and _is_its_own(deps, question)
    )


def _is_its_own(deps: ApiDeps, question: Question) -> bool:
    """Whether nothing in it says that it is somebody else's. It has no key of ``api.key_file``."""
    if any(map(is_key, question.keys)) or is_for_another(question.headers):
        return False
    return is_addressed(question.host, deps)


@web.middleware
async def witnessed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Report each answer about health and status to the webhooks as it leaves, also where it failed."""
    response = await handler(request)
    if request.get(CALLER) is APPLICATION and FORWARDED not in request:
        request.app[ADDRESSES].add(address_of(request.remote))
    if ELSEWHERE in request or not _is_of_the_application(request):
        return response
    resource = request.match_info.route.resource
    call_backs = request.app[DEPS].webhooks.call_backs
    reply, of = request.get(REPLY), connection.of(request)
    if resource is None or request.method != "GET" or (of and of.is_given_up):
        return response
    is_read = (
        of is None or not of.has_hung_up
    )  # else the application has given it up, and drops its message
    if resource.canonical == _HEALTH:
        if not (is_read or _opens_health(request.app, connection.asked(request), request.remote)):
            return response
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
