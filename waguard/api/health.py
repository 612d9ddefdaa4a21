"""/health: the truth. 200 while waguard supervises: a cron restarts the service on anything else."""

import time
from datetime import UTC, datetime
from typing import Any, Final

import psutil
from aiohttp import web

from waguard.api.deps import DEPS
from waguard.api.sessions import shown
from waguard.errors import WaguardError

STARTED: Final = time.monotonic()
_MB: Final = 1 << 20


def _memory() -> dict[str, Any]:
    used = psutil.Process().memory_info().rss
    return {
        "used": round(used / _MB, 1),
        "total": round(psutil.virtual_memory().total / _MB),
        "unit": "MB",
    }


def _body(request: web.Request) -> dict[str, Any]:
    health = request.app[DEPS].sessions.health()
    return {
        "status": "degraded" if health.problems else "healthy",
        "uptime": round(time.monotonic() - STARTED, 1),
        "sessions": {
            "total": health.total,
            "connected": health.connected,
            "disconnected": health.disconnected,
        },
        "memory": _memory(),
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }


async def health(request: web.Request) -> web.Response:
    """GET /health, without a key."""
    supervising = request.app[DEPS].sessions.health().supervising
    return web.json_response(_body(request), status=200 if supervising else 503)


async def live(_: web.Request) -> web.Response:
    """GET /health/live: that this is answered is the proof."""
    return web.json_response({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    """GET /health/ready: the database is open and the restore is through."""
    health = request.app[DEPS].sessions.health()
    checks = {
        "supervising": health.supervising,
        "database": health.database,
        "restored": health.restored,
    }
    is_ready = all(checks.values())
    body = {"status": "ready" if is_ready else "not ready", "checks": checks}
    headers = {} if is_ready else {"Retry-After": "2"}
    return web.json_response(body, status=200 if is_ready else 503, headers=headers)


async def detailed(request: web.Request) -> web.Response:
    """GET /health/detailed: each session, and what is wrong in words."""
    deps = request.app[DEPS]
    health = deps.sessions.health()
    try:
        await deps.store.ping()
        database = "answers"
    except WaguardError as error:
        database = error.message
    views = await deps.sessions.views() if health.database else []
    return web.json_response(
        _body(request)
        | {
            "problems": list(health.problems),
            "database": database,
            "restored": health.restored,
            "details": [shown(view) for view in views],
        }
    )
