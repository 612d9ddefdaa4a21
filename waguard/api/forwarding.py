"""Any host answers for any session: what is another host's is forwarded to it, whole, and once. Only in a cluster.

Where nothing of it has gone out, it is 503. Where something has, and no whole answer came, a send is uncertain, and so is
a change of a group; everything else is 503. A request that was forwarded is never forwarded again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from waguard.api import fields, media, rights
from waguard.api.audit import CutOffError, audited
from waguard.api.confirmations import Confirmations
from waguard.api.deadline import READS
from waguard.api.deps import (
    ASK_HOSTS,
    BODY,
    CONFIRMATIONS,
    DEPS,
    ELSEWHERE,
    FORWARDED,
    KEY_SHARING,
    SEALS,
    SESSION,
    Cluster,
)
from waguard.api.events import SEVERAL
from waguard.api.gate import MEDIA_PATH
from waguard.api.groups import ChangeUncertain
from waguard.api.host_calls import HostCalls
from waguard.api.host_events import HostEvents
from waguard.api.host_seals import HostSeals
from waguard.api.limits import bounded
from waguard.api.messages import SendUncertain
from waguard.api.outbox import ID_LIMIT, NUMBER
from waguard.api.problems import Handler
from waguard.api.route import SENDS, Reply, json_reply, route_of
from waguard.api.seats import without_owner
from waguard.api.session_view import shown
from waguard.api.shared_keys import SharedKeys
from waguard.api.timings import Timings
from waguard.api.uploads_elsewhere import bring
from waguard.core.keys import Right
from waguard.errors import InvalidInputError, UnavailableError, WaguardError
from waguard.host.clock import SystemClock

CALLS: Final = web.AppKey("host_calls", HostCalls)
RETRY_AFTER: Final = 5.0  # s
_CREATE: Final = "/api/sessions"
_STATUS: Final = frozenset({"/sessions/{session_id}/status", "/api/sessions/{session_id}/status"})
_BULK: Final = "/api/messages/bulk-send"
_GROUPS: Final = frozenset(
    {
        "/api/sessions/{session_id}/groups",
        "/api/sessions/{session_id}/groups/{group_id}/participants",
    }
)
_RECEIVED: Final = "/api/media/{sha256}"
_DRAIN: Final = "/api/hosts/{host}/drain"
_DO_NOT_REPEAT: Final = "do not repeat it; look at the chat on the phone"


def join(app: web.Application, cluster: Cluster, timings: Timings) -> None:
    """Make it the API of one host of a cluster, before it serves."""
    seals = HostSeals(cluster, SystemClock())
    calls = HostCalls(cluster, seals, timings)
    app[SEVERAL] = HostEvents(cluster, calls, SystemClock()).listen

    async def ask(target: str) -> dict[str, Any]:
        return await calls.answers(target, within=timings.hosts_answer)

    app[ASK_HOSTS] = ask
    shared = SharedKeys(app[DEPS].issued_keys, cluster.keys, calls)
    app[SEALS], app[CALLS], app[KEY_SHARING] = seals, calls, shared
    app[CONFIRMATIONS] = Confirmations(within=timings.reply_confirmed)
    app[DEPS].keys.is_of_a_host = seals.is_one

    async def lasting(_: web.Application) -> AsyncIterator[None]:
        await calls.begin()
        sharing = asyncio.create_task(shared.run(), name="shared keys")
        yield
        sharing.cancel()
        await asyncio.gather(sharing, return_exceptions=True)
        await calls.close()

    async def name_host(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.setdefault("X-Instance-Url", cluster.instance_url)

    app.cleanup_ctx.append(lasting)
    app.on_response_prepare.append(name_host)


@web.middleware
async def forwarding(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have its owner answer what is about a session, and the host that has it what is about a file."""
    match (request.method, _resource(request)):
        case (_, str(resource)) if resource == _DRAIN:
            return await _at_host(request, handler)
        case (method, str(resource)) if resource == _RECEIVED and method in READS:
            return await _file(request, handler)
    session = await _session(request)
    if session is None or not await rights.sees(request, session):
        return await handler(request)
    cluster = _cluster(request)
    if cluster.ownership.epoch(session) is not None:
        if _resource(request) == MEDIA_PATH:
            await _bring_upload(request)
        return await handler(request)
    to = cluster.ownership.address(session)
    if to is None or to == cluster.address:
        return await _without_owner(request, handler, session)
    return await _elsewhere(request, to, session)


def _cluster(request: web.Request) -> Cluster:
    cluster = request.app[DEPS].cluster
    assert cluster  # noqa: S101 - this is only passed in one
    return cluster


def _resource(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else ""


# ---- whose it is ----


async def _session(request: web.Request) -> str | None:
    """The session that the request is about; None: none that could be one, or several."""
    if "session_id" in request.match_info:
        return _valid(request.match_info["session_id"])
    if (found := _OF_A_ROW.get((request.method, _resource(request)))) is not None:
        return await found(request)
    route = route_of(request.match_info.handler)
    if route and "session_id" in getattr(route.types.get("body"), "__struct_fields__", ()):
        return _valid(request[BODY].get("session_id"))
    return None


def _valid(given: Any) -> str | None:
    try:
        return fields.session_id(given)
    except InvalidInputError:
        return None  # the handler says what is wrong


async def _of_message(request: web.Request) -> str | None:
    given, outgoing = request.match_info["id"], request.app[DEPS].outgoing
    if NUMBER.fullmatch(given):
        row = await outgoing.find(int(given))
    else:
        row = await outgoing.find_message(given[:ID_LIMIT])
    return row.session_id if row else None


async def _of_bulk(request: web.Request) -> str | None:
    bulk_id = request.match_info["bulk_id"]
    for row in await request.app[DEPS].outgoing.listing(bulk_id=bulk_id, limit=1):
        return row.session_id
    return None


async def _of_file(request: web.Request) -> str | None:
    file = await media.named(request, request.match_info["id"])
    return file.session_id if file else None


async def _of_letter(request: web.Request) -> str | None:
    number = request.match_info["number"]
    if not NUMBER.fullmatch(number):
        return None
    letter = await request.app[DEPS].messages.dead_letter(int(number))
    return letter.session_id if letter else None


_OF_A_ROW: Final[dict[tuple[str, str], Callable[[web.Request], Awaitable[str | None]]]] = {
    ("POST", "/api/messages/{id}/cancel"): _of_message,
    ("POST", "/api/messages/bulk/{bulk_id}/cancel"): _of_bulk,
    ("POST", "/api/messages/{id}/media"): _of_file,
    ("POST", "/api/webhooks/dead/{number}/replay"): _of_letter,
    ("DELETE", "/api/webhooks/dead/{number}"): _of_letter,
}
"""Whose session a row names; what only reads rows is answered by any host."""


# ---- where it goes ----


async def _elsewhere(request: web.Request, to: str, session: str | None) -> web.StreamResponse:
    if FORWARDED in request:
        raise UnavailableError(
            "the session has just been moved", remedy="repeat it", retry_after=RETRY_AFTER
        )
    request[ELSEWHERE] = False
    if session is not None:
        request[SESSION] = session

    async def there(request: web.Request) -> web.StreamResponse:
        response = await request.app[CALLS].forward(request, to, session=session)
        request[ELSEWHERE] = True
        return response

    async def recorded(request: web.Request) -> web.StreamResponse:
        return await audited(request, there)

    try:
        return await bounded(request, recorded)
    except CutOffError as error:
        if (reply := _uncertain(request, error)) is None:
            raise
        return json_reply(reply)


def _uncertain(request: web.Request, error: CutOffError) -> Reply | None:
    """The answer of what may have been done and must not be repeated; None: it may be."""
    resource = _resource(request)
    if resource in _GROUPS and request.method not in READS:
        return ChangeUncertain(error=error.message, remedy=_DO_NOT_REPEAT)
    if resource in SENDS or resource == _BULK:
        named = request.headers.get("Idempotency-Key") or request[BODY].get("idempotency_key")
        # with a key a repetition is the same message
        return None if named else SendUncertain(message_id=None, error=error.message)
    return None


async def _without_owner(
    request: web.Request, handler: Handler, session: str
) -> web.StreamResponse:
    resource, deps = _resource(request), request.app[DEPS]
    if resource == _CREATE:
        return await _created(request, handler, session)
    if await deps.store.session(session) is None:
        return await handler(request)  # which has it, or says that there is none
    if resource in SENDS or resource == _BULK:
        if resource == MEDIA_PATH:
            await _bring_upload(request)
        return await handler(request)  # what need not go at once is kept for its next owner
    if resource in _STATUS and request.method in READS:
        await rights.require_workspace(request, {"session_id": session})
        unowned = _cluster(request).hosts.unowned() or {}
        for view in await deps.sessions.views(removed=True, elsewhere=True):
            if view.session_id == session:
                return json_reply(shown(without_owner(unowned, view), host=None))
    raise UnavailableError(
        "no host has the session now",
        remedy="repeat it; `waguard hosts` shows whether a host has room",
        retry_after=RETRY_AFTER,
    )


async def _created(request: web.Request, handler: Handler, session: str) -> web.StreamResponse:
    """The application writes its row before it asks for the session: another host may have claimed that meanwhile, and is
    the one that answers."""
    try:
        return await handler(request)
    except UnavailableError:
        to = _cluster(request).ownership.address(session)
        if to is None or to == _cluster(request).address:
            raise
    return await _elsewhere(request, to, session)


async def _at_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is about a host is that one's to do."""
    view, name = _cluster(request).hosts.view(), request.match_info["host"]
    found = next((it.record for it in view.hosts if it.record.host == name), None)
    if name == view.host or found is None:
        return await handler(request)
    rights.require_right(request, Right.ADMIN)
    rights.require_narrowing(request, rights.Narrowing.REFUSED)
    if not found.alive:
        raise UnavailableError(
            f"{name} does not run", remedy="there is nothing to drain", retry_after=RETRY_AFTER
        )
    return await _elsewhere(request, found.address, None)


# ---- files ----


async def _file(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Received files lie where they were received. Raises ``NotFoundError`` where all hosts say so."""
    try:
        return await handler(request)
    except media.NotHereError:
        if FORWARDED in request:
            raise
        calls, view = request.app[CALLS], _cluster(request).hosts.view()
        unknown = not all(it.record.alive for it in view.hosts)
        for to in calls.others():
            try:
                answer = await calls.file(request, to)
            except WaguardError:
                unknown = True
                continue
            failed = answer.head.status >= web.HTTPInternalServerError.status_code
            if not failed and answer.head.status != web.HTTPNotFound.status_code:
                return await calls.passed_on(request, answer)
            unknown |= failed
            answer.head.close()
        if not unknown:
            raise
    raise UnavailableError(
        "the file may be on a host that is away or busy",
        remedy="repeat it, or POST /api/messages/{id}/media",
        retry_after=RETRY_AFTER,
    )


async def _bring_upload(request: web.Request) -> None:
    """Have here the file that is to be sent, whichever host it was uploaded to."""
    rights.require_right(request, Right.SEND)
    sha256, files = request[BODY].get("media_sha256"), request.app[DEPS].outgoing_files
    if not isinstance(sha256, str) or not media.SHA256.fullmatch(sha256):
        return
    if await files.find(sha256):
        return
    await bring(request.app[CALLS], files, _cluster(request).hosts, sha256)
