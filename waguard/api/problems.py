"""From an error to an answer: JSON with what, where, and what to do."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from loguru import logger

from waguard.errors import WaguardError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(error: WaguardError) -> web.Response:
    """The JSON answer of an error, with Retry-After where it may pass."""
    body: dict[str, Any] = {"error": error.message}
    if error.field:
        body["field"] = error.field
    if error.remedy:
        body["remedy"] = error.remedy
    response = web.json_response(body, status=error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as JSON; an unexpected one is logged once and tells nothing outside."""
    try:
        return await handler(request)
    except WaguardError as error:
        if error.status >= 500:  # noqa: PLR2004 - server errors
            logger.warning("request failed", path=request.path, why=error.line())
        return answer(error)
    except web.HTTPException as error:
        return _http(request, error)
    except TimeoutError:
        return web.json_response(
            {"error": "the request took too long", "remedy": "try again"}, status=503
        )
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001 - the one boundary of the API
        logger.exception("a bug in waguard, method={} path={}", request.method, request.path)
        return web.json_response(
            {"error": "unexpected error", "remedy": "see waguard's log"}, status=500
        )


def _http(request: web.Request, error: web.HTTPException) -> web.Response:
    remedies = {
        404: f"there is no {request.path}; see the README for the API",
        405: f"{request.method} is not for {request.path}",
        413: "send a smaller body",
    }
    texts = {404: "Not found", 405: "Method not allowed", 413: "Body too large"}
    body = {"error": texts.get(error.status, error.reason)}
    if remedy := remedies.get(error.status):
        body["remedy"] = remedy
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return web.json_response(body, status=error.status, headers=allow)
