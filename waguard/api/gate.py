"""What every request passes before a handler sees it: host, body, key, deadline."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from waguard.api import auth, connection, media
from waguard.api.body import Body, late
from waguard.api.deadline import within_deadline
from waguard.api.deps import BODY, BODY_BYTES, CALLER, DEPS, FORWARDED, SEALS, ApiDeps
from waguard.api.key_table import require_known
from waguard.api.limits import (
    BODY_LIMIT,
    KEY_WITHIN,
    LOAD,
    MEDIA_BODY_LIMIT,
    SEARCHED_LIMIT,
    counted,
)
from waguard.api.local_socket import is_trusted
from waguard.api.problems import Handler
from waguard.api.route import SENDS, is_open
from waguard.api.timings import TIMINGS
from waguard.config.addresses import is_loopback
from waguard.core.host import http_cost
from waguard.core.issued_keys import is_key
from waguard.core.text import json_text
from waguard.errors import WaguardError

if TYPE_CHECKING:
    from waguard.core.cluster.forwarded_request import ForwardedRequest

MEDIA_PATH: Final = "/api/messages/send-media"
_WITH_FILES: Final = frozenset({MEDIA_PATH, "/api/cluster/events"})
_LARGE: Final = frozenset(
    {"/api/openapi.json", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"}
)
OWN_END: Final = SENDS | _LARGE | {"/api/events", media.UPLOAD}
"""Resources whose handlers end by themselves."""
_CODES: Final = frozenset(
    {
        "/api/sessions/{session_id}/qr",
        "/api/sessions/{session_id}/regenerate-qr",
        "/api/sessions/{session_id}/pairing-code",
    }
)
"""Resources whose POST answers with what links a phone."""
_KEYLESS: Final = frozenset(
    {
        ("GET", "/sessions/{session_id}/status"),
        ("POST", "/sessions/{session_id}/logout"),
        ("GET", "/api/internal/sessions/{session_id}/last-activity"),
    }
)


class HostNotAllowedError(WaguardError):
    """A page of another site made the browser call us by a name of its own (DNS rebinding)."""

    status = 403


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what is too large, malformed or without a key, before any handler sees it.

    Without a good key nothing is decoded, and little is kept.
    """
    if request.match_info.http_exception is not None:
        raise request.match_info.http_exception
    limit = MEDIA_BODY_LIMIT if request.path in _WITH_FILES else BODY_LIMIT
    # its handler reads it piece by piece, and refuses what is too large
    streams = request.path == media.UPLOAD
    accepted, issued = request.app[DEPS].keys, request.app[DEPS].issued_keys
    trusted, shown = is_trusted(request), auth.shown_keys(request)
    unknown: list[str] = []
    caller = auth.by_socket(request) if trusted else accepted.caller(shown)
    if caller is None and (forwarded := _forwarded(request, shown)):
        request[FORWARDED] = forwarded
        caller = auth.APPLICATION if forwarded.caller == auth.APPLICATION else forwarded.caller
        if (
            streams
        ):  # what is uploaded is no session's: nobody forwards it, and its seal could not cover it
            raise auth.refused()
    _recognize(request, known=caller is not None)
    body = Body(request, limit=sys.maxsize if streams else limit)
    if caller is None and (streams or not await _key_inside(request, body, unknown)):
        _check_host(request, request.app[DEPS])
        if not _is_open(request, request.app[DEPS]):
            await request.app[LOAD].refusals.turn()
            require_known(issued, [*shown, *unknown])
            raise auth.refused(cut_short=not (shown or streams or body.whole or body.names_key))
        request[BODY] = {}
        return await handler(request)
    _recognize(request, known=True)
    with counted(request, streams=streams) as charge:
        fields = {} if streams else await body.decoded(charge)
        request[BODY_BYTES] = body.raw
        await _require_content(request)
        if not trusted and caller is not auth.APPLICATION and FORWARDED not in request:
            # what looked like a key of the body can be one of an object within it; a key may have ended meanwhile
            caller = accepted.caller([*shown, fields.get("api_key") or None])
        if caller is None:
            _recognize(request, known=False)
            raise auth.refused()
        request[BODY], request[CALLER] = fields, caller
        issued.record_use(caller)
        _require_client(request)
        response = await handler(request)
        if _reads(request) and not (response.prepared or still_accepted(request)):
            raise auth.refused()  # the key ended while this was waited for
        return response


def still_accepted(request: web.Request) -> bool:
    """Whether the caller's key is still valid; of what is forwarded, the host that does so asks that."""
    caller, deps = request.get(CALLER), request.app[DEPS]
    if caller is None or FORWARDED in request:
        return True
    if caller is auth.APPLICATION:
        return deps.keys.caller(_all_shown(request)) is caller
    return deps.issued_keys.accepts(caller)


def lasting_as_its_key(request: web.Request) -> AbstractAsyncContextManager[None]:
    """End the body with ``TimeoutError`` when the caller's key ends; as ``still_accepted``."""
    caller, deps = request[CALLER], request.app[DEPS]
    if caller is auth.APPLICATION and FORWARDED not in request:
        return deps.keys.lasting(_all_shown(request))
    return deps.issued_keys.lasting(caller)


def _all_shown(request: web.Request) -> list[Any]:
    return [*auth.shown_keys(request), request[BODY].get("api_key") or None]


def _forwarded(request: web.Request, shown: Sequence[str]) -> "ForwardedRequest | None":
    seals = request.app.get(SEALS)
    return seals.opened(request, shown) if seals else None


async def _require_content(request: web.Request) -> None:
    """Raises ``UnauthorizedError`` where what came is not what the host has sealed that forwards it."""
    forwarded = request.get(FORWARDED)
    if forwarded and not await request.app[SEALS].carries(forwarded, request):
        raise auth.refused()


def _reads(request: web.Request) -> bool:
    """Whether its answer is all that it is about."""
    resource = request.match_info.route.resource
    return request.method == "GET" or (resource is not None and resource.canonical in _CODES)


def _recognize(request: web.Request, *, known: bool) -> None:
    if of := connection.of(request):
        of.recognize(known=known)


def _require_client(request: web.Request) -> None:
    """What nobody waits for is not begun: its client may have given up, and done something else."""
    if (of := connection.of(request)) and of.has_hung_up:
        raise ConnectionResetError


async def _key_inside(request: web.Request, body: Body, unknown: list[str]) -> bool:
    """Whether a good key is in the body, or in the beginning of a large one. ``unknown`` gets what may be one."""
    search = request.app[LOAD].search
    within = request.app[TIMINGS].body
    if not request.can_read_body:
        return False
    found = False
    try:
        async with asyncio.timeout(within) as end:
            with search.body(end) as charge:
                await body.read(KEY_WITHIN, charge)
                found = _holds_key(request, body, unknown)
                if not (found or body.whole or body.declared > SEARCHED_LIMIT):
                    await body.read(SEARCHED_LIMIT, charge)  # the application sends it last
                    found = _holds_key(request, body, unknown)
                return found
    except TimeoutError:
        raise late(within) from None
    finally:
        if not found:
            body.raw.clear()  # its answer may have to wait, and an error keeps it until the collector comes


def _holds_key(request: web.Request, body: Body, unknown: list[str]) -> bool:
    if of := connection.of(request):
        of.charge(http_cost.of_searching(len(body.raw)))
    inside = json_text.keys(body.raw)
    body.names_key = bool(inside)
    unknown += filter(is_key, inside)
    return request.app[DEPS].keys.accept_any(inside)


@web.middleware
async def ending(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request an end that has none of its own."""
    resource = request.match_info.route.resource
    if resource and resource.canonical in OWN_END:
        return await handler(request)
    return await within_deadline(request, handler)


def _is_open(request: web.Request, deps: ApiDeps) -> bool:
    if is_open(request):
        return True
    if FORWARDED in request:
        return _is_keyless(request)
    return deps.config().api.keyless_loopback and _is_keyless(request) and auth.is_local(request)


def _is_keyless(request: web.Request) -> bool:
    resource = request.match_info.route.resource
    return (request.method, resource.canonical if resource else "") in _KEYLESS


def is_addressed(host: str | None, deps: ApiDeps) -> bool:
    """Whether a request without a key with this ``Host`` is meant for this API."""
    if host is None or not is_loopback(deps.config().api.host):
        return True  # every browser sends one; an HTTP/1.0 probe may not
    name, public = _name(host), urlsplit(deps.config().api.public_url or "").hostname
    return is_loopback(name) or name == public


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _check_host(request: web.Request, deps: ApiDeps) -> None:
    given = request.headers.get("Host")
    if not is_addressed(given, deps):
        raise HostNotAllowedError(
            f"this API is not called {_name(given or '')[:60]!r}",
            field="Host",
            remedy="use 127.0.0.1 or localhost, or send a key",
        )
