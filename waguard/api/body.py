"""The JSON object of a request, read under a limit and checked before anything else sees it."""

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from waguard.api import unpacking
from waguard.api.connection import CostlyBodyError
from waguard.api.timings import TIMINGS
from waguard.core.text import json_text
from waguard.errors import InvalidInputError, UnavailableError

LARGE: Final = 256 << 10  # bytes; decoding more takes longer than the loop should stand still
_NO_TYPE: Final = "application/octet-stream"  # what aiohttp says where the client said nothing


class Body:
    """The body of a request while it comes: who may send it is known when a part of it is there."""

    def __init__(self, request: web.Request, *, limit: int) -> None:
        """``limit`` is in bytes, after decompression. Raises where it is said to have more."""
        declared = request.content_length or 0
        if declared > limit:
            raise web.HTTPRequestEntityTooLarge(limit, declared)
        self.declared = declared
        self.limit = limit
        self.raw = bytearray()
        self.whole = not request.can_read_body
        self.names_key = False
        """Whether a key was found in what was searched, be it a wrong one."""
        self._request = request
        self._source = unpacking.source(request)

    async def read(self, upto: int, charge: Callable[[int], None]) -> None:
        """Until it is whole, or there are more than ``upto`` bytes. ``charge`` gets the number of
        those that came, and raises where they are too many."""
        while not self.whole and len(self.raw) <= upto:
            try:
                piece = await self._source.next()
            except CostlyBodyError as error:
                raise _bad(
                    f"the body was not read to its end: {error}",
                    "send the key in X-Api-Key, or the body in larger pieces",
                ) from None
            except web.RequestPayloadError as error:
                raise _bad(
                    f"the body cannot be read: {error}"[:200], "send it whole, as its headers say"
                ) from None
            charge(len(piece))
            self.raw += piece
            self.whole = not piece

    async def decoded(self, charge: Callable[[int], None]) -> dict[str, Any]:
        """The object, read to its end; {} where there is no body."""
        charge(len(self.raw))
        within = self._request.app[TIMINGS].body
        try:
            async with asyncio.timeout(within):
                await self.read(self.limit, charge)
        except TimeoutError:
            raise late(within) from None
        if not self.whole:
            raise web.HTTPRequestEntityTooLarge(self.limit, len(self.raw))
        if not self.raw.strip():
            return {}
        if not _is_json(self._request):
            raise web.HTTPUnsupportedMediaType
        if len(self.raw) > LARGE:
            return await asyncio.to_thread(_decode, self.raw)
        return _decode(self.raw)


def late(within: float) -> UnavailableError:
    """What a body gets that takes longer than so many seconds to come."""
    return UnavailableError(
        "the body did not arrive in time",
        field="body",
        remedy=f"send it within {within:g} s",
        retry_after=2,
    )


def _is_json(request: web.Request) -> bool:
    kind = request.content_type
    return kind in {"application/json", "text/json", _NO_TYPE} or kind.endswith("+json")


def _decode(raw: bytearray) -> dict[str, Any]:
    if too_much := json_text.excess(raw):
        raise _bad(f"the body {too_much[0]}", too_much[1])
    try:
        body = json.loads(
            raw.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite
        )
    except ValueError as error:
        raise _bad(f"the body is not JSON: {error}"[:200], "send a JSON object in UTF-8") from None
    if body == []:  # how PHP writes an empty array, whatever it was to be
        return {}
    if not isinstance(body, dict):
        raise _bad(f"the body is a JSON {type(body).__name__}", "send a JSON object")
    if b"\\u" in raw:
        _check_characters(body)
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    """1e999 would become infinity, which no JSON can hold on the way out."""
    if math.isinf(number := float(text)):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _check_characters(body: dict[str, Any]) -> None:
    """Half a pair is taken by no socket, NUL by no PostgreSQL; JSON can write both as escapes."""
    text = json.dumps(body, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _bad("the body holds half a surrogate pair", "send complete characters") from None
    # an escaped backslash is no escape of what follows it
    if "\\u0000" in text.replace("\\\\", ""):
        raise _bad("the body holds a NUL character", "leave it out")


def _bad(message: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(message, field="body", remedy=remedy)
