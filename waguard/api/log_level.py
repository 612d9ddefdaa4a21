"""/api/log-level: from which level on daemon and workers log, until the restart."""

from typing import Final, get_args

from aiohttp import web

from waguard.api import fields
from waguard.api.auth import caller
from waguard.api.deps import BODY, DEPS
from waguard.config.sections import Level
from waguard.ports.logs import LogLevels

_LEVELS: Final[tuple[Level, ...]] = get_args(Level)


async def show(request: web.Request) -> web.Response:
    """GET: the level that is used, and the configured one."""
    return _answer(request.app[DEPS].log)


async def put(request: web.Request) -> web.Response:
    """PUT ``{"level"}``: a level, or null for the configured one."""
    log, body = request.app[DEPS].log, request[BODY]
    if "level" not in body:
        raise _bad(None)
    log.ask(_level(body["level"]), by=caller(request))
    return _answer(log)


def _answer(log: LogLevels) -> web.Response:
    return web.json_response(
        {"success": True, "level": log.effective.level, "configured": log.configured.level}
    )


def _level(given: object) -> Level | None:
    if given is None:
        return None
    for level in _LEVELS:
        if isinstance(given, str) and given.upper() == level:
            return level
    raise _bad(given)


def _bad(given: object) -> Exception:
    allowed = f"{', '.join(_LEVELS)}, or null for the configured one"
    return fields.bad("level", given, "invalid level", allowed)
