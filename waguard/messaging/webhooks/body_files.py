"""Received files in the bodies of webhooks, which are stored without them."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from waguard.core.messages.received_media import GONE, with_media
from waguard.messaging.file_stage import DEADLINE, NO_ANSWER
from waguard.ports.inbox import MediaStore

TOO_LARGE: Final = "larger than the receiver takes; the file is at its url"
_MARK: Final = (
    b'"sha256":'  # no text has it; a page may name a field so that comes in the message's content
)


async def completed(
    body: bytes, files: MediaStore, *, limit: int, deadline: float = DEADLINE
) -> bytes:
    """The body as it is sent: with its file, unless it has more than ``limit`` bytes then (0: no limit)."""
    full = await with_content(body, files, deadline=deadline)
    return without_content(body) if limit and len(full) > limit else full


def without_content(body: bytes) -> bytes:
    """The body with its file's address alone: the file is too large for its receiver."""
    if _MARK not in body:
        return body
    event = msgspec.json.decode(body)
    return msgspec.json.encode(event | {"data": with_media(event["data"], error=TOO_LARGE)})


async def with_content(body: bytes, files: MediaStore, *, deadline: float = DEADLINE) -> bytes:
    """The body as the application takes it: its file as base64, or why it is not there."""
    if _MARK not in body:
        return body
    event = msgspec.json.decode(body)
    name = _name(event["data"])
    if name is None:
        return body
    try:
        async with asyncio.timeout(deadline):
            content = await asyncio.to_thread(files.read, name)
        # msgspec writes bytes as base64
        more = {"error": GONE} if content is None else {"data": content}
    except OSError:  # a TimeoutError is one
        more = {"error": NO_ANSWER}
    return msgspec.json.encode(event | {"data": with_media(event["data"], **more)})


def _name(data: Mapping[str, Any]) -> str | None:
    """The name of the message's file; None: it has none, or that was left out."""
    message = data.get("message")
    media = message.get("media") if isinstance(message, Mapping) else None
    name = media.get("sha256") if isinstance(media, Mapping) else None
    return name if isinstance(name, str) else None
