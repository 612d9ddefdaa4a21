"""Replies to sends that another host has forwarded: they are written when that host has written them to their clients. Only
in a cluster.

It confirms that, where its version does. Until then, for a few seconds, no further message is accepted for the chat: whether
the same text is a repetition depends on it. A host that dies confirms nothing, and the reply counts as not written.
"""

import asyncio
from functools import partial
from typing import Final

from aiohttp import web

from waguard.api.deps import FORWARDED

CONFIRM: Final = "X-Host-Confirm"
"""The header of a reply that is to be confirmed."""
PATH: Final = "/api/cluster/replies"


class Confirmations:
    """Fills ``deps.Confirmations``. ``within``: seconds that a host has for it. All calls are of the event loop."""

    def __init__(self, *, within: float) -> None:
        self._within = within
        self._awaited: dict[str, tuple[tuple[str, str], asyncio.Future[bool]]] = {}
        """By the nonce of the forwarded request."""

    async def decided(self, chat: tuple[str, str]) -> None:
        """See there."""
        if awaited := [written for of, written in self._awaited.values() if of == chat]:
            await asyncio.wait(awaited)

    def expect(
        self, request: web.Request, response: web.Response, chat: tuple[str, str]
    ) -> asyncio.Future[bool] | None:
        """See there."""
        forwarded = request.get(FORWARDED)
        if forwarded is None or not forwarded.confirms:
            return None
        response.headers[CONFIRM] = "1"
        loop, name = asyncio.get_running_loop(), forwarded.nonce
        written = loop.create_future()
        self._awaited[name] = chat, written
        timer = loop.call_later(self._within, partial(self._decide, name, written=False))
        written.add_done_callback(lambda _: timer.cancel())
        return written

    def confirm(self, nonce: str) -> None:
        """See there."""
        self._decide(nonce, written=True)

    def _decide(self, nonce: str, *, written: bool) -> None:
        if found := self._awaited.pop(nonce, None):
            found[1].set_result(written)
