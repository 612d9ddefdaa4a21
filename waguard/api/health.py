"""/health: the truth. 200 while waguard supervises: a cron restarts the service on anything else."""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from waguard.api import fields
from waguard.api.deps import DEPS
from waguard.api.sessions import condition, shown
from waguard.api.timings import TIMINGS
from waguard.errors import WaguardError

STARTED: Final = time.monotonic()
STARTED_AT: Final = time.time()
_MB: Final = 1 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_INSTALLED: Final = os.sysconf("SC_PHYS_PAGES") * _PAGE

_MISSING: Final = {
    "supervising": "waguard is stopping, or waits for the database's lease, which another one holds",
    "database": "the database does not answer yet",
    "restored": "sessions are still being restored",
}


def memory_used() -> int:
    """Bytes that are resident of this process."""
    # proc(5): the second number of statm is the resident size in pages; no disk is touched
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _memory() -> dict[str, Any]:
    return {"used": round(memory_used() / _MB, 1), "total": round(_INSTALLED / _MB), "unit": "MB"}


def _body(request: web.Request) -> dict[str, Any]:
    health = request.app[DEPS].health()
    return {
        "status": "degraded" if health.problems else "healthy",
        "uptime": round(time.monotonic() - STARTED, 1),
        "sessions": {
            "total": health.total,
            "connected": health.connected,
            "disconnected": health.disconnected,
        },
        "memory": _memory(),
        "timestamp": fields.iso(time.time()),
        # without a key: no session's name, no words
        "conditions": dict(Counter(it.type for it in health.conditions)),
    }


async def health(request: web.Request) -> web.Response:
    """GET /health, without a key."""
    if request.app[DEPS].health().supervising:
        return web.json_response(_body(request))
    answer = {"error": _MISSING["supervising"], "remedy": "see /health/detailed with the key"}
    return web.json_response(_body(request) | answer, status=503)


async def live(_: web.Request) -> web.Response:
    """GET /health/live: that this is answered is the proof."""
    return web.json_response({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    """GET /health/ready: the database is open and the restore is through."""
    health = request.app[DEPS].health()
    checks = {
        "supervising": health.supervising,
        "database": health.database,
        "restored": health.restored,
    }
    missing = [_MISSING[name] for name, good in checks.items() if not good]
    if not missing:
        return web.json_response({"status": "ready", "checks": checks})
    answer = {"status": "not ready", "error": "; ".join(missing), "remedy": "ask again in a moment"}
    return web.json_response(answer | {"checks": checks}, status=503, headers={"Retry-After": "2"})


async def detailed(request: web.Request) -> web.Response:
    """GET /health/detailed: each session, and what is wrong in words; ``?removed=1``: also those
    that were deleted."""
    deps, removed = request.app[DEPS], fields.flag(request, "removed")
    health = deps.health()
    details: list[dict[str, Any]] | None
    try:
        details = [shown(view) for view in await deps.sessions.views(removed=removed)]
    except WaguardError:
        details = None  # unknown is not empty
    return web.json_response(
        _body(request)
        | {
            "problems": list(health.problems),
            "conditions": [condition(it) for it in health.conditions],
            "database": await _database(request),
            "restored": health.restored,
            "details": details,
        }
    )


async def _database(request: web.Request) -> str:
    within = request.app[TIMINGS].ping
    try:
        async with asyncio.timeout(within):
            await request.app[DEPS].store.ping()
    except WaguardError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {within:g} s"
    return "answers"
