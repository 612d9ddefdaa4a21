"""/api/timeline: what happened, and who changed what, in one list: of a session, or of all."""

from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields, rights
from waguard.api.deps import DEPS
from waguard.api.fields import Kind, Number, SessionId
from waguard.api.rights import Narrowing
from waguard.api.route import Done, route
from waguard.core.incidents import timeline
from waguard.core.incidents.changes import CHANGE
from waguard.core.keys import Right
from waguard.ports.store import AuditEntry

LISTED: Final = 100
LISTED_AT_MOST: Final = 500
Limit = Annotated[int, Kind(fields.integer(1, LISTED_AT_MOST)), Meta(ge=1, le=LISTED_AT_MOST)]


class WantedEntries(Struct, kw_only=True):
    """Entries of a session, or of all; ``before``: the next page."""

    session_id: SessionId | None = None
    before: Number | None = None
    limit: Limit = LISTED


class TimelineEntry(Struct, kw_only=True):
    """What happened, in words; ``session_id`` null: to all sessions at once.

    ``by`` and ``outcome`` (done, refused, failed, unknown) are of a change that somebody asked for.
    """

    number: int
    at: str
    session_id: str | None
    kind: str
    text: str
    by: str | None
    outcome: str | None


class Timeline(Done, kw_only=True):
    """Entries, the newest first; ``before`` asks for the next page."""

    entries: list[TimelineEntry]
    before: int | None


@route(Right.READ, narrows=Narrowing.LIST)
async def listing(request: web.Request, query: WantedEntries) -> Timeline:
    """What happened, and who changed what, the newest first; sends are not among it.

    Of a purged session, too, as long as its audit log is kept.
    """
    found = await request.app[DEPS].store.timeline(
        [query.session_id] if query.session_id else await rights.sessions_seen(request),
        before=query.before,
        limit=query.limit,
    )
    return Timeline(
        entries=[_shown(number, it) for number, it in found],
        before=found[-1][0] if len(found) == query.limit else None,
    )


def _shown(number: int, it: AuditEntry) -> TimelineEntry:
    asked: dict[str, Any] = {"by": it.reason, "outcome": it.after} if it.kind == CHANGE else {}
    return TimelineEntry(
        number=number,
        at=fields.iso(it.at or 0.0),
        session_id=it.session_id,
        kind=it.kind,
        text=timeline.text(it),
        **{"by": None, "outcome": None} | asked,
    )
