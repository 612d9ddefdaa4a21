"""/api/sessions: create, list, status, start and stop, metadata, screenshot, pairing code."""

import time
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import BODY, DEPS
from waguard.core.blame import Condition
from waguard.errors import NotFoundError, UnavailableError
from waguard.ports.sessions import SessionView
from waguard.wire.calls import PairingCode, Screenshot
from waguard.wire.reports import PageVersion

ID_LIMIT: Final = 2**63 - 1
MB: Final = 1 << 20
REMOVED: Final = "its session was deleted"
READY_WAIT: Final = 20.0  # s for a call that needs a ready page


def condition(it: Condition) -> dict[str, Any]:
    """What is wrong, or a person should know, and what to do about it."""
    return {
        "session_id": it.session,
        "type": it.type,
        "blame": str(it.blame),
        "reason": it.reason,
        "message": it.message,
        "remedy": it.remedy,
        "since": fields.iso(round(it.since)),
        "until": None if it.until is None else fields.iso(round(it.until)),
        "expires_in": None if it.expires_in is None else round(it.expires_in),
        "stage": it.stage,
        "unattended_until": None
        if it.unattended_until is None
        else fields.iso(round(it.unattended_until)),
        "unattended_expires_in": None
        if it.unattended_expires_in is None
        else round(it.unattended_expires_in),
        "degrades": it.degrades,
    }


def version(it: PageVersion | None) -> dict[str, Any] | None:
    """What a page is loaded with."""
    if it is None:
        return None
    return {
        "page": it.page,
        "document": it.document,
        "served_by": it.served_by,
        "wajs": it.wajs,
        "wajs_version": it.wajs_version,
        "missing": list(it.missing),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else fields.iso(moment)


def listed(view: SessionView) -> dict[str, Any]:
    """A session in the list, as the application reads it."""
    return {
        "session_id": view.session_id,
        "workspace_id": view.workspace_id,
        "status": view.status,
        "phone_number": view.phone_number,
        "connected_at": _time(view.connected_at),
    }


def shown(view: SessionView) -> dict[str, Any]:
    """A session alone, with what ops want to know."""
    return {
        **listed(view),
        "last_activity": _time(view.last_activity),
        "lifecycle": view.lifecycle,
        "link": view.link,
        "disconnect_reason": view.disconnect_reason,
        "disconnect_details": view.disconnect_details,
        "worker_pid": view.worker_pid,
        "browser_pid": view.browser_pid,
        "restarts": view.restarts,
        "cpu_percent": view.usage and view.usage.cpu_percent,
        "memory_mb": view.usage and round(view.usage.memory / MB, 1),
        "version": version(view.version),
        "waiting": view.waiting,
        "degraded": view.degraded,
        "conditions": [condition(it) for it in view.conditions],
        "undecryptable": {
            "count": view.undecryptable,
            "since": None
            if view.undecryptable_since is None
            else fields.iso(round(view.undecryptable_since)),
        },
        "removed_at": _time(view.removed_at),
    }


async def create(request: web.Request) -> web.Response:
    """POST /api/sessions."""
    body = request[BODY]
    request.app[DEPS].require_room()
    view, is_new = await request.app[DEPS].sessions.create(
        fields.session_id(body.get("session_id")),
        fields.workspace_id(body.get("workspace_id")),
        account_id=fields.optional_integer(body, "account_id", least=0, most=ID_LIMIT),
        priority=fields.optional_integer(
            body,
            "priority",
            least=-fields.PRIORITY_LIMIT,
            most=fields.PRIORITY_LIMIT,
            words=fields.PRIORITIES,
        )
        or 0,
    )
    answer = {"success": True, "session_id": view.session_id, "status": view.status}
    return web.json_response(answer, status=201 if is_new else 200)


async def phone_activity(request: web.Request) -> web.Response:
    """GET /api/internal/sessions/{session_id}/last-activity: the application asks it whether a campaign
    may go on."""
    view = await request.app[DEPS].sessions.view(fields.path_session(request))
    used = view.phone_used_at
    data = {
        "session_id": view.session_id,
        "last_activity": None if used is None else fields.iso(used),
    }
    return web.json_response({"success": True, "data": data})


async def listing(request: web.Request) -> web.Response:
    """GET /api/sessions; ``?removed=1``: also those that were deleted."""
    removed = fields.flag(request, "removed")
    views = await request.app[DEPS].sessions.views(removed=removed)
    rows = [
        listed(view) | ({"removed_at": _time(view.removed_at)} if removed else {}) for view in views
    ]
    return web.json_response({"success": True, "sessions": rows, "total": len(rows)})


async def status(request: web.Request) -> web.Response:
    """GET /api/sessions/:id/status."""
    view = await request.app[DEPS].sessions.view(fields.path_session(request))
    return web.json_response(shown(view))


async def restore(request: web.Request) -> web.Response:
    """POST …/restore, …/start: want it up."""
    view = await request.app[DEPS].sessions.start(fields.path_session(request), restart=False)
    return web.json_response({"success": True, **shown(view)})


async def reconnect(request: web.Request) -> web.Response:
    """POST …/reconnect: replace its worker."""
    view = await request.app[DEPS].sessions.start(fields.path_session(request), restart=True)
    return web.json_response({"success": True, **shown(view)})


async def stop(request: web.Request) -> web.Response:
    """POST …/stop: want it down; its pairing stays."""
    view = await request.app[DEPS].sessions.stop(fields.path_session(request))
    return web.json_response({"success": True, **shown(view)})


async def logout(request: web.Request) -> web.Response:
    """POST …/logout: unlink, the row stays; what was still to be sent fails."""
    session_id = fields.path_session(request)
    view = await request.app[DEPS].sessions.logout(session_id)
    await request.app[DEPS].outbox.abandon(session_id, "its session was logged out")
    return web.json_response({"success": True, **shown(view)})


async def delete(request: web.Request) -> web.Response:
    """DELETE: logout, and it is listed no more; ``?purge=1``: its row is soft-deleted, too."""
    session_id, purge = fields.path_session(request), fields.flag(request, "purge")
    await request.app[DEPS].sessions.delete(session_id, purge=purge)
    await request.app[DEPS].outbox.abandon(session_id, REMOVED)
    if purge:
        webhooks = request.app[DEPS].webhooks
        await webhooks.delete_endpoint(session_id)
        await webhooks.dead_letters.add_session(session_id, REMOVED, before=time.time())
    return web.json_response({"success": True, "session_id": session_id})


async def metadata(request: web.Request) -> web.Response:
    """GET …/metadata."""
    view = await request.app[DEPS].sessions.view(fields.path_session(request))
    found = await request.app[DEPS].store.metadata(view.session_id)
    return web.json_response({"success": True, "session_id": view.session_id, "metadata": found})


async def set_metadata(request: web.Request) -> web.Response:
    """PUT …/metadata: ``{"metadata": {…}}`` or the object itself, which replace what was there;
    ``{"updates": {…}}`` is merged into it."""
    view = await request.app[DEPS].sessions.view(fields.path_session(request))
    body, store = request[BODY], request.app[DEPS].store
    found: dict[str, Any] | None
    if "updates" in body:
        found = await store.merge_metadata(view.session_id, _updates(body))
    else:
        given = {k: v for k, v in body.items() if k != "api_key"}
        found = fields.mapping(body.get("metadata", given), "metadata")
        await store.set_metadata(view.session_id, found)
    if found is None:
        raise NotFoundError("Session not found")
    return web.json_response({"success": True, "session_id": view.session_id, "metadata": found})


def _updates(body: dict[str, Any]) -> dict[str, Any]:
    if "metadata" in body:
        raise fields.bad("updates", None, "metadata is given, too", "send one of the two")
    return fields.mapping(body["updates"], "updates")


async def pairing_code(request: web.Request) -> web.Response:
    """POST …/pairing-code: a code to type on the phone instead of a scan."""
    session_id = fields.path_session(request)
    call = PairingCode(phone=fields.phone(request[BODY].get("phone_number"), "phone_number"))
    value = await request.app[DEPS].sessions.call(session_id, call, wait=READY_WAIT)
    if not (code := value.text):
        raise UnavailableError(
            "WhatsApp gave no code", remedy="try again, or scan the QR code", retry_after=10
        )
    return web.json_response({"success": True, "code": code})


async def screenshot(request: web.Request) -> web.Response:
    """GET …/screenshot: a PNG of the page."""
    session_id = fields.path_session(request)
    value = await request.app[DEPS].sessions.call(session_id, Screenshot(), wait=0)
    if not (content := value.content):
        raise UnavailableError(
            "there is no picture", remedy="try again when the session is running", retry_after=5
        )
    return web.Response(body=content, content_type="image/png")
