"""/api/sessions/:id/proxy: a session's own proxy. What is sent is never quoted, and the password never shown."""

import secrets
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api.deps import DEPS
from waguard.api.fields import Kind, SessionId
from waguard.api.rights import Narrowing, narrowed
from waguard.api.route import OfSession, read, route
from waguard.core.keys import Right
from waguard.core.proxy import LONGEST, Proxy, parse
from waguard.errors import ForbiddenError, InvalidInputError


def _text(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    raise InvalidInputError(f"{field} is missing or no text", field=field, remedy="send a text")


Login = Annotated[
    str, Kind(_text, blank=True), Meta(max_length=LONGEST, description="printable characters")
]


class PutProxy(Struct, kw_only=True):
    """A proxy, and the login at it."""

    server: Annotated[
        str,
        Kind(_text),
        Meta(
            pattern="^(http|https|socks5)://[^/@]+:[0-9]+/?$",
            description="without a login",
            examples=["socks5://proxy.example:1080"],
        ),
    ]
    username: Login | None = None
    password: Login | None = None


def _struct(value: Any, field: str) -> PutProxy:
    if isinstance(value, dict):
        return read(value, PutProxy, f"{field}.")
    raise InvalidInputError(
        f"{field} is no object", field=field, remedy="send server, and username and password if any"
    )


OwnProxy = Annotated[PutProxy, Kind(_struct)]


def given(request: web.Request, it: PutProxy) -> Proxy:
    """What was sent, where its sender may decide about it: a proxy may lead to anything that this host reaches.
    Raises ``ForbiddenError``, ``InvalidInputError``."""
    if narrowed(request):
        raise ForbiddenError(
            "a proxy is set by a key for all sessions, and the key is for some of them",
            field="proxy",
            remedy="use a key without workspaces and sessions",
        )
    try:
        return parse(it.server, it.username, it.password, mark=secrets.token_hex(8))
    except ValueError as error:
        raise InvalidInputError(
            f"the proxy cannot be used: {error}",
            field="server",
            remedy="http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT",
        ) from None


class OfProxy(Struct, kw_only=True):
    """A proxy without its password."""

    server: str
    username: str | None


class ShownProxy(OfSession, kw_only=True):
    """The session's own proxy; null: it goes the host's own way."""

    proxy: OfProxy | None


def _shown(session_id: str, it: Proxy | None) -> ShownProxy:
    proxy = OfProxy(server=it.server, username=it.user) if it else None
    return ShownProxy(session_id=session_id, proxy=proxy)


@route(Right.READ)
async def show(request: web.Request, session_id: SessionId) -> ShownProxy:
    """The session's own proxy. The password is never shown."""
    return _shown(session_id, await request.app[DEPS].proxies.find(session_id))


@route(Right.OPERATE, narrows=Narrowing.REFUSED)
async def put(request: web.Request, session_id: SessionId, body: PutProxy) -> ShownProxy:
    """Set the session's own proxy. Where it is another one, the session's worker is replaced."""
    proxy = given(request, body)
    await request.app[DEPS].proxies.put(session_id, proxy)
    return _shown(session_id, proxy)


@route(Right.OPERATE, narrows=Narrowing.REFUSED)
async def delete(request: web.Request, session_id: SessionId) -> ShownProxy:
    """Let the session go the host's own way. Where it had a proxy, its worker is replaced."""
    await request.app[DEPS].proxies.put(session_id, None)
    return _shown(session_id, None)
