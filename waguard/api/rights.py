"""What a caller may do: what its right includes, on the sessions that its key is for.

A session outside of them does not exist for it. Default deny: a route that names no session and does not say how
it narrows is refused to a key that is for some sessions.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import BODY, CALLER, DEPS, FORWARDED
from waguard.core.keys import Caller, Right
from waguard.errors import ForbiddenError, InvalidInputError, NotFoundError


class Narrowing(StrEnum):
    """What a route is to a key that is for some sessions."""

    SESSION = "session"
    """The request names a session: another one is not found."""
    OWN = "own"
    """The handler reads whose it is: what belongs to another session is not found."""
    LIST = "list"
    """The reply leaves out what belongs to other sessions, and to all at once."""
    WORKSPACE = "workspace"
    """The body names a workspace: another one is refused."""
    LIMITED = "limited"
    """The handler refuses what exceeds the key's."""
    ITSELF = "itself"
    """The route is about the key that asks."""
    REFUSED = "refused"
    """The route is about all sessions."""
    HOSTS = "hosts"
    """Other hosts of the cluster ask, and nobody else, whatever the key may do."""


NOT_FOUND: Final = "Session not found"
"""The words of a session that does not exist."""
_PLACES: Final = ("query", "body")


def narrowed(request: web.Request) -> Caller | None:
    """The caller, where it sees some sessions only. Who needed no key is the application."""
    caller = request.get(CALLER)
    return caller if caller and not caller.sees_all else None


def require_right(request: web.Request, needed: Right) -> None:
    """Raises ``ForbiddenError`` where the caller's right does not include it."""
    caller = request.get(CALLER)
    if caller and not caller.right.includes(needed):
        raise ForbiddenError(
            f"this needs the right {needed}, and the key has {caller.right}",
            remedy=f"use a key with the right {needed}",
        )


def require_narrowing(request: web.Request, narrowing: Narrowing) -> None:
    """Raises ``ForbiddenError`` where the route is not for keys like the caller's, whatever it asks for."""
    if narrowing is Narrowing.REFUSED and narrowed(request):
        raise ForbiddenError(
            "this is about all sessions, and the key is for some of them",
            remedy="use a key without workspaces and sessions",
        )
    if narrowing is Narrowing.HOSTS and FORWARDED not in request:
        raise ForbiddenError(
            "hosts of a cluster alone ask this, of each other",
            remedy="DELETE /api/keys/{key_id} revokes a key on all hosts",
        )


async def require_named(
    request: web.Request, narrowing: Narrowing, arguments: Mapping[str, Any]
) -> None:
    """Raises ``NotFoundError`` where a request names a session that its caller does not see, ``ForbiddenError`` for
    a workspace."""
    if narrowing is Narrowing.WORKSPACE:
        _require_workspace(request, arguments["body"].workspace_id)
        return
    sessions = list(_sessions(arguments))
    if narrowing is Narrowing.SESSION and not sessions:
        raise NotFoundError(NOT_FOUND)
    for session_id in sessions:
        if not await sees(request, session_id):
            raise NotFoundError(NOT_FOUND)


async def require_workspace(request: web.Request, arguments: Mapping[str, Any]) -> None:
    """Raises ``NotFoundError`` where body or query say another ``workspace_id`` than that of a session that is named; one
    that has no row is of none. ``InvalidInputError`` for what is no id, where the body has that field."""
    if not (sessions := list(_sessions(arguments))):
        return
    body = arguments.get("body")
    places = [request.query, request.get(BODY, {})]
    if getattr(body, "is_bare", False):
        places.pop()  # it is the application's own, and so are its fields
    said = (place.get("workspace_id") for place in places)
    for workspace in set(_workspaces(said, strictly=hasattr(body, "workspace_id"))):
        for session_id in sessions:
            if await request.app[DEPS].sessions.is_in(session_id, (workspace,)) is False:
                raise NotFoundError(NOT_FOUND)


async def sees(request: web.Request, session_id: str) -> bool:
    """Whether the caller may know of the session."""
    caller = narrowed(request)
    if caller is None or caller.sees(session_id, None):
        return True
    if not caller.workspaces:
        return False
    return bool(await request.app[DEPS].sessions.is_in(session_id, caller.workspaces))


async def sessions_seen(request: web.Request) -> Collection[str] | None:
    """The sessions that a list may be about; None: all of them, and what is about none."""
    caller = narrowed(request)
    if caller is None:
        return None
    found = caller.sessions or frozenset()
    if not caller.workspaces:
        return found
    views = await request.app[DEPS].sessions.views(removed=True, elsewhere=True)
    return found | {it.session_id for it in views if it.workspace_id in caller.workspaces}


def within(names: Collection[str] | None, session_id: str | None) -> bool:
    """Whether a list of these ``names`` has what is about the session; None: it is about all of them."""
    return names is None or session_id in names


def _require_workspace(request: web.Request, workspace_id: int) -> None:
    caller = narrowed(request)
    if caller and workspace_id not in (caller.workspaces or ()):
        raise ForbiddenError(
            "the key is not for this workspace",
            field="workspace_id",
            value=workspace_id,
            remedy="use a key for the workspace",
        )


def _workspaces(said: Iterable[Any], *, strictly: bool) -> Iterator[int]:
    for it in said:
        if it is None or it == "":
            continue
        try:
            yield fields.workspace_id(it)
        except InvalidInputError:
            if strictly:
                raise


def _sessions(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Every session that path, query and body name."""
    found = [arguments.get("session_id")]
    found += [getattr(arguments.get(place), "session_id", None) for place in _PLACES]
    return (it for it in found if isinstance(it, str))
