"""An end to every request; a change goes on behind it, because half of one is worse than a wait."""

import asyncio
from typing import Final

from aiohttp import web
from loguru import logger

from waguard.api.groups import ChangeUncertain
from waguard.api.problems import Handler
from waguard.api.route import json_reply, route_of
from waguard.api.timings import TIMINGS
from waguard.errors import UnavailableError, WaguardError

READS: Final = frozenset({"GET", "HEAD"})

CHANGES: Final = web.AppKey("changes", set[asyncio.Task[web.StreamResponse]])


async def within_deadline(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's response. Raises ``UnavailableError`` when it takes too long.

    A read is cancelled then. A change is not: cancelled in the middle, a session would be neither
    deleted nor there. One that must not be repeated is answered as uncertain.
    """
    within = request.app[TIMINGS].request
    if request.method in READS:
        try:
            async with asyncio.timeout(within) as end:  # half the price of a task of its own
                return await handler(request)
        except TimeoutError:
            if not end.expired():
                raise
            raise UnavailableError(
                "the request took too long", remedy="try again", retry_after=5
            ) from None
    task = asyncio.ensure_future(handler(request))
    try:
        done, _ = await asyncio.wait({task}, timeout=within)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        return task.result()
    request.app[CHANGES].add(task)
    task.add_done_callback(request.app[CHANGES].discard)
    task.add_done_callback(_report)
    late = "this takes longer than expected; it continues"
    found = route_of(request.match_info.handler)
    if found and ChangeUncertain in found.replies:
        remedy = "check the group on the phone; do not repeat it"
        return json_reply(ChangeUncertain(error=late, remedy=remedy))
    raise UnavailableError(
        late,
        remedy="ask for the session's status in a while",
        retry_after=10,
    )


def _report(task: "asyncio.Task[web.StreamResponse]") -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    why = error.line() if isinstance(error, WaguardError) else repr(error)
    logger.error("a change failed after its request had ended", event="change_failed", why=why)
