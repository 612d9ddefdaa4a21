"""/api/reconcile: the difference between database, memory and host, and its correction."""

from dataclasses import asdict

from aiohttp import web

from waguard.api.deps import DEPS


async def difference(request: web.Request) -> web.Response:
    """GET: what would be done, and what is only reported. Nothing is changed."""
    corrections, findings = await request.app[DEPS].reconciler.difference()
    return web.json_response(
        {
            "success": True,
            "corrections": [asdict(one) for one in corrections],
            "findings": [asdict(one) for one in findings],
        }
    )


async def now(request: web.Request) -> web.Response:
    """POST: do it now; what was corrected."""
    done = await request.app[DEPS].reconciler.correct()
    return web.json_response({"success": True, "corrections": [asdict(one) for one in done]})
