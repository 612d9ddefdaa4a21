"""From an error to an answer: JSON with what, where, and what to do."""

import logging
import math
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError
from loguru import logger

from waguard.errors import NotFoundError, WaguardError
from waguard.host.system.listen import has_hung_up

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
SERVER_ERROR: Final = 500
_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
REQUEST_ID: Final = web.RequestKey("request_id", str)
CLIENT_LEFT: Final = 499  # for the log; nobody reads it
# s; where an error that passes does not say when
RETRY_AFTER: Final = {425: 2.0, 503: 5.0}


def answer(error: WaguardError) -> web.Response:
    """The JSON answer of an error, with Retry-After where it may pass."""
    body: dict[str, Any] = {"error": error.message}
    if error.field:
        body["field"] = error.field
    if error.remedy:
        body["remedy"] = error.remedy
    response = web.json_response(body, status=error.status, headers=error.headers)
    retry_after = error.retry_after
    if retry_after is None:
        retry_after = RETRY_AFTER.get(error.status)
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(0, math.ceil(retry_after)))
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as JSON; an unexpected one is logged once and shows nothing outside."""
    began = time.monotonic()
    given = request.headers.get("X-Request-Id", "")
    is_usable = given and _GIVEN_ID.fullmatch(given)
    request[REQUEST_ID] = given if is_usable else secrets.token_hex(6)
    response = await _answered(request, handler)
    if isinstance(response, web.Response) and _ends(request, response):
        response.force_close()
    # the path without its query, which may hold a key
    logger.debug(
        "{} {} {} {:.0f} ms, request {}",
        request.method,
        request.rel_url.raw_path,
        response.status,
        (time.monotonic() - began) * 1000,
        request[REQUEST_ID],
    )
    return response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except WaguardError as error:
        if error.status >= SERVER_ERROR:
            logger.warning(
                "request failed",
                event="request_failed",
                path=request.rel_url.raw_path,
                why=error.line(),
                request=request[REQUEST_ID],
            )
        return answer(error)
    except web.HTTPException as error:
        return _http(request, error)
    except Exception as error:  # noqa: BLE001 - the one boundary of the API
        if isinstance(error, ConnectionError) and _has_left(request):
            return web.Response(status=CLIENT_LEFT)  # aiohttp sees that it cannot write it
        number = request[REQUEST_ID]
        logger.bind(event="bug", request=number).exception(
            "a bug in waguard, method={} path={}", request.method, request.rel_url.raw_path
        )
        return web.json_response(
            {
                "error": "unexpected error",
                "remedy": f"see waguard's log for request {number}",
                "request_id": number,
            },
            status=SERVER_ERROR,
        )


def _ends(request: web.Request, response: web.Response) -> bool:
    """Whether nothing more is taken on the connection: guesses cost one each, and the rest of a refused body
    is only read for its client to get the answer."""
    unread = request.body_exists and not request.content.is_eof()
    return response.status == UNAUTHORIZED or (response.status >= BAD_REQUEST and unread)


def _has_left(request: web.Request) -> bool:
    if request.transport is None or request.transport.is_closing():
        return True
    return has_hung_up(request.transport.get_extra_info("socket"))


def of_waguard(record: logging.LogRecord) -> bool:
    """Log filter: what is no HTTP is its client's mistake, and its bytes may hold a key."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError | web.RequestPayloadError):
        return True
    logger.debug("a request that is no HTTP was refused: {}", type(error).__name__)
    return False


class DiscreetHandler(web.RequestHandler):
    """aiohttp answers what is no HTTP with its bytes, and with them a key."""

    def handle_error(self, *args: Any, **given: Any) -> web.StreamResponse:
        """See aiohttp's."""
        answer = super().handle_error(*args, **given)
        if answer.status < SERVER_ERROR:
            answer = web.json_response(_NO_HTTP, status=answer.status)
            answer.force_close()
        return answer


_NO_HTTP: Final = {
    "error": "this is no valid HTTP request",
    "remedy": "correct its first line or its headers; a space in an address is %20",
}


_TEXTS: Final = {
    404: "Not found",
    405: "Method not allowed",
    413: "Body too large",
    415: "Unsupported media type",
}


# an id has a number in it; else its path is no route's
_NO_MESSAGE: Final = re.compile(
    "(?:GET|HEAD) /api/messages/[^/]+|POST /api/messages/[^/]+/(?:cancel|edit|media|reaction|revoke)"
)
_NO_LETTER: Final = re.compile(
    "(?:DELETE|GET|HEAD) /api/webhooks/dead/[^/]+|POST /api/webhooks/dead/[^/]+/replay"
)


def no_message() -> NotFoundError:
    """No message has this id."""
    remedy = "see `waguard messages list` (GET /api/messages)"
    return NotFoundError("there is no such message", field="id", remedy=remedy)


def _no_id(request: web.Request) -> NotFoundError | None:
    wanted = f"{request.method} {request.rel_url.raw_path}"
    if _NO_MESSAGE.fullmatch(wanted):
        return no_message()
    if _NO_LETTER.fullmatch(wanted):
        remedy = "see `waguard webhooks list` (GET /api/webhooks/dead)"
        return NotFoundError("there is no such dead letter", field="number", remedy=remedy)
    return None


def _http(request: web.Request, error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPNotFound) and (unknown := _no_id(request)):
        return answer(unknown)
    allowed = error.headers.get("Allow", "")
    remedies = {
        404: f"no such route: {request.rel_url.raw_path[:100]}; see docs/api.md",
        405: f"use {allowed.replace(',', ' or ')}",
        413: "send a smaller body",
        415: "send JSON with Content-Type: application/json",
    }
    body = {"error": _TEXTS.get(error.status, error.reason)}
    if remedy := remedies.get(error.status):
        body["remedy"] = remedy
    headers = {"Allow": allowed} if allowed else {}
    return web.json_response(body, status=error.status, headers=headers)
