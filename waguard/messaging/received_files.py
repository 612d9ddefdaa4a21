"""Received files: onto the disk before their messages are stored, into webhooks at the delivery.

A disk that does not answer costs a file its place, and never its message.
"""

import asyncio
from typing import Final

import msgspec

from waguard.core.inbox import File
from waguard.core.media import GONE, with_media
from waguard.ports.inbox import MediaStore

DEADLINE: Final = 10.0  # s for the disk to take or give a file
NO_ANSWER: Final = "the disk does not answer"

_MARK: Final = b'"sha256":'  # in a text the quotes would have backslashes, or no colon after them


class MediaWriter:
    """One file at a time; while one is stuck, no other is begun."""

    def __init__(self, files: MediaStore) -> None:
        self._files = files
        self._last: asyncio.Task[str] | None = None

    async def keep(self, file: File) -> str:
        """Its name. Raises ``OSError``, of which ``TimeoutError`` is one."""
        if self._last and not self._last.done():
            raise TimeoutError(NO_ANSWER)
        keeping = asyncio.to_thread(self._files.keep, file.content, file.mimetype)
        self._last = asyncio.create_task(keeping, name="file")
        # nobody hears any more what came of one that was too slow
        self._last.add_done_callback(lambda it: it.cancelled() or it.exception())
        async with asyncio.timeout(DEADLINE):
            return await asyncio.shield(self._last)


async def with_content(body: bytes, files: MediaStore) -> bytes:
    """The body as the application takes it: its file as base64, or why it is not there."""
    if _MARK not in body:
        return body
    told = msgspec.json.decode(body)
    name = told["data"]["message"]["media"]["sha256"]
    if name is None:  # it was left out
        return body
    try:
        async with asyncio.timeout(DEADLINE):
            content = await asyncio.to_thread(files.read, name)
        # msgspec writes bytes as base64
        more = {"error": GONE} if content is None else {"data": content}
    except TimeoutError:
        more = {"error": NO_ANSWER}
    return msgspec.json.encode(told | {"data": with_media(told["data"], **more)})
