"""The keys that waguard issues: create, list and revoke them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, ClassVar, TypeVar, cast

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields
from waguard.api.deps import CALLER, DEPS, KEY_SHARING
from waguard.api.fields import AS_IT_IS, Kind, SessionId, WorkspaceId, digits, integer
from waguard.api.key_table import refuse
from waguard.api.rights import Narrowing
from waguard.api.route import Done, route
from waguard.core import issued_keys
from waguard.core.issued_keys import LONGEST, SCOPE_LIMIT, IssuedKey, Wanted, Workspaces
from waguard.core.keys import Right
from waguard.errors import (
    ConflictError,
    DatabaseUnavailableError,
    InvalidInputError,
)

A = TypeVar("A")
B = TypeVar("B")


def _name(value: Any, field: str) -> str:
    if isinstance(value, str) and issued_keys.is_name(value):
        return value
    # it is not shown: it may be a key
    raise InvalidInputError(
        "invalid name", field=field, remedy="1 to 64 letters, digits, . _ @ and -; no id, no key"
    )


def right(value: Any, field: str) -> Right:
    """One of the rights."""
    if isinstance(value, str) and value in {*Right}:
        return Right(value)
    raise fields.bad(field, value, "no such right", " or ".join(Right))


def _each(read: Callable[[Any, str], Any]) -> Kind:
    """Reads a list of these, each once. An empty one is an error: nobody means a key without any session."""

    def several(value: Any, field: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= SCOPE_LIMIT:
            allowed = f"a list of 1 to {SCOPE_LIMIT}, or leave it out"
            raise fields.bad(field, value, f"invalid {field}", allowed)
        return tuple(dict.fromkeys(read(it, field) for it in value))

    return Kind(several)


_SOME = Meta(min_length=1, max_length=SCOPE_LIMIT)


class CreateKey(Struct, kw_only=True):
    """A key to be made. Without a scope or an end of its own it has those of the key that asks."""

    name: Annotated[
        str,
        Kind(_name),
        Meta(
            pattern="^(?!wg_)(?![0-9a-f]{8}$)[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$",
            description="1 to 64 letters, digits, . _ @ and -",
        ),
    ]
    right: Annotated[Right, Kind(right)]
    workspaces: Annotated[tuple[WorkspaceId, ...], _each(fields.workspace_id), _SOME] | None = None
    sessions: Annotated[tuple[SessionId, ...], _each(fields.session_id), _SOME] | None = None
    expires_in: (
        Annotated[
            int,
            Kind(integer(1, LONGEST)),
            Meta(description="seconds; without it the key does not expire"),
            digits(1, LONGEST, "^0*[1-9][0-9]{0,8}$"),
        ]
        | None
    ) = None


class KnownKey(Struct, kw_only=True):
    """What is known of an issued key; null: without a limit, or not yet."""

    id: str
    name: str
    right: Right
    workspaces: tuple[int, ...] | None
    sessions: tuple[str, ...] | None
    expires_at: str | None
    created_at: str
    created_by: str
    used_at: str | None
    ended_at: str | None
    ended_by: str | None
    """Who revoked it; null: it has expired."""


class NewKey(Done, kw_only=True):
    """The key itself, which is shown this once, and what is known of it."""

    STATUS: ClassVar[int] = 201
    key: str
    about: KnownKey


class KnownKeys(Done, kw_only=True):
    """Issued keys, the newest first; those that ended are listed for 30 days."""

    keys: list[KnownKey]


class RevokedKey(Done, kw_only=True):
    """The key that is refused from now on, and the valid ones that it has made, which stay.

    ``not_yet``: other hosts that have not said that they refuse it. They do so when they have read it from the database.
    "the database" is among them where it does not answer: it is written there when it does.
    """

    about: KnownKey
    made: list[KnownKey]
    not_yet: list[str]


@route(Right.ADMIN, 409, narrows=Narrowing.LIST)
async def listing(request: web.Request) -> KnownKeys:
    """List the issued keys; a key with a scope sees those within it.

    Those of ``api.key_file`` are not among them.
    """
    await _read_all(request)
    deps = request.app[DEPS]
    found = deps.issued_keys.governed(request[CALLER], await _workspaces(request))
    return KnownKeys(keys=[_shown(it) for it in found])


@route(Right.ADMIN, 409, narrows=Narrowing.LIMITED)
async def create(request: web.Request, body: CreateKey) -> NewKey:
    """Make a key. It never exceeds the right, the scope and the end of the key that asks."""
    wanted = Wanted(
        name=body.name,
        right=body.right,
        workspaces=body.workspaces,
        sessions=body.sessions,
        lasts=body.expires_in,
    )
    return await made(request, wanted)


async def made(request: web.Request, wanted: Wanted) -> NewKey:
    """The key, made by the caller."""
    issued = request.app[DEPS].issued_keys
    text, key = await issued.create(request[CALLER], wanted, await _workspaces(request))
    if sharing := request.app.get(KEY_SHARING):
        await sharing.announce()
    return NewKey(key=text, about=_shown(key))


@route(Right.ADMIN, 409, narrows=Narrowing.OWN)
async def revoke(request: web.Request, key_id: Annotated[str, AS_IT_IS]) -> RevokedKey:
    """Revoke a key at once; event streams that use it end."""
    return await _revoked(request, key_id)


class CurrentKey(Done, kw_only=True):
    """What the key that asks may do; null: without a limit. ``id`` null: it is not an issued one."""

    id: str | None
    name: str
    right: Right
    workspaces: tuple[int, ...] | None
    sessions: tuple[str, ...] | None
    expires_at: str | None


@route(Right.READ, narrows=Narrowing.ITSELF)
async def current(request: web.Request) -> CurrentKey:
    """What the key that asks may do."""
    it = request[CALLER]
    return CurrentKey(
        id=it.key,
        name=it.name,
        right=it.right,
        workspaces=None if it.workspaces is None else tuple(sorted(it.workspaces)),
        sessions=None if it.sessions is None else tuple(sorted(it.sessions)),
        expires_at=fields.second(it.expires_at),
    )


@route(Right.READ, 409, narrows=Narrowing.ITSELF)
async def leave(request: web.Request) -> RevokedKey:
    """End the key that asks, as its owner leaves; event streams that use it end."""
    key = request[CALLER].key
    if key is None:
        raise ConflictError(
            "this is not an issued key", remedy="`waguard keys remove FINGERPRINT` removes it"
        )
    return await _revoked(request, key)


async def _revoked(request: web.Request, key_id: str) -> RevokedKey:
    issued, sharing = request.app[DEPS].issued_keys, request.app.get(KEY_SHARING)
    if key_id not in issued.known:
        await _read_all(request)
    key = refuse(issued, request[CALLER], key_id, await _workspaces(request))
    if sharing is None:
        made, not_yet = await issued.keep_end(key), list[str]()
    else:  # the others do not wait for this host's disk
        made, not_yet = await _both(issued.keep_end(key), sharing.spread(key))
    return RevokedKey(about=_shown(key), made=[_shown(it) for it in made], not_yet=not_yet)


async def _both(one: Awaitable[A], other: Awaitable[B]) -> tuple[A, B]:
    """What they return, after both have ended. Raises what one of them raises."""
    found = await asyncio.gather(one, other, return_exceptions=True)
    for it in found:
        if isinstance(it, BaseException):
            raise it
    return cast("tuple[A, B]", found)


async def _read_all(request: web.Request) -> None:
    """Know what other hosts have made, as far as the database answers."""
    if sharing := request.app.get(KEY_SHARING):
        with contextlib.suppress(DatabaseUnavailableError):
            await sharing.read()


async def _workspaces(request: web.Request) -> Workspaces:
    """The workspace of every session, for a caller with a scope. Others need no database for it."""
    if request[CALLER].sees_all:
        return {}
    views = await request.app[DEPS].sessions.views(removed=True, elsewhere=True)
    return {it.session_id: it.workspace_id for it in views}


def _shown(it: IssuedKey) -> KnownKey:
    return KnownKey(
        id=it.id,
        name=it.name,
        right=it.right,
        workspaces=it.workspaces,
        sessions=it.sessions,
        expires_at=fields.second(it.expires_at),
        created_at=fields.iso(round(it.created_at)),
        created_by=it.created_by,
        used_at=fields.second(it.used_at),
        ended_at=fields.second(it.ended_at),
        ended_by=it.ended_by,
    )
