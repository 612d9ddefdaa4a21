"""/api/cluster/events: another host has received events of a session of this one, and nobody has stored them."""

import asyncio
import base64
import binascii
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields
from waguard.api.body import LARGE
from waguard.api.deps import DEPS
from waguard.api.fields import Kind
from waguard.api.hosts import cluster_of
from waguard.api.rights import Narrowing
from waguard.api.route import Done, route
from waguard.core.keys import Right
from waguard.errors import ConflictError

PATH: Final = "/api/cluster/events"
_Session = Annotated[
    str,
    Kind(fields.session_id),
    Meta(pattern="^[A-Za-z0-9_-]{1,128}$", description="whose they are"),
]
_Generation = Annotated[
    int,
    Kind(fields.integer(0, fields.ID_LIMIT)),
    Meta(description="of the session, where it is known"),
]


def _text(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    raise fields.bad(field, value, "no text", "base64")


class Handed(Struct, kw_only=True):
    """``content``: the events, as hosts write them for each other."""

    session: _Session
    content: Annotated[str, Kind(_text), Meta(description="base64")]
    generation: _Generation | None = None


@route(Right.ADMIN, 409, 413, 422, narrows=Narrowing.HOSTS)
async def receive(request: web.Request, body: Handed) -> Done:
    """Take events of a session of this host that another one has received; they are stored when it answers. Hosts hand
    them to each other."""
    cluster, deps = cluster_of(request), request.app[DEPS]
    epoch = cluster.ownership.epoch(body.session)
    if epoch is not None:
        deps.require_room()
        content = await _content(body.content)
        await cluster.store_left(body.session, body.generation, content)
    if epoch is None or cluster.ownership.epoch(body.session) != epoch:
        raise ConflictError(
            "this host does not own the session", field="session", remedy="ask its owner"
        )
    return Done()


async def _content(text: str) -> bytes:
    try:
        if len(text) > LARGE:
            return await asyncio.to_thread(base64.b64decode, text, validate=True)
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise fields.bad("content", text, "not base64", "send it as it was made") from None
