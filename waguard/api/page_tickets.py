"""Tickets of the status page: `waguard page` has one made, and the page exchanges it for a key of its own.

The address that is printed has no key: what a terminal, its history or a screen keeps of it is worth nothing after
the first use, or a minute.
"""

import secrets
from typing import Annotated, ClassVar, Final, NamedTuple

from aiohttp import web
from msgspec import Meta, Struct, field

from waguard.api import keys
from waguard.api.deps import CALLER
from waguard.api.fields import AS_IT_IS, Kind
from waguard.api.keys import NewKey
from waguard.api.limits import LOAD
from waguard.api.rights import Narrowing
from waguard.api.route import Done, route
from waguard.core import issued_keys
from waguard.core.issued_keys import Wanted
from waguard.core.keys import Caller, Right
from waguard.errors import UnauthorizedError
from waguard.ports.clock import Clock

LASTS: Final = 60.0  # s
MOST: Final = 50  # of a maker; beyond, its oldest is worth nothing any more


class Ticket(NamedTuple):
    """What a ticket is exchanged for, and until when, in monotonic seconds."""

    maker: Caller
    right: Right
    until: float


class Tickets:
    """Tickets that were not used yet, by their SHA-256: looking one up tells nothing of the others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, Ticket] = {}

    def make(self, maker: Caller, right: Right) -> str:
        """The ticket itself, which is nowhere else."""
        text, now = secrets.token_urlsafe(32), self._clock.monotonic()
        self._known = {name: it for name, it in self._known.items() if now < it.until}
        self._known[issued_keys.digest(text)] = Ticket(maker, right, now + LASTS)
        for old in [name for name, it in self._known.items() if it.maker.key == maker.key][:-MOST]:
            del self._known[old]
        return text

    def use(self, text: str) -> tuple[Caller, Wanted] | None:
        """Who had the ticket made, and the key that is wanted, once; None: it is none, was used, or is too old."""
        it = self._known.pop(issued_keys.digest(text), None)
        if it is None or self._clock.monotonic() >= it.until:
            return None
        return it.maker, issued_keys.for_page(it.maker, it.right, now=self._clock.wall())


TICKETS: Final = web.AppKey("tickets", Tickets)


class MakeTicket(Struct, kw_only=True):
    """What the page's key may do."""

    right: Annotated[Right, Kind(keys.right)] = Right.OPERATE


class NewTicket(Done, kw_only=True):
    """A ticket, which is shown this once, and for how many seconds it can be used."""

    STATUS: ClassVar[int] = 201
    ticket: str
    expires_in: float


@route(Right.ADMIN, narrows=Narrowing.ITSELF)
async def make(request: web.Request, body: MakeTicket) -> NewTicket:
    """Make a ticket for the status page. Its key has the scope of the key that asks."""
    ticket = request.app[TICKETS].make(request[CALLER], body.right)
    return NewTicket(ticket=ticket, expires_in=LASTS)


class Shown(Struct, kw_only=True):
    """The ticket."""

    ticket: Annotated[str, AS_IT_IS, Meta(description="of `waguard page`")] = field(
        default="", name="X-Ticket"
    )


@route(None, 401, 403, 409)
async def exchange(request: web.Request, headers: Shown) -> NewKey:
    """Exchange a ticket for a key that is valid for 12 hours, or as long as its maker's."""
    found = request.app[TICKETS].use(headers.ticket)
    if found is None:
        await request.app[LOAD].refusals.turn()
        raise UnauthorizedError(
            "the ticket is invalid, was used or is too old", remedy="run `waguard page` again"
        )
    request[CALLER], wanted = found  # the audit log names who had it made
    return await keys.made(request, wanted)
