"""What this host asks of others over HTTP. A connection serves one request, so it is known whether anything has gone out.

While the head of an answer is waited for, it is watched whether that host still lives, and whether the client is there: of a
host that stands still or has lost its power the socket says nothing.
"""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from weakref import WeakSet

import aiohttp
from aiohttp import web
from loguru import logger
from msgspec import Struct
from multidict import CIMultiDict
from yarl import URL

from waguard.api import connection
from waguard.api.audit import CutOffError
from waguard.api.auth import refused
from waguard.api.confirmations import CONFIRM
from waguard.api.confirmations import PATH as CONFIRMED_AT
from waguard.api.deps import Cluster
from waguard.api.forwarded_parts import OF_THE_CONNECTION, body_of, headers_of
from waguard.api.gate import OWN_END, still_accepted
from waguard.api.host_seals import HostSeals, digest, target_of
from waguard.api.problems import UNAUTHORIZED
from waguard.api.timings import Timings
from waguard.core.cluster.forwarded_request import START, ForwardedRequest
from waguard.errors import UnavailableError

CONNECT: Final = 3.0  # s
WATCHED_EVERY: Final = 0.5  # s
STALLED: Final = 60.0  # s in which nothing comes of an answer that has begun
WHOLE: Final = 256 << 10  # bytes of an answer that is there before any of it is passed on
PIECE: Final = 64 << 10  # bytes
SAID: Final = 8 << 20  # bytes of an answer to this host itself
RETRY_AFTER: Final = 5.0  # s
_NOT_ANSWERED: Final = OF_THE_CONNECTION | {
    "content-length",
    "date",
    "server",
    "x-request-id",
    CONFIRM.lower(),
}


class NotConnectedError(UnavailableError):
    """A host cannot be reached: nothing of the request has gone out."""


class AnsweredError(UnavailableError):
    """A host has answered something else than 200, ``answer``, to a request of this one's own."""

    def __init__(self, message: str, answer: int) -> None:
        super().__init__(message)
        self.answer = answer


class Answer(Struct):
    """The head of another host's answer; ``content`` None: it is large, and still to be read."""

    head: aiohttp.ClientResponse
    content: bytes | None


class HostCalls:
    """Calls of one host; ``begin`` comes first, ``close`` last."""

    def __init__(self, cluster: Cluster, seals: HostSeals, timings: Timings) -> None:
        self._cluster = cluster
        self._seals = seals
        self._timings = timings
        self._http: aiohttp.ClientSession | None = None
        self._connected = WeakSet[asyncio.Task[Any]]()
        """Tasks that have a connection: something of what these have asked may have gone out."""

    async def begin(self) -> None:
        """Within the loop."""
        traced = aiohttp.TraceConfig()
        traced.on_connection_create_end.append(self._record_connection)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trace_configs=[traced],
        )

    async def _record_connection(self, *_: object) -> None:
        self._connected.add(_this_task())

    async def close(self) -> None:
        """No more calls."""
        if self._http:
            await self._http.close()

    def others(self) -> list[str]:
        """The addresses of the other hosts that live."""
        return list(self.living().values())

    def living(self, *, lapsed: bool = False) -> dict[str, str]:
        """The addresses of the other hosts that live, by name. ``lapsed``: those, too, whose lease is over, which may serve
        still; but for who was taken out in order."""
        records = [it.record for it in self._cluster.hosts.view().hosts]
        meant = [it for it in records if it.alive or (lapsed and not it.drain)]
        return {it.host: it.address for it in meant if it.address != self._cluster.address}

    async def own(
        self, method: str, target: str, to: str, body: object = None, *, within: float
    ) -> Any:
        """What another host answers ``within`` so many seconds to a request of this one's own, which has no client: JSON.
        ``body``: also as it is sent. Raises ``UnavailableError``, ``AnsweredError``."""
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        headers = CIMultiDict({"Content-Type": "application/json"} if body else {})
        headers["Content-Length"] = str(len(body))
        it = self._seals.of_this_host(method, target, to)
        with as_ours(to):
            async with (
                asyncio.timeout(within),
                await self._sent(it, headers, body) as response,
            ):
                if response.status != web.HTTPOk.status_code:
                    raise AnsweredError(f"{to} answered {response.status}", response.status)
                if (response.content_length or SAID + 1) > SAID:
                    raise UnavailableError(f"{to} answered too much")
                said = await response.read()
        try:
            return json.loads(said)
        except (ValueError, RecursionError):
            raise UnavailableError(f"{to} answered no JSON") from None

    async def forward(
        self, request: web.Request, to: str, *, session: str | None
    ) -> web.StreamResponse:
        """The other host's answer. Raises ``NotConnectedError``, ``CutOffError``, ``UnavailableError`` where that one does
        not take it, and ``ConnectionResetError`` where the client has left."""
        it = self._seals.of(request, to, session=session)
        answer = await self.asked(request, it)
        response = await self.passed_on(request, answer)
        if CONFIRM in answer.head.headers and not response.prepared:
            await response.prepare(request)
            await response.write_eof()  # as in ``messages.reply``
            await self._confirm(it)
        return response

    async def _confirm(self, it: ForwardedRequest) -> None:
        within = self._timings.reply_confirmed
        try:
            await self.own("POST", CONFIRMED_AT, it.to, {"nonce": it.nonce}, within=within)
        except UnavailableError as error:  # its owner takes the reply for one that was not written
            logger.debug("a reply is not confirmed", to=it.to, why=error.message)

    async def file(self, request: web.Request, to: str) -> Answer:
        """A received file as the request asks for it, whose caller may have it. Raises as ``forward``."""
        return await self.asked(
            request, self._seals.of_this_host(request.method, target_of(request), to)
        )

    @contextlib.asynccontextmanager
    async def reading(
        self,
        target: str,
        to: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        begins_within: float = STALLED,
        stalled: float = STALLED,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """What another host answers to a GET of this one's own, which may read everything: from its head to its end,
        ``stalled`` s without any of it at most. Raises ``NotConnectedError``, ``CutOffError``."""
        it = self._seals.of_this_host("GET", target, to)
        with as_ours(to):
            async with asyncio.timeout(begins_within):
                response = await self._sent(it, CIMultiDict(headers), within=stalled)
            try:
                yield response
            finally:
                response.close()

    async def answers(self, target: str, *, within: float) -> dict[str, Any]:
        """What each other host that lives answers ``within`` so many seconds to a GET of this, by name: JSON; None: nothing,
        or it refuses."""
        living = self.living()
        asked = (self._answer(target, to, within) for to in living.values())
        return dict(zip(living, await asyncio.gather(*asked), strict=True))

    async def _answer(self, target: str, to: str, within: float) -> Any:
        try:
            return await self.own("GET", target, to, within=within)
        except UnavailableError as error:
            logger.debug("no answer of another host", to=to, why=error.message)
            return None

    # ---- the answer's head ----

    async def asked(self, request: web.Request, it: ForwardedRequest) -> Answer:
        """The beginning of the answer, or all of a small one. Raises as ``forward``."""
        loop, to = asyncio.get_running_loop(), it.to
        end = loop.time() + self._within(request)
        task = asyncio.ensure_future(self._exchange(request, it))
        try:
            while not (await asyncio.wait({task}, timeout=WATCHED_EVERY))[0]:
                self._require_worth(request, to, late=loop.time() > end)
            with as_ours(to):
                answer = task.result()
        except BaseException as error:
            task.cancel()
            done = await asyncio.gather(task, return_exceptions=True)
            if isinstance(done[0], Answer):
                done[0].head.close()
            if isinstance(error, CutOffError) and task not in self._connected:
                raise _not_connected(f"nothing was sent: {error.message}") from None
            raise
        if answer.head.status == UNAUTHORIZED:
            answer.head.close()
            logger.warning(
                "another host takes nothing that this one forwards", event="host_refuses", to=to
            )
            raise UnavailableError(
                f"{to} does not take what this host forwards",
                remedy="compare cluster.key_file, cluster.address and the clocks of both hosts",
                retry_after=RETRY_AFTER,
            )
        return answer

    def _require_worth(self, request: web.Request, to: str, *, late: bool) -> None:
        """Raise where an answer is not worth waiting for."""
        if to not in self.others():
            raise CutOffError(f"{to} is no host that lives any more", retry_after=RETRY_AFTER)
        if (of := connection.of(request)) and of.has_hung_up:
            raise ConnectionResetError
        if late:
            raise CutOffError(f"{to} has not answered in time", retry_after=RETRY_AFTER)

    def _within(self, request: web.Request) -> float:
        resource = request.match_info.route.resource
        if resource and resource.canonical in OWN_END:
            return math.inf  # as long as that host lives
        return self._timings.request + self._timings.longer_elsewhere

    async def _exchange(self, request: web.Request, it: ForwardedRequest) -> Answer:
        body = await body_of(request)
        headers = headers_of(request)
        if body:
            headers["Content-Length"] = str(len(body))
        head = await self._sent(it, headers, body)
        length = head.content_length
        if request.method == "HEAD" or length is None or length > WHOLE:
            return Answer(head, None)
        try:
            return Answer(head, await head.read())
        except BaseException:
            head.close()
            raise

    async def _sent(
        self,
        it: ForwardedRequest,
        headers: CIMultiDict[str],
        body: bytes | bytearray = b"",
        *,
        within: float | None = None,
    ) -> aiohttp.ClientResponse:
        """The head of the answer, once more where that host has just been started again: it has done nothing of it.
        ``within``: seconds in which something must come."""
        sealed = self._seals.for_start(it, await digest(headers, body))
        head = await self._once(sealed, headers, body, within)
        said = head.headers.get(START, "") if head.status == UNAUTHORIZED else ""
        if again := self._seals.corrected(said, sealed):
            head.close()
            head = await self._once(again, headers, body, within)
        return head

    async def _once(
        self,
        it: ForwardedRequest,
        headers: CIMultiDict[str],
        body: bytes | bytearray,
        within: float | None,
    ) -> aiohttp.ClientResponse:
        assert self._http  # noqa: S101 - it has begun
        self._connected.discard(_this_task())  # the host has done nothing of what went out before
        headers["Authorization"] = f"Bearer {self._seals.sealed(it)}"
        return await self._http.request(
            it.method,
            URL(f"{it.to}{it.target}", encoded=True),
            headers=headers,
            data=_pieces(body) if body else None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=within),
        )

    # ---- the answer ----

    async def passed_on(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        """The answer for the client: written already where it is large."""
        headers = CIMultiDict(
            (name, it)
            for name, it in answer.head.headers.items()
            if name.lower() not in _NOT_ANSWERED
        )
        if answer.content is not None:
            return web.Response(status=answer.head.status, headers=headers, body=answer.content)
        if not still_accepted(request):
            answer.head.close()
            raise refused()
        response = web.StreamResponse(status=answer.head.status, headers=headers)
        response.content_length = answer.head.content_length
        try:
            await response.prepare(request)
            async with asyncio.timeout(STALLED) as stalled:
                async for piece in answer.head.content.iter_any():
                    stalled.reschedule(None)
                    await response.write(piece)
                    stalled.reschedule(asyncio.get_running_loop().time() + STALLED)
            await response.write_eof()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # its head is out: only the end of the connection can say that this is not all
            logger.debug("an answer of another host was cut off: {}", type(error).__name__)
            if request.transport:
                request.transport.abort()
        finally:
            answer.head.close()
        return response


@contextlib.contextmanager
def as_ours(to: str) -> Any:
    """What aiohttp raises, as ``NotConnectedError`` or ``CutOffError`` of that host."""
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        why = error.strerror if isinstance(error, aiohttp.ClientConnectorError) else "no answer"
        raise _not_connected(f"{to} cannot be reached: {why or error}") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise CutOffError(
            f"{to} was cut off: {type(error).__name__}", retry_after=RETRY_AFTER
        ) from None


def _not_connected(message: str) -> NotConnectedError:
    return NotConnectedError(
        message,
        remedy="repeat it; where that host is gone, another one takes its sessions over",
        retry_after=RETRY_AFTER,
    )


def _this_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task  # noqa: S101 - every call is within one
    return task


async def _pieces(body: bytes | bytearray) -> AsyncIterator[bytes]:
    for begin in range(0, len(body), PIECE):
        yield bytes(body[begin : begin + PIECE])
