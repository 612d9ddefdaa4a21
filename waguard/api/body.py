"""The JSON object of a request, read under a limit and checked before anything else sees it."""

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from waguard.errors import InvalidInputError, UnavailableError

DEADLINE: Final = 30.0  # s to send a body
DEPTH_LIMIT: Final = 64  # nested objects and arrays; what writes them again recurses
_NO_TYPE: Final = "application/octet-stream"  # what aiohttp says where the client said nothing


async def read_object(
    request: web.Request, *, limit: int, take: Callable[[int], None]
) -> dict[str, Any]:
    """The object; {} where there is no body. ``limit`` is in bytes, after decompression; ``take``
    gets the number of those that came, and raises where they are too many."""
    declared = request.content_length or 0
    if declared > limit:
        raise web.HTTPRequestEntityTooLarge(limit, declared)
    if not request.can_read_body:
        return {}
    try:
        async with asyncio.timeout(DEADLINE):
            raw = await _read(request, limit, take)
    except TimeoutError:
        raise UnavailableError(
            "the body did not arrive in time",
            field="body",
            remedy=f"send it within {DEADLINE:g} s",
            retry_after=2,
        ) from None
    if not raw.strip():
        return {}
    if not _is_json(request):
        raise web.HTTPUnsupportedMediaType
    return _decode(raw)


async def _read(request: web.Request, limit: int, take: Callable[[int], None]) -> bytes:
    raw = bytearray()
    try:
        async for chunk in request.content.iter_any():
            take(len(chunk))
            raw += chunk
            if len(raw) > limit:
                raise web.HTTPRequestEntityTooLarge(limit, len(raw))
    except web.RequestPayloadError as error:
        raise _bad(
            f"the body cannot be read: {error}", "send it whole, as its headers say"
        ) from None
    return bytes(raw)


def _is_json(request: web.Request) -> bool:
    kind = request.content_type
    return kind in {"application/json", "text/json", _NO_TYPE} or kind.endswith("+json")


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(
            raw.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise _bad(f"the body is not JSON: {error}"[:200], "send a JSON object in UTF-8") from None
    if body == []:  # how PHP writes an empty array, whatever it was to be
        return {}
    if not isinstance(body, dict):
        raise _bad(f"the body is a JSON {type(body).__name__}", "send a JSON object")
    if _deeper_than(body, DEPTH_LIMIT):
        raise _bad("the body is nested too deeply", f"nest at most {DEPTH_LIMIT} levels")
    if b"\\u" in raw:
        _check_characters(body)
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    """1e999 would become infinity, which no JSON can hold on the way out."""
    if math.isinf(number := float(text)):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _deeper_than(value: Any, levels: int) -> bool:
    inside = [value]
    for _ in range(levels):
        inside = [
            child
            for container in inside
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
        if not inside:
            return False
    return True


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
