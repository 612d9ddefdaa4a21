"""The application's calls to waguard, as PHP makes them: ``api_key`` last, no header of ours."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, Self

import aiohttp
from msgspec import Struct

from waguard.lab.application.manners import ALIVE, json_encode


class Keys(Struct, frozen=True):
    """The application's two keys, each in a place of its own."""

    sessions: str = "application-sessions-key"
    messages: str = "application-messages-key"


class Reply(Struct, frozen=True):
    """``status`` None: refused, hung up, empty, or not in time; ``answer`` is {} where there is no JSON."""

    status: int | None
    answer: Mapping[str, Any]

    @property
    def good(self) -> bool:
        """2xx."""
        return self.status in ALIVE


NONE: Final = Reply(None, {})


class Calls:
    """An async context manager."""

    def __init__(self) -> None:
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # a connection for each call, as PHP has it
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._http:
            await self._http.close()

    async def get(self, url: str, key: str | None, *, timeout: float) -> Reply:
        """With the key in the query."""
        params = {} if key is None else {"api_key": key}
        return await self._call("GET", url, timeout=timeout, params=params)

    async def change(
        self, method: str, url: str, fields: Mapping[str, Any], key: str | None, *, timeout: float
    ) -> Reply:
        """POST, PUT or DELETE, with the key in the body; without one the body may be ``[]``."""
        body = json_encode(fields if key is None else {**fields, "api_key": key})
        return await self._call(method, url, timeout=timeout, data=body)

    async def upload(
        self, url: str, content: bytes, mimetype: str, key: str, *, timeout: float
    ) -> Reply:
        """POST a file: here the key is in a header."""
        headers = {"Content-Type": mimetype, "X-Api-Key": key}
        return _reply(
            *await self._content("POST", url, timeout=timeout, headers=headers, data=content)
        )

    async def file(self, url: str, key: str, *, timeout: float) -> tuple[int | None, bytes]:
        """Status and body of the answer; None: there was none."""
        return await self._content("GET", url, timeout=timeout, headers={"X-Api-Key": key})

    async def _call(self, method: str, url: str, *, timeout: float, **how: Any) -> Reply:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return _reply(*await self._content(method, url, timeout=timeout, headers=headers, **how))

    async def _content(
        self, method: str, url: str, *, timeout: float, **how: Any
    ) -> tuple[int | None, bytes]:
        assert self._http  # noqa: S101 - entered
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._http.request(method, url, timeout=limit, **how) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError):
            return None, b""


def _reply(status: int | None, content: bytes) -> Reply:
    if status is None:
        return NONE
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return Reply(status, answer)
    return NONE if status in ALIVE else Reply(status, {})
