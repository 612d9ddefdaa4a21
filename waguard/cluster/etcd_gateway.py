"""etcd's JSON gateway over HTTP: one deadline for a call with all members that it asks, TLS, a login."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from waguard.errors import EngineUnavailableError

_OK: Final = 200
_PAUSE: Final = 0.1  # s, when no endpoint answered
_RETRY_AFTER: Final = 5.0  # s
_REFUSALS: Final = frozenset({400, 401, 403})  # every member would say the same
_NO_AUTHENTICATION: Final = "authentication is not enabled"
# etcd has forgotten the token, does not know who asks, or its users were changed since
_LOG_IN_AGAIN: Final = ("invalid auth token", "user name is empty", "revision of auth store is old")
T = TypeVar("T")


class MemberError(Exception):
    """This member cannot answer now; another one may."""


class _Token(msgspec.Struct):
    token: str


class _Head(msgspec.Struct):
    cluster_id: str = ""


class _Headed(msgspec.Struct):
    header: _Head = msgspec.field(default_factory=_Head)


class _Failure(msgspec.Struct):
    message: str = ""


class Login(Struct, frozen=True):
    """A user of etcd."""

    user: str
    password: str


class Gateway:
    """Asks one member after the other. ``deadline``: seconds for a call with all that it tries. Nothing is connected
    before the first call. Calls raise ``EngineUnavailableError``."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: ssl.SSLContext | None,
        login: Login | None,
        deadline: float,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._tls = tls
        self._login = login
        self._deadline = deadline
        self._current = 0
        self._token: str | None = None  # "": none is needed
        self._client: aiohttp.ClientSession | None = None
        self.cluster = ""
        """The id of the etcd whose member answered first: another one's members count as away. Empty: none has."""

    async def call(self, path: str, body: Any, kind: type[T]) -> tuple[T, bool]:
        """The answer, and whether another try, which was not answered, may have done it before."""
        content = msgspec.json.encode(body)
        failure = ""
        try:
            async with asyncio.timeout(self._deadline):
                while True:
                    for _ in self._endpoints:
                        number = self._current
                        try:
                            # not all of the time: another member is asked before it is too late
                            async with asyncio.timeout(self._deadline * 2 / 3):
                                return await self._answer(path, content, kind), bool(failure)
                        except (aiohttp.ClientError, OSError, MemberError) as error:
                            failure = self._failed(number, error)
                    await asyncio.sleep(_PAUSE)
        except TimeoutError as error:
            raise unavailable(failure or f"no answer within {self._deadline:g} s") from error

    async def lines(self, path: str, body: Any, *, idle: float) -> AsyncGenerator[Sequence[bytes]]:
        """The lines of an answer without an end, as they come; none: there was nothing for ``idle`` s. The caller has
        called just before, so a token is new."""
        rest = b""
        number = self._current
        try:
            async with asyncio.timeout(self._deadline):
                response = await self._request(path, msgspec.json.encode(body))
            async with response:
                if response.status != _OK:
                    raise MemberError(_words(response.status, await response.read()))  # noqa: TRY301 - as one that is away
                while True:
                    try:
                        async with asyncio.timeout(idle):
                            piece = await response.content.readany()
                    except TimeoutError:
                        yield ()
                        continue
                    if not piece:
                        raise MemberError("it ended the answer")  # noqa: TRY301 - as a broken connection
                    *lines, rest = (rest + piece).split(b"\n")
                    if whole := [line for line in lines if line.strip()]:
                        yield whole
        except (aiohttp.ClientError, OSError, MemberError) as error:
            raise unavailable(self._failed(number, error)) from error

    async def close(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _answer(self, path: str, content: bytes, kind: type[T]) -> T:
        if self._login is not None and self._token is None:
            await self._log_in(self._login)
        status, answer = await self._post(path, content)
        if self._login is not None and _asks_for_login(status, answer):
            await self._log_in(self._login)
            status, answer = await self._post(path, content)
        decoded = _decoded(status, answer, kind)
        self._recognize(_decoded(status, answer, _Headed).header.cluster_id)
        return decoded

    def _recognize(self, found: str) -> None:
        self.cluster = self.cluster or found
        if found != self.cluster:
            raise MemberError(
                f"it belongs to another etcd ({found}) than the one that is used ({self.cluster})"
            )

    async def _log_in(self, login: Login) -> None:
        self._token = None
        wanted = {"name": login.user, "password": login.password}
        status, answer = await self._post("auth/authenticate", msgspec.json.encode(wanted))
        if status in _REFUSALS and _NO_AUTHENTICATION in _message(answer):
            self._token = ""
        else:
            self._token = _decoded(status, answer, _Token).token

    async def _post(self, path: str, content: bytes) -> tuple[int, bytes]:
        async with await self._request(path, content) as response:
            return response.status, await response.read()

    async def _request(self, path: str, content: bytes) -> aiohttp.ClientResponse:
        if self._client is None:
            # each call has its own deadline, and an answer without an end has none
            self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        return await self._client.post(
            f"{self._endpoints[self._current]}/v3/{path}",
            data=content,
            headers={"Authorization": self._token} if self._token else {},
            ssl=self._tls or True,
            allow_redirects=False,
        )

    def _failed(self, number: int, error: Exception) -> str:
        """Use the next endpoint, unless another call has done so meanwhile. Why, in words."""
        if self._current == number:
            self._current = (number + 1) % len(self._endpoints)
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        return f"{self._endpoints[number]}: {why or type(error).__name__}"


def unavailable(why: str) -> EngineUnavailableError:
    """``why`` in words."""
    return EngineUnavailableError(
        f"etcd does not answer: {why}",
        field="cluster.endpoints",
        remedy="check that most of its members run, and can be reached from this host",
        retry_after=_RETRY_AFTER,
    )


def _decoded(status: int, answer: bytes, kind: type[T]) -> T:
    """Raises ``MemberError`` for what is no answer, ``EngineUnavailableError`` for what no member answers."""
    if status in _REFUSALS:
        raise EngineUnavailableError(
            f"etcd refuses: {_message(answer)}",
            field="cluster.user_file",
            remedy="name a user of etcd who may read and write keys that begin with waguard/",
            retry_after=_RETRY_AFTER,
        )
    if status != _OK:
        raise MemberError(_words(status, answer))
    try:
        return msgspec.json.decode(answer, type=kind, strict=False)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MemberError(f"its answer is not etcd's: {error}") from error


def _words(status: int, answer: bytes) -> str:
    return f"status {status}: {_message(answer)}"


def _message(answer: bytes) -> str:
    with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
        if message := msgspec.json.decode(answer, type=_Failure).message:
            return message
    return ascii(answer[:80])


def _asks_for_login(status: int, answer: bytes) -> bool:
    return status in _REFUSALS and any(words in _message(answer) for words in _LOG_IN_AGAIN)
