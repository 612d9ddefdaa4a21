"""/api/restored: what a person releases after a restore from a backup."""

from aiohttp import web

from waguard.api.deps import DEPS
from waguard.api.route import Done, route
from waguard.api.webhooks import Replayed
from waguard.core.keys import Right


class Released(Done, kw_only=True):
    """How many sessions send to groups again."""

    released: int


@route(Right.OPERATE)
async def release_groups(request: web.Request) -> Released:
    """Send messages to groups again, of all sessions."""
    return Released(released=await request.app[DEPS].restored.release_groups())


@route(Right.OPERATE)
async def release_webhooks(request: web.Request) -> Replayed:
    """Deliver all webhooks that may have been delivered before the restore."""
    letters = request.app[DEPS].webhooks.dead_letters
    return Replayed(replayed=await letters.release_restored())
