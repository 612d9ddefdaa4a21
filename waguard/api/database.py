"""/api/database: what a person decides about the database."""

from aiohttp import web

from waguard.api.deps import DEPS
from waguard.api.route import Done, route
from waguard.core.keys import Right


class Database(Done, kw_only=True):
    """Which database it is."""

    database: str


@route(Right.ADMIN, 409)
async def accept(request: web.Request) -> Database:
    """Declare that the database that was found is meant."""
    return Database(database=request.app[DEPS].database.accept())
