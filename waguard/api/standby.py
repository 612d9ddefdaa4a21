"""A standby answers what it knows by itself. All else is its holder's: 503, whatever the request."""

from typing import Final

from aiohttp import web

from waguard.api.deps import DEPS
from waguard.api.problems import Handler
from waguard.core.lease import held_elsewhere_words
from waguard.errors import UnavailableError

ASK_THE_HOLDER: Final = "ask the waguard there; this one takes over by itself when that one ends"
RETRY_AFTER: Final = 5.0  # s
_SHARED: Final = "/api/"
_OWN: Final = ("/api/openapi.json", "/api/events", "/api/incidents", "/api/log-level", "/api/keys")
"""What happens on this host, its log, its keys."""


@web.middleware
async def answers_for_itself(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what is about sessions and messages, which another daemon has, before any handler sees it."""
    standby = request.app[DEPS].standby()
    if standby and _is_shared(request.path):
        raise UnavailableError(
            held_elsewhere_words(standby), remedy=ASK_THE_HOLDER, retry_after=RETRY_AFTER
        )
    return await handler(request)


def _is_shared(path: str) -> bool:
    own = any(path == it or path.startswith(f"{it}/") for it in _OWN)
    return path.startswith((_SHARED, "/sessions/")) and not own
