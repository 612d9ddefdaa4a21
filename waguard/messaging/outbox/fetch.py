"""A file that is to be sent, fetched from its address: each step checked, no more than the limit."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit
from weakref import WeakValueDictionary

import aiohttp

from waguard.config.sections import Send
from waguard.core import outgoing_address as address
from waguard.core.messages.received_media import MEDIA_LIMIT, UNKNOWN
from waguard.core.messages.transfers import transfer_time
from waguard.errors import InvalidInputError, TooLargeError, UnavailableError, WaguardError
from waguard.host.system.resolver import Resolver
from waguard.messaging.outbox.outgoing_files import OutgoingFile, OutgoingFiles
from waguard.messaging.timings import WEBHOOK
from waguard.messaging.webhooks.answer_reader import CostlyAnswerError
from waguard.messaging.webhooks.sender import (
    AddressRefusedError,
    CheckedConnector,
    why_unconnected,
)

AT_ONCE: Final = 4  # each may hold a whole file
OF_A_SESSION: Final = 2  # of them
REDIRECTS: Final = 3
PIECE: Final = 64 << 10  # bytes
_REDIRECTED: Final = frozenset({301, 302, 303, 307, 308})
_OK: Final = 200
_PASSES: Final = frozenset({408, 425, 429, *range(500, 600)})
RETRY_AFTER: Final = 5.0  # s; nothing was sent, the same request may fetch it then
_SHOWN: Final = 100  # characters
_LOGIN: Final = "it has a user or password"
_REMEDIES: Final = {
    _LOGIN: "use an address that needs none",
    address.ODD: f"percent-encode it; {address.URL_LIMIT} characters at most",
}
"""Where another address is of no use."""


class NotFetchedError(WaguardError):
    """The address is good, its file could not be had; nothing was sent."""

    status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file as its server gave it; None: it did not say."""

    content: bytes = field(default=b"", repr=False)
    file: OutgoingFile | None = None
    """Where it is too large to be held in memory."""
    mimetype: str | None
    filename: str | None


class Fetcher:
    """Fetches ``at_once`` at a time, ``OF_A_SESSION`` for one session. ``settings`` are read at each fetch;
    more than ``limit`` bytes go to ``files``."""

    def __init__(
        self,
        settings: Callable[[], Send],
        *,
        files: OutgoingFiles,
        limit: int = MEDIA_LIMIT,
        at_once: int = AT_ONCE,
    ) -> None:
        self._settings = settings
        self._files = files
        self._limit = limit
        self._places = asyncio.Semaphore(at_once)
        self._resolver = Resolver()
        self._of_sessions: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def fetch(self, url: str, name: str, session_id: str) -> Fetched:
        """The file at ``url``, which the request's field ``name`` holds.

        Raises ``InvalidInputError`` where the address may not be called, ``NotFetchedError``,
        ``UnavailableError`` while its server is away, slow or busy, or too many others are being
        fetched.
        """
        seconds = self._settings().fetch_timeout
        async with contextlib.AsyncExitStack() as places:
            try:
                async with asyncio.timeout(seconds):
                    # the session's first: who waits for it keeps nobody else from a place
                    await places.enter_async_context(self._places_of(session_id))
                    await places.enter_async_context(self._places)
            except TimeoutError:
                raise UnavailableError(
                    "too many files are being fetched",
                    field=name,
                    remedy="send it again in a while",
                    retry_after=seconds,
                ) from None
            try:
                async with asyncio.timeout(seconds) as end:
                    return await self._follow(url, name, end)
            except TimeoutError:
                raise _not_now(
                    url,
                    name,
                    f"the file did not arrive within {seconds:g} s",
                    "use a faster server, or a data: URL",
                ) from None

    def _places_of(self, session_id: str) -> asyncio.Semaphore:
        return self._of_sessions.setdefault(session_id, asyncio.Semaphore(OF_A_SESSION))

    async def _follow(self, url: str, name: str, end: asyncio.Timeout) -> Fetched:
        async with aiohttp.ClientSession(
            connector=CheckedConnector(lambda: self._settings().allow_private, self._resolver),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=WEBHOOK.connect),
            headers={"User-Agent": "waguard", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as http:
            at = url
            for _ in range(REDIRECTS + 1):
                self.check(at, name)
                found = await self._get(http, at, name, end)
                if isinstance(found, Fetched):
                    return found
                at = found
        raise _failed(url, name, f"more than {REDIRECTS} redirects", "name the last address")

    def check(self, url: str, name: str) -> None:
        """Raises ``InvalidInputError`` where it shows without a DNS query."""
        why = address.url_refusal(url, allow_private=self._settings().allow_private)
        if why is None and address.has_user(url):
            why = _LOGIN
        if why:
            raise _refused(url, name, why)

    async def _get(
        self, http: aiohttp.ClientSession, url: str, name: str, end: asyncio.Timeout
    ) -> Fetched | str:
        """The file, or where it is."""
        try:
            async with http.get(url, allow_redirects=False) as response:
                if response.status in _REDIRECTED and (there := response.headers.get("Location")):
                    return address.encoded(urljoin(url, there))
                return await self._read(response, url, name, end)
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefusedError):
                raise _refused(url, name, str(error.os_error)) from None
            why = f"no connection: {why_unconnected(error)}"
            raise _not_now(url, name, why, "check its server") from None
        except aiohttp.ConnectionTimeoutError:
            raise _not_now(url, name, "no connection: timed out", "check its server") from None
        except ValueError:  # of what is no address, or of a redirect to it
            raise _refused(url, name, "it leads to no address") from None
        except CostlyAnswerError as error:
            raise _failed(url, name, str(error), "use another server") from None
        except (aiohttp.ClientError, OSError) as error:
            why = f"the connection broke: {type(error).__name__}"
            raise _not_now(url, name, why, "check its server") from None

    async def _read(
        self, response: aiohttp.ClientResponse, url: str, name: str, end: asyncio.Timeout
    ) -> Fetched:
        if response.status != _OK:
            why = f"its server answered {response.status}"
            if response.status in _PASSES:
                raise _not_now(url, name, why, "check its server")
            raise _failed(url, name, why, "see what this address answers without a login")
        if (packed := response.headers.get("Content-Encoding", "identity")) != "identity":
            why = f"it is compressed ({packed[:20]}), which was not requested"
            raise _failed(url, name, why, "have it served as it is")
        declared = response.content_length
        content, file = bytearray(), None
        pieces = timely(response.content.iter_chunked(PIECE), end)
        mimetype = response.content_type if "Content-Type" in response.headers else None
        async for piece in pieces:
            content += piece
            if len(content) > self._limit or (declared or 0) > self._limit:
                file = await self._keep(_chained(content, pieces), mimetype, declared, url, name)
                break
        if not content and file is None:
            raise _failed(url, name, "it is empty", "check its server")
        disposition = response.content_disposition
        return Fetched(
            content=b"" if file else bytes(content),
            file=file,
            mimetype=mimetype,
            filename=(disposition and disposition.filename)
            or unquote(urlsplit(url).path.rpartition("/")[2]),
        )

    async def _keep(
        self,
        pieces: AsyncIterator[bytes],
        mimetype: str | None,
        declared: int | None,
        url: str,
        name: str,
    ) -> OutgoingFile:
        try:
            return await self._files.receive(
                pieces, mimetype or UNKNOWN, declared=declared, field=name
            )
        except TooLargeError as error:
            why = f"more than {self._files.limit} bytes"
            raise _failed(url, name, why, error.remedy or "") from None


async def timely(pieces: AsyncIterator[bytes], end: asyncio.Timeout) -> AsyncGenerator[bytes]:
    """The pieces, each of which gives the next ones the time that it may take: ``end`` is put off by it."""
    async for piece in pieces:
        if when := end.when():
            end.reschedule(when + transfer_time(len(piece)))
        yield piece


async def _chained(begin: bytearray, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What has come, which is given away, and what comes."""
    first = bytes(begin)
    begin.clear()
    yield first
    del first
    async for piece in rest:
        yield piece


def _shown(url: str) -> str:
    """Without its query, which may hold a signature, and not too long."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return repr(url[:_SHOWN])
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:_SHOWN]


def _refused(url: str, name: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"the address {_shown(url)} is refused: {why}",
        field=name,
        value=_shown(url),
        remedy=_REMEDIES.get(
            why, "use an address on the Internet; private ones need send.allow_private"
        ),
    )


def _failed(url: str, name: str, why: str, remedy: str) -> NotFetchedError:
    return NotFetchedError(_message(url, why), field=name, value=_shown(url), remedy=remedy)


def _not_now(url: str, name: str, why: str, remedy: str) -> UnavailableError:
    return UnavailableError(
        _message(url, why), field=name, value=_shown(url), remedy=remedy, retry_after=RETRY_AFTER
    )


def _message(url: str, why: str) -> str:
    return f"the file at {_shown(url)} was not fetched: {why}"
