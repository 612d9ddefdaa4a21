"""What of a request goes to the host that it is forwarded to. Only in a cluster."""

import asyncio
import json
from typing import Any, Final

from aiohttp import web
from multidict import CIMultiDict

from waguard.api.body import LARGE
from waguard.api.deps import BODY, BODY_BYTES
from waguard.api.problems import REQUEST_ID
from waguard.errors import InvalidInputError

OF_THE_CONNECTION: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_FORWARDED: Final = OF_THE_CONNECTION | {
    "authorization",
    "content-encoding",  # it was unpacked
    "content-length",
    "cookie",
    "expect",
    "host",
    "x-api-key",
    "x-request-id",
}


def headers_of(request: web.Request) -> CIMultiDict[str]:
    """Headers of the request, without a key. Raises ``InvalidInputError``."""
    named = {it.strip().lower() for it in request.headers.get("Connection", "").split(",")}
    kept = CIMultiDict(
        (name, it)
        for name, it in request.headers.items()
        if name.lower() not in _NOT_FORWARDED and name.lower() not in named
    )
    for name, it in kept.items():
        try:
            it.encode()
        except UnicodeEncodeError:
            raise InvalidInputError(
                "a header is no text", field=name[:60], remedy="send it in UTF-8"
            ) from None
    kept["X-Request-Id"] = request[REQUEST_ID]
    return kept


async def body_of(request: web.Request) -> bytes | bytearray:
    """What came of it, without a key."""
    came: bytearray = request.get(BODY_BYTES, bytearray())
    fields = request.get(BODY, {})
    if "api_key" not in fields:
        return came
    rest = {name: it for name, it in fields.items() if name != "api_key"}
    if len(came) > LARGE:
        return await asyncio.to_thread(_encoded, rest)
    return _encoded(rest)


def _encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
