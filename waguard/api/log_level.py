"""/api/log-level: from which level on daemon and workers log, until the restart."""

from typing import Annotated, Any, Final, get_args

from aiohttp import web
from msgspec import Struct

from waguard.api import fields
from waguard.api.audit import who
from waguard.api.deps import DEPS
from waguard.api.fields import Kind
from waguard.api.route import Done, route
from waguard.config.sections import Level
from waguard.core.keys import Right
from waguard.ports.logs import LogLevels

_LEVELS: Final[tuple[Level, ...]] = get_args(Level)


def _level(given: Any, name: str) -> Level:
    for level in _LEVELS:
        if isinstance(given, str) and given.upper() == level:
            return level
    allowed = f"{', '.join(_LEVELS)}, or null for the configured one"
    raise fields.bad(name, given, "invalid level", allowed)


class SetLevel(Struct, kw_only=True):
    """A level; null: the configured one."""

    level: Annotated[Level, Kind(_level)] | None


class LogLevel(Done, kw_only=True):
    """The level that is used, and the configured one."""

    level: Level
    configured: Level


@route(Right.READ)
async def show(request: web.Request) -> LogLevel:
    """The level of the log."""
    return _reply(request.app[DEPS].log)


@route(Right.ADMIN)
async def put(request: web.Request, body: SetLevel) -> LogLevel:
    """Set it until the restart."""
    log = request.app[DEPS].log
    log.ask(body.level, by=who(request))
    return _reply(log)


def _reply(log: LogLevels) -> LogLevel:
    return LogLevel(level=log.effective.level, configured=log.configured.level)
