"""Routes, and what every request passes: host, body, key, deadline."""

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from loguru import logger

from waguard.api import (
    actions,
    audit,
    auth,
    bulk,
    call_through,
    chats,
    connection,
    contacts,
    database,
    events,
    groups,
    health,
    history,
    incidents,
    keys,
    log_level,
    media,
    messages,
    metrics,
    outbox,
    page,
    page_tickets,
    passkey,
    proxies,
    qr,
    receivers,
    reconcile,
    reference,
    restored,
    sessions,
    timeline,
    versions,
    webhooks,
)
from waguard.api.body import Body, late
from waguard.api.call_backs import witnessed
from waguard.api.deadline import CHANGES, within_deadline
from waguard.api.deps import BODY, CALLER, DEPS, ApiDeps
from waguard.api.door import CONNECTIONS, Door, attend_requests
from waguard.api.issued_keys import require_known
from waguard.api.limits import (
    BODY_LIMIT,
    KEY_WITHIN,
    LOAD,
    MEDIA_BODY_LIMIT,
    SEARCHED_LIMIT,
    Load,
    Share,
    bounded,
    counted,
)
from waguard.api.local import is_trusted
from waguard.api.problems import REQUEST_ID, Handler, problems
from waguard.api.route import is_open
from waguard.api.standby import answers_for_itself
from waguard.api.timings import DEFAULT_LIMITS, DEFAULT_TIMINGS, LIMITS, TIMINGS, Limits, Timings
from waguard.config.addresses import is_loopback
from waguard.core.host import http_cost
from waguard.core.text import json_text
from waguard.errors import WaguardError
from waguard.host.clock import SystemClock

SHUTDOWN_TIMEOUT: Final = 5.0  # s for open requests at the end

_MEDIA_PATH: Final = "/api/messages/send-media"
_LARGE: Final = frozenset(
    {"/api/openapi.json", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"}
)
_OWN_END: Final = _LARGE | {"/api/events", "/api/messages/send", _MEDIA_PATH, media.UPLOAD}
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
    limit = MEDIA_BODY_LIMIT if request.path == _MEDIA_PATH else BODY_LIMIT
    # its handler reads it piece by piece, and refuses what is too large
    streams = request.path == media.UPLOAD
    accepted, issued = request.app[DEPS].keys, request.app[DEPS].issued_keys
    trusted, shown = is_trusted(request), auth.shown_keys(request)
    caller = auth.by_socket(request) if trusted else accepted.caller(shown)
    _recognize(request, known=caller is not None)
    body = Body(request, limit=sys.maxsize if streams else limit)
    if caller is None and (streams or not await _key_inside(request, body)):
        _check_host(request, request.app[DEPS])
        if not _is_open(request, request.app[DEPS]):
            await request.app[LOAD].refusals.turn()
            require_known(issued, shown)
            raise auth.refused()
        request[BODY] = {}
        return await handler(request)
    _recognize(request, known=True)
    with counted(request, streams=streams) as charge:
        fields = {} if streams else await body.decoded(charge)
        if not trusted and caller is not auth.APPLICATION:
            # what looked like a key of the body can be one of an object within it; a key may have ended meanwhile
            caller = accepted.caller([*shown, fields.get("api_key") or None])
        if caller is None:
            _recognize(request, known=False)
            raise auth.refused()
        request[BODY], request[CALLER] = fields, caller
        issued.record_use(caller)
        _require_client(request)
        response = await handler(request)
        if _reads(request) and not (response.prepared or issued.accepts(caller)):
            raise auth.refused()  # the key ended while this was waited for
        return response


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


async def _key_inside(request: web.Request, body: Body) -> bool:
    """Whether a good key is in the body, or in the beginning of a large one."""
    search = request.app[LOAD].search
    within = request.app[TIMINGS].body
    if not request.can_read_body:
        return False
    found = False
    try:
        async with asyncio.timeout(within) as end:
            with search.body(end) as charge:
                await body.read(KEY_WITHIN, charge)
                found = _holds_key(request, body)
                if not (found or body.whole or body.declared > SEARCHED_LIMIT):
                    await body.read(SEARCHED_LIMIT, charge)  # the application sends it last
                    found = _holds_key(request, body)
                return found
    except TimeoutError:
        raise late(within) from None
    finally:
        if not found:
            body.raw.clear()  # its answer may have to wait, and an error keeps it until the collector comes


def _holds_key(request: web.Request, body: Body) -> bool:
    if of := connection.of(request):
        of.charge(http_cost.of_searching(len(body.raw)))
    return request.app[DEPS].keys.accept_any(json_text.keys(body.raw))


@web.middleware
async def ending(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request an end that has none of its own."""
    if request.path in _OWN_END:
        return await handler(request)
    return await within_deadline(request, handler)


def _is_open(request: web.Request, deps: ApiDeps) -> bool:
    if is_open(request):
        return True
    resource = request.match_info.route.resource
    route = (request.method, resource.canonical if resource else "")
    return deps.config().api.keyless_loopback and route in _KEYLESS and auth.is_local(request)


def _check_host(request: web.Request, deps: ApiDeps) -> None:
    given = request.headers.get("Host")
    if given is None or not is_loopback(deps.config().api.host):
        return  # every browser sends one; an HTTP/1.0 probe may not
    try:
        name = urlsplit(f"//{given}").hostname or ""
    except ValueError:
        name = ""
    public = urlsplit(deps.config().api.public_url or "").hostname
    if not is_loopback(name) and name != public:
        raise HostNotAllowedError(
            f"this API is not called {name[:60]!r}",
            field="Host",
            remedy="use 127.0.0.1 or localhost, or send a key",
        )


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    """Nothing here may be guessed at or kept by a browser or a proxy."""
    response.headers["Server"] = "waguard"
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")


def create_app(
    deps: ApiDeps, *, timings: Timings = DEFAULT_TIMINGS, limits: Limits = DEFAULT_LIMITS
) -> web.Application:
    """The application; ``serve`` runs it."""
    # a change that goes on behind its request keeps its place
    passed = [witnessed, problems, gate, answers_for_itself, ending, bounded, audit.audited]
    app = web.Application(middlewares=passed, client_max_size=MEDIA_BODY_LIMIT)
    app[DEPS] = deps
    app[TIMINGS], app[LIMITS] = timings, limits
    app[LOAD] = Load(timings, limits)
    app[page_tickets.TICKETS] = page_tickets.Tickets(SystemClock())
    app[CHANGES], app[metrics.SCRAPES] = set(), set()
    app[reference.DOCUMENT], app[reference.READERS] = [], Share(0)
    app.on_response_prepare.append(_protect)
    one, dead = "/api/sessions/{session_id}", "/api/webhooks/dead"
    unknown = "/api/webhooks/unidentified"
    # What has no number in it is no id, but may be a route of another method. Routes are matched before the key
    # is: the first part ends at the first digit, for a search for another one would take quadratic time.
    with_number = "[^{}/0-9]*[0-9][^{}/]*"
    one_message, one_letter = f"{{id:{with_number}}}", f"{dead}/{{number:{with_number}}}"
    app.add_routes(
        [
            web.get("/", page.html),
            web.get("/page.js", page.script),
            web.get("/page.css", page.style),
            web.get("/page/{file:[a-z./]+}", page.part),
            web.get("/docs", reference.html),
            web.get("/docs/reference.js", reference.script),
            web.get("/docs/swagger-ui-bundle.js", reference.bundle),
            web.get("/docs/swagger-ui.css", reference.style),
            web.get("/api/openapi.json", reference.document),
            web.get("/health", health.health),
            web.get("/health/live", health.live),
            web.get("/health/ready", health.ready),
            web.get("/health/detailed", health.detailed),
            web.get("/metrics", metrics.show),
            web.get("/api/events", events.stream, allow_head=False),
            web.get("/api/audit", audit.listing),
            web.get("/api/history", history.fleet),
            web.get("/api/timeline", timeline.listing),
            web.get("/api/incidents", incidents.fleet),
            web.get("/api/incidents/all", incidents.every),
            web.get("/api/log-level", log_level.show),
            web.put("/api/log-level", log_level.put),
            web.get("/api/keys", keys.listing),
            web.post("/api/keys", keys.create),
            web.get("/api/keys/current", keys.current),
            web.delete("/api/keys/current", keys.leave),
            web.post("/api/keys/ticket", page_tickets.make),
            web.post("/api/keys/exchange", page_tickets.exchange),
            web.delete("/api/keys/{key_id}", keys.revoke),
            web.post("/api/database/accept", database.accept),
            web.post("/api/restored/groups/release", restored.release_groups),
            web.post("/api/restored/webhooks/release", restored.release_webhooks),
            web.get("/api/reconcile", reconcile.difference),
            web.post("/api/reconcile", reconcile.now),
            web.get("/api/versions", versions.listing),
            web.post("/api/versions/pin", versions.pin),
            web.post("/api/versions/unpin", versions.unpin),
            web.post("/api/versions/try", versions.try_version),
            web.get("/api/wajs", versions.bundles),
            web.post("/api/wajs/try", versions.try_bundle),
            web.post("/api/wajs/use", versions.use_bundle),
            web.post("/api/sessions", sessions.create),
            web.get("/api/sessions", sessions.listing),
            web.get(f"{one}/status", sessions.status),
            web.get(f"{one}/qr", qr.show),
            web.post(f"{one}/qr", qr.show),
            web.post(f"{one}/regenerate-qr", qr.regenerate),
            web.post(f"{one}/pairing-code", sessions.pairing_code),
            web.get(f"{one}/passkey", passkey.show),
            web.post(f"{one}/passkey/start", passkey.start),
            web.post(f"{one}/passkey/answer", passkey.answer),
            web.post(f"{one}/passkey/confirm", passkey.confirm),
            web.delete(f"{one}/passkey", passkey.cancel),
            web.post(f"{one}/restore", sessions.restore),
            web.post(f"{one}/start", sessions.restore),
            web.post(f"{one}/stop", sessions.stop),
            web.post(f"{one}/reconnect", sessions.reconnect),
            web.post(f"{one}/logout", sessions.logout),
            web.get(f"{one}/metadata", sessions.metadata),
            web.put(f"{one}/metadata", sessions.set_metadata),
            web.get(f"{one}/screenshot", sessions.screenshot),
            web.get(f"{one}/incidents", incidents.listing),
            web.get(f"{one}/webhook", receivers.show),
            web.put(f"{one}/webhook", receivers.put),
            web.delete(f"{one}/webhook", receivers.delete),
            web.get(f"{one}/proxy", proxies.show),
            web.put(f"{one}/proxy", proxies.put),
            web.delete(f"{one}/proxy", proxies.delete),
            web.get(f"{one}/history", history.of_session),
            web.delete(one, sessions.delete),
            web.get(f"{one}/groups", groups.listing),
            web.post(f"{one}/groups", groups.create),
            web.get(f"{one}/groups/{{group_id}}", groups.show),
            web.get(f"{one}/groups/{{group_id}}/invite", groups.invite),
            web.post(f"{one}/groups/{{group_id}}/participants", groups.add),
            web.delete(f"{one}/groups/{{group_id}}/participants", groups.remove),
            web.get(f"{one}/contacts", contacts.listing),
            web.get(f"{one}/contacts/{{chat_id}}/picture", contacts.picture),
            web.get(f"{one}/numbers/{{numbers}}", contacts.numbers),
            web.get(f"{one}/chats", chats.listing),
            web.get(f"{one}/chats/{{chat_id}}/messages", chats.messages),
            web.post(f"{one}/wajs/{{function}}", call_through.call),
            web.get("/sessions/{session_id}/status", sessions.status),
            web.post("/sessions/{session_id}/logout", sessions.logout),
            web.get("/api/internal/sessions/{session_id}/last-activity", sessions.phone_activity),
            web.post("/api/messages/send", messages.send),
            web.post(_MEDIA_PATH, messages.send_media),
            web.post("/api/messages/send-location", messages.send_location),
            web.post("/api/messages/send-contact", messages.send_contact),
            web.post("/api/messages/send-poll", messages.send_poll),
            web.get("/api/messages/{session_id}/validate", messages.validate),
            web.get("/api/media/{sha256}", media.show),
            web.post(media.UPLOAD, media.upload),
            web.post("/api/messages/bulk-send", bulk.send),
            web.get("/api/messages/bulk/{bulk_id:[0-9a-f-]{36}}", bulk.show),
            web.post("/api/messages/bulk/{bulk_id:[0-9a-f-]{36}}/cancel", bulk.cancel),
            web.get("/api/messages", outbox.listing),
            web.get(f"/api/messages/{one_message}", outbox.show),
            web.post(f"/api/messages/{one_message}/cancel", outbox.cancel),
            web.post(f"/api/messages/{one_message}/media", media.fetch_again),
            web.post(f"/api/messages/{one_message}/reaction", actions.react),
            web.post(f"/api/messages/{one_message}/edit", actions.edit),
            web.post(f"/api/messages/{one_message}/revoke", actions.revoke),
            web.post(f"{one}/chats/{{chat_id}}/seen", actions.mark_seen),
            web.post(f"{one}/chats/{{chat_id}}/typing", actions.show_typing),
            web.get("/api/webhooks/receivers", receivers.listing),
            web.get("/api/webhooks/held", webhooks.held),
            web.post("/api/webhooks/held/discard", webhooks.discard_held),
            web.get(unknown, webhooks.unidentified),
            web.post(f"{unknown}/replay", webhooks.replay_unidentified),
            web.post(f"{unknown}/discard", webhooks.discard_unidentified),
            web.get(dead, webhooks.listing),
            web.post(f"{dead}/replay", webhooks.replay_all),
            web.get(one_letter, webhooks.letter),
            web.post(f"{one_letter}/replay", webhooks.replay),
            web.delete(one_letter, webhooks.discard),
        ]
    )
    return app


async def serve(
    app: web.Application,
    listener: socket.socket,
    *,
    connections: int = CONNECTIONS,
    timings: Timings = DEFAULT_TIMINGS,
    limits: Limits = DEFAULT_LIMITS,
    kept: Callable[[], bool] = lambda: False,
) -> web.AppRunner:
    """Run on a socket that listens already, for so many at a time; ``runner.cleanup()`` ends it. Where it is
    ``kept`` then, another process has it, too, and goes on."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    assert runner.server  # noqa: S101 - it is set up
    attend_requests(runner.server)
    door = Door(
        runner,
        listener,
        most=connections,
        timings=timings,
        limits=limits,
        kept=kept,
        accept=app[DEPS].keys.accept_any if DEPS in app else bool,
    )
    await door.start()
    logger.debug("API serves")
    return runner
