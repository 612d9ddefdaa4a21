"""/api/sessions: create, list, status, start and stop, metadata, screenshot, pairing code."""

import time
from typing import Any, ClassVar, Final

from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from waguard.api import fields, rights
from waguard.api.audit import who
from waguard.api.deps import BODY, DEPS, SESSION
from waguard.api.fields import (
    AccountId,
    Object,
    Phone,
    Priority,
    SessionId,
    Switch,
    WorkspaceId,
)
from waguard.api.proxies import OwnProxy, given
from waguard.api.rights import Narrowing
from waguard.api.route import Done, OfSession, ignored, route
from waguard.api.seats import seating
from waguard.api.session_view import Session, shown
from waguard.core.keys import Right
from waguard.errors import NotFoundError, NumberLinkedError, UnavailableError
from waguard.ports.sessions import LOGGED_OUT, REMOVED
from waguard.wire.calls import PairingCode, Screenshot

READY_WAIT: Final = 20.0  # s for a call that needs a ready page


class CreateSession(Struct, kw_only=True):
    """A session to create."""

    session_id: SessionId
    workspace_id: WorkspaceId
    account_id: AccountId | None = None
    priority: Priority | None = None
    proxy: OwnProxy | None = None


class Existing(OfSession, kw_only=True):
    """The session exists. ``ignored`` names fields of the request without effect."""

    status: str
    ignored: list[str] | UnsetType = UNSET


class Created(Existing, kw_only=True):
    """The session is new. ``ignored`` names fields of the request without effect."""

    STATUS: ClassVar[int] = 201


@route(Right.OPERATE, 409, 507, narrows=Narrowing.WORKSPACE)
async def create(request: web.Request, body: CreateSession) -> Created | Existing:
    """Create a session and start it. A removed one comes back."""
    request[SESSION] = body.session_id
    request.app[DEPS].require_room()
    view, is_new = await request.app[DEPS].sessions.create(
        body.session_id,
        body.workspace_id,
        account_id=body.account_id,
        priority=body.priority or 0,
        proxy=given(request, body.proxy) if body.proxy else None,
    )
    reply = Created if is_new else Existing
    return reply(session_id=view.session_id, status=view.status, ignored=ignored(request, body))


class Used(Struct, kw_only=True):
    """When a message was last written on the account's phone; null: not since the daemon's start."""

    session_id: str
    last_activity: str | None


class PhoneActivity(Done, kw_only=True):
    """The application asks it whether a campaign may go on."""

    data: Used


@route(Right.READ)
async def phone_activity(request: web.Request, session_id: SessionId) -> PhoneActivity:
    """When a message was last written on the account's phone."""
    view = await request.app[DEPS].sessions.view(session_id)
    used = view.phone_used_at
    at = None if used is None else fields.iso(used)
    return PhoneActivity(data=Used(session_id=view.session_id, last_activity=at))


class Removed(Struct, kw_only=True):
    """Which sessions: 1: removed ones, too."""

    removed: Switch = False


class ListedSession(Struct, kw_only=True):
    """A session in the list, as the application reads it."""

    session_id: str
    workspace_id: int
    status: str
    phone_number: str | None
    connected_at: str | None
    removed_at: str | UnsetType | None = UNSET


class ListedSessions(Done, kw_only=True):
    """All sessions, by id."""

    sessions: list[ListedSession]
    total: int


@route(Right.READ, narrows=Narrowing.LIST)
async def listing(request: web.Request, query: Removed) -> ListedSessions:
    """List the sessions."""
    names = await rights.sessions_seen(request)
    views = await request.app[DEPS].sessions.views(removed=query.removed, elsewhere=True)
    rows = [
        ListedSession(
            session_id=view.session_id,
            workspace_id=view.workspace_id,
            status=view.status,
            phone_number=view.phone_number,
            connected_at=fields.moment(view.connected_at),
            removed_at=fields.moment(view.removed_at) if query.removed else UNSET,
        )
        for view in views
        if rights.within(names, view.session_id)
    ]
    return ListedSessions(sessions=rows, total=len(rows))


@route(Right.READ)
async def status(request: web.Request, session_id: SessionId) -> Session:
    """One session, with its conditions."""
    deps = request.app[DEPS]
    return seating(deps.cluster)(await deps.sessions.view(session_id))


@route(Right.OPERATE, 409, 507)
async def restore(request: web.Request, session_id: SessionId) -> Session:
    """Want the session up."""
    view = await request.app[DEPS].sessions.start(session_id, restart=False)
    return shown(view, success=True)


@route(Right.OPERATE, 409, 507)
async def reconnect(request: web.Request, session_id: SessionId) -> Session:
    """Replace its worker and Chromium; the pairing stays."""
    view = await request.app[DEPS].sessions.start(session_id, restart=True)
    return shown(view, success=True)


@route(Right.OPERATE, 409)
async def stop(request: web.Request, session_id: SessionId) -> Session:
    """Want the session down; its pairing stays."""
    return shown(await request.app[DEPS].sessions.stop(session_id), success=True)


@route(Right.OPERATE, 409)
async def logout(request: web.Request, session_id: SessionId) -> Session:
    """Unlink the session at WhatsApp; the row stays. What was still to be sent fails."""
    deps = request.app[DEPS]

    async def abandon() -> None:
        await deps.outbox.abandon(session_id, LOGGED_OUT)

    view, unlinked = await deps.sessions.logout(session_id, by=who(request), last=abandon)
    await abandon()  # what was accepted since then
    return shown(view, success=True, unlinked=unlinked)


class Purge(Struct, kw_only=True):
    """How a session is deleted: 1: its row is soft-deleted, too."""

    purge: Switch = False


class Deleted(OfSession, kw_only=True):
    """The session is deleted. ``unlinked`` false: WhatsApp did not hear of it; remove the device on the phone."""

    unlinked: bool


@route(Right.OPERATE, 409)
async def delete(request: web.Request, session_id: SessionId, query: Purge) -> Deleted:
    """Log out, and leave all lists."""
    deps = request.app[DEPS]

    async def remove_rest() -> None:
        await deps.outbox.abandon(session_id, REMOVED)
        if query.purge:
            await deps.webhooks.delete_endpoint(session_id)
            letters = deps.webhooks.dead_letters
            await letters.add_session(session_id, REMOVED, before=time.time())

    unlinked = await deps.sessions.delete(
        session_id, purge=query.purge, by=who(request), last=remove_rest
    )
    return Deleted(session_id=session_id, unlinked=unlinked)


class Metadata(OfSession, kw_only=True):
    """The application's JSON object."""

    metadata: dict[str, Any] | None


@route(Right.READ, 409)
async def metadata(request: web.Request, session_id: SessionId) -> Metadata:
    """Read the application's JSON object."""
    view = await request.app[DEPS].sessions.view(session_id)
    found = await request.app[DEPS].store.metadata(view.session_id)
    return Metadata(session_id=view.session_id, metadata=found)


class SetMetadata(Struct, kw_only=True):
    """What replaces it (``metadata``, else the whole object), or is merged into it (``updates``)."""

    metadata: Object | UnsetType = UNSET
    updates: Object | UnsetType = UNSET

    @property
    def is_bare(self) -> bool:
        """Whether the whole body is the object."""
        return self.metadata is UNSET and self.updates is UNSET


@route(Right.SEND, 409)
async def set_metadata(request: web.Request, session_id: SessionId, body: SetMetadata) -> Metadata:
    """Replace the application's JSON object, or merge into it."""
    view = await request.app[DEPS].sessions.view(session_id)
    store = request.app[DEPS].store
    found: dict[str, Any] | None
    if body.updates is not UNSET:
        if body.metadata is not UNSET:
            raise fields.bad("updates", None, "metadata is given, too", "send one of the two")
        found = await store.merge_metadata(view.session_id, body.updates)
    else:
        found = {key: it for key, it in request[BODY].items() if key != "api_key"}
        if body.metadata is not UNSET:
            found = body.metadata
        if not await store.set_metadata(view.session_id, found):
            found = None
    if found is None:
        raise NotFoundError("Session not found")
    return Metadata(session_id=view.session_id, metadata=found)


class PairBy(Struct, kw_only=True):
    """The phone to pair."""

    phone_number: Phone


class TypedCode(Done, kw_only=True):
    """What is typed on the phone."""

    code: str


@route(Right.OPERATE, 409)
async def pairing_code(request: web.Request, session_id: SessionId, body: PairBy) -> TypedCode:
    """A code to type on the phone instead of a scan."""
    call = PairingCode(phone=body.phone_number)
    try:
        value = await request.app[DEPS].sessions.call(session_id, call, wait=READY_WAIT)
    except NumberLinkedError as error:
        if error.session is None or await rights.sees(request, error.session):
            raise
        raise NumberLinkedError(body.phone_number) from None
    if not (code := value.text):
        raise UnavailableError(
            "WhatsApp gave no code", remedy="try again, or scan the QR code", retry_after=10
        )
    return TypedCode(code=code)


@route(Right.OPERATE, 409, media=("image/png",))
async def screenshot(request: web.Request, session_id: SessionId) -> web.Response:
    """A PNG of the page."""
    value = await request.app[DEPS].sessions.call(session_id, Screenshot(), wait=0)
    if not (content := value.content):
        raise UnavailableError(
            "there is no picture", remedy="try again when the session is running", retry_after=5
        )
    return web.Response(body=content, content_type="image/png")
