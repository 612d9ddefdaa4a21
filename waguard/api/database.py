"""/api/database: what a person decides about the database."""

from aiohttp import web

from waguard.api.deps import DEPS


async def accept(request: web.Request) -> web.Response:
    """POST …/accept: the database that was found is meant."""
    name = request.app[DEPS].database.accept()
    return web.json_response({"success": True, "database": name})
