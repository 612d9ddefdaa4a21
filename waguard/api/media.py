"""/api/media: files that were received, and files to send; /api/messages/:id/media: a received one, once more."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, ClassVar, Final

from aiohttp import web
from msgspec import Meta

from waguard.api import rights, unpacking
from waguard.api.body import late
from waguard.api.connection import CostlyBodyError
from waguard.api.deps import DEPS, SESSION
from waguard.api.fields import AS_IT_IS
from waguard.api.rights import Narrowing
from waguard.api.route import Done, route
from waguard.api.timings import TIMINGS
from waguard.core.keys import Right
from waguard.core.messages.received_media import content_type
from waguard.core.messages.transfers import transfer_time
from waguard.errors import InvalidInputError, NotFoundError, WaguardError
from waguard.ports.messages import DeferredFile, FileState, NamedFile

UPLOAD: Final = "/api/media"
RETRY_AFTER: Final = 5.0  # s
_TOO_OLD: Final = (
    "it may be too old (media.keep_days): POST /api/messages/{id}/media fetches it again"
)

SHA256: Final = re.compile("[0-9a-f]{64}")
Sha256 = Annotated[str, AS_IT_IS, Meta(pattern="^[0-9a-f]{64}$")]
MessageId = Annotated[str, AS_IT_IS, Meta(description="WhatsApp's id, as message_received has it")]


class ComingError(WaguardError):
    """The file is being fetched."""

    status = 425


class NotHereError(NotFoundError):
    """This host has no such file, and the caller may have it."""

    def __init__(self, sha256: str) -> None:
        super().__init__("there is no such file", remedy=_TOO_OLD)
        self.sha256 = sha256


class Uploaded(Done, kw_only=True):
    """The file is kept for a day; ``sha256`` is what ``send-media`` takes as ``media_sha256``."""

    sha256: str
    size: int
    mimetype: str


class Fetched(Done, kw_only=True):
    """The file is at ``url``, or will be: until then that answers 425."""

    STATUS: ClassVar[int] = 202
    url: str
    status: FileState


@route(Right.READ, 425, media=("*/*",), narrows=Narrowing.OWN)
async def show(request: web.Request, sha256: Sha256) -> web.StreamResponse:
    """A received file, to be saved; 425 while it is being fetched.

    Whoever sent it chose its type: it is never shown in a browser, only saved.
    """
    deps, names = request.app[DEPS], await rights.sessions_seen(request)
    # else the database comes first, so that nobody can time whether another session has the file
    kept = await asyncio.to_thread(deps.media.find, sha256) if names is None else None
    if kept is None:
        deferred = await deps.messages.deferred_file(sha256)
        if deferred and rights.within(names, deferred.session_id):
            sha256 = _kept(deferred)
        elif names is not None and not await deps.messages.has_file(sha256, names):
            raise _no_such_file()
        kept = await asyncio.to_thread(deps.media.find, sha256)
    if kept is None:
        raise NotHereError(sha256)
    path, mimetype = kept
    headers = {"Content-Type": mimetype, "Content-Disposition": "attachment"}
    return web.FileResponse(path, headers=headers)


@route(Right.SEND, 507, narrows=Narrowing.ITSELF, takes="application/octet-stream")
async def upload(request: web.Request) -> Uploaded:
    """Keep a file to send: the body is its content, the key is in the header. Whoever knows the hash may send it."""
    files, mimetype = request.app[DEPS].outgoing_files, content_type(request.content_type)
    declared = request.content_length
    within = request.app[TIMINGS].body + transfer_time(min(declared or files.limit, files.limit))
    try:
        async with asyncio.timeout(within):
            kept = await files.receive(_pieces(request), mimetype, declared=declared, field="body")
    except TimeoutError:
        raise late(within) from None
    return Uploaded(sha256=kept.name, size=kept.size, mimetype=mimetype)


@route(Right.ADMIN, media=("*/*",))
async def outgoing(request: web.Request, sha256: Sha256) -> web.StreamResponse:
    """An uploaded file, for another host of the cluster that is to send it."""
    files = request.app[DEPS].outgoing_files
    kept, path = await files.find(sha256), await asyncio.to_thread(files.path, sha256)
    if kept is None or path is None:
        raise NotFoundError("there is no such file", remedy="upload it by POST /api/media")
    return web.FileResponse(path, headers={"Content-Type": kept.mimetype})


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    """What comes, as it comes. Raises ``InvalidInputError`` where it is not whole, or empty."""
    source, empty = unpacking.source(request), True
    try:
        while piece := await source.next():
            empty = False
            yield piece
    except (web.RequestPayloadError, CostlyBodyError, ConnectionError) as error:
        # to whoever writes it, an error of the network would be one of the disk
        raise InvalidInputError(
            f"the body cannot be read: {error}"[:200],
            field="body",
            remedy="send it whole, as its headers say",
        ) from None
    if empty:
        raise InvalidInputError("the file is empty", field="body", remedy="send its content")


@route(Right.SEND, 404, narrows=Narrowing.OWN)
async def fetch_again(request: web.Request, id: MessageId) -> Fetched:  # noqa: A002 - its name in the path
    """Fetch a received file that is not there, or not there any more."""
    deps = request.app[DEPS]
    if (file := await named(request, id)) is None:
        raise NotFoundError(
            "there is no such message with a file", remedy="see retention.inbox_days"
        )
    request[SESSION] = file.session_id
    url, state = await deps.deferred.fetch_again(file)
    return Fetched(url=url, status=state)


async def named(request: web.Request, message_id: str) -> NamedFile | None:
    """The file of a message of a session that the caller sees."""
    deps, names = request.app[DEPS], await rights.sessions_seen(request)
    if names is None:
        views = await deps.sessions.views(removed=True, elsewhere=True)
        names = {it.session_id for it in views}
    return await deps.messages.named_file(message_id, names)


def _kept(file: DeferredFile) -> str:
    """The name under which it is kept."""
    if file.state is FileState.WAITING:
        raise ComingError("the file is being fetched", remedy="ask again", retry_after=RETRY_AFTER)
    if file.sha256 is None:
        raise NotFoundError(
            f"the file was not fetched: {file.error}", remedy="POST /api/messages/{id}/media"
        )
    return file.sha256


def _no_such_file() -> NotFoundError:
    return NotFoundError("there is no such file", remedy=_TOO_OLD)
