"""Files to send that were uploaded to another host than the one that sends them. Only in a cluster."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final
from weakref import WeakValueDictionary

import aiohttp
from aiohttp import web
from msgspec import Struct

from waguard.api.audit import CutOffError
from waguard.api.host_calls import PIECE, HostCalls, NotConnectedError, as_ours
from waguard.core.messages.received_media import content_type
from waguard.errors import UnavailableError
from waguard.messaging.outbox.outgoing_files import OutgoingFiles
from waguard.ports.cluster import Hosts

RETRY_AFTER: Final = 5.0  # s
FIELD: Final = "media_sha256"


class Upload(Struct):
    """A file on its way from another host."""

    head: aiohttp.ClientResponse
    to: str

    async def pieces(self) -> AsyncIterator[bytes]:
        """What comes of it. Raises ``CutOffError``: an error of the network is none of the disk that it is written to."""
        with as_ours(self.to):
            async for piece in self.head.content.iter_chunked(PIECE):
                yield piece


class UploadsElsewhere:
    """Brings files for messages that wait, whichever host accepted them. ``calls`` are there when the API serves;
    ``knows_all``: whether all hosts were seen since the start."""

    def __init__(
        self,
        files: OutgoingFiles,
        hosts: Hosts,
        calls: Callable[[], HostCalls],
        knows_all: Callable[[], bool],
    ) -> None:
        self._files = files
        self._hosts = hosts
        self._calls = calls
        self._knows_all = knows_all
        self._coming: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Many messages may wait for the same file."""

    async def bring(self, sha256: str) -> None:
        """Have the file here, where any host has it. Raises ``UnavailableError`` where one may have it that is away, and
        as ``OutgoingFiles.receive``."""
        async with self._coming.setdefault(sha256, asyncio.Lock()):
            if await self._files.find(sha256):
                return
            knows_all = self._knows_all()
            await bring(self._calls(), self._files, self._hosts, sha256, knows_all=knows_all)


async def bring(
    calls: HostCalls, files: OutgoingFiles, hosts: Hosts, sha256: str, *, knows_all: bool = True
) -> None:
    """Have a file here that another host has, if one has. Raises ``UnavailableError`` where one may have it that is away,
    and as ``OutgoingFiles.receive``."""
    away = [it.record.host for it in hosts.view().hosts if not it.record.alive]
    for to in calls.others():
        try:
            async with _upload(calls, sha256, to) as found:
                if found:
                    kind, length = content_type(found.head.content_type), found.head.content_length
                    await files.receive(found.pieces(), kind, declared=length, field=FIELD)
                    return
        except (CutOffError, NotConnectedError):
            away.append(to)
    if away or not knows_all:
        raise UnavailableError(
            f"the file may be on a host that is away: {', '.join(away) or 'not known yet'}",
            field=FIELD,
            remedy="start that host; `waguard hosts forget HOST` where it is gone for good",
            retry_after=RETRY_AFTER,
        )


@contextlib.asynccontextmanager
async def _upload(calls: HostCalls, sha256: str, to: str) -> AsyncIterator[Upload | None]:
    """A file that was uploaded to another host; None: it is not there. Raises ``NotConnectedError``, ``CutOffError``."""
    async with calls.reading(f"/api/media/outgoing/{sha256}", to) as response:
        match response.status:
            case web.HTTPOk.status_code:
                yield Upload(response, to)
            case web.HTTPNotFound.status_code:
                yield None
            case status:
                raise CutOffError(f"{to} answered {status}", retry_after=RETRY_AFTER)
