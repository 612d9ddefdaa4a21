"""One HTTP request with a webhook: no redirect, no cookie, no address that may not be called."""

import asyncio
import functools
import io
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType, Connection

from waguard.core import outgoing_address as address
from waguard.core.webhooks.delivery import Answer
from waguard.core.webhooks.retry_after import seconds
from waguard.host.system.resolver import Resolver
from waguard.messaging.timings import WEBHOOK, WebhookTimings
from waguard.messaging.webhooks.answer_reader import AnswerReader

WHOLE: Final = 64 << 10  # bytes of a body that are written at once


class AddressRefusedError(OSError):
    """The name leads to an address that may not be called; its text is why."""


class CheckedResolver(AbstractResolver):
    """Checks what a name resolves to, and the connection goes to just that: no rebinding."""

    def __init__(self, allow_private: Callable[[], bool], resolver: Resolver) -> None:
        self._allow_private = allow_private
        self._resolver = resolver

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - of the interface
    ) -> list[ResolveResult]:
        """Addresses of any family. Raises ``AddressRefusedError`` where nothing is left."""
        found = await self._resolver.addresses(host)
        allow = self._allow_private()
        checked = [(one, address.refusal(one, allow_private=allow)) for one in found]
        good = [one for one, why in checked if why is None]
        if found and not good:
            raise AddressRefusedError(checked[0][1])
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for one in good
        ]

    async def close(self) -> None:
        """Nothing: the resolver is its user's."""


class CheckedConnector(aiohttp.TCPConnector):
    """Checks each address before it is called, however it was named: one in figures passes by the
    resolver. And the peer before anything is sent to it, also of a connection that is used again."""

    def __init__(
        self, allow_private: Callable[[], bool], resolver: Resolver, *, limit: int = 100
    ) -> None:
        super().__init__(
            resolver=CheckedResolver(allow_private, resolver),
            limit=limit,
            socket_factory=self._socket,
        )
        self._allow_private = allow_private
        self._factory = functools.partial(AnswerReader, loop=self._loop)  # type: ignore[assignment] # it is one

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Raises ``ClientConnectorError`` of an ``AddressRefusedError``."""
        connection = await super().connect(req, traces, timeout)
        transport = connection.transport
        peer = transport.get_extra_info("peername") if transport else None
        if peer:  # None: it was lost meanwhile, which the request will find
            try:
                self._require(str(peer[0]))
            except AddressRefusedError as error:
                connection.close()
                raise aiohttp.ClientConnectorError(req.connection_key, error) from None
        return connection

    def _socket(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, there = info
        self._require(str(there[0]))
        return socket.socket(family, kind, protocol)

    def _require(self, there: str) -> None:
        if why := address.refusal(there, allow_private=self._allow_private()):
            raise AddressRefusedError(why)


class WebhookSender:
    """An async context manager; ``allow_private`` is asked at each connection."""

    def __init__(
        self,
        allow_private: Callable[[], bool],
        *,
        wall: Callable[[], float] = time.time,
        timings: WebhookTimings = WEBHOOK,
    ) -> None:
        self._timings = timings
        self._allow_private = allow_private
        self._wall = wall
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=CheckedConnector(self._allow_private, Resolver(), limit=0),
            timeout=aiohttp.ClientTimeout(
                total=self._timings.attempt, sock_connect=self._timings.connect
            ),
            headers={"User-Agent": "waguard"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._http:
            await self._http.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The status line decides, the answer's body is not awaited."""
        return await self._request("POST", url, body, headers)

    async def get(self, url: str) -> Answer:
        """As ``post``, with nothing to say."""
        return await self._request("GET", url, b"", {})

    async def _request(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        assert self._http  # noqa: S101 - entered
        # again at each attempt: what may be called can have changed since it was set
        if why := address.url_refusal(url, allow_private=self._allow_private()):
            return Answer(error=f"the address is refused: {why}", refused=True)
        try:
            async with self._http.request(
                method,
                url,
                # a file inside is written in pieces
                data=body if len(body) <= WHOLE else io.BytesIO(body),
                headers=headers,
                allow_redirects=False,
            ) as response:
                retry_after = seconds(response.headers.get("Retry-After"), now=self._wall())
                location = address.path_of(response.headers.get("Location", ""))
                return Answer(status=response.status, retry_after=retry_after, location=location)
        except aiohttp.ConnectionTimeoutError:  # a TimeoutError, too
            return Answer(error="no connection: timed out", reached=False)
        except TimeoutError:
            return Answer(error="no answer in time")
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefusedError):
                why = f"the address is refused: {error.os_error}"
                return Answer(error=why, refused=True)
            return Answer(error=f"no connection: {why_unconnected(error)}", reached=False)
        except ValueError:  # InvalidURL, or of the encoding of a name
            return Answer(error="the address is refused: it is not an address", refused=True)
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
            return Answer(error="the connection ended without an answer")


def why_unconnected(error: aiohttp.ClientConnectorError) -> str:
    """What the system says of it; nothing where no name or address failed, but the other side closed."""
    if why := error.os_error.strerror:
        return why
    is_name = isinstance(error, aiohttp.ClientConnectorDNSError)
    return "unknown name" if is_name else "it was closed in the TLS handshake"
