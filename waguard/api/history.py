"""/api/history: what the fleet and each session were like over time."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from waguard.api import fields
from waguard.api.deps import DEPS
from waguard.api.fields import Kind, Moment, SessionId
from waguard.api.route import Done, route
from waguard.core.history import DAY, FLEET, SESSION, Layout, Ring
from waguard.core.keys import Right
from waguard.errors import UnavailableError
from waguard.host.small_file import UnreadableError

Places = Callable[[Layout, float], tuple[Ring, Sequence[int | None]]]
"""Which ring, and which of its columns; None: it has no such one yet."""
_ANY: Final = "|".join(FLEET)
_DIGITS: Final = ".7g"  # that a float of 4 bytes has


def _series(value: str, field: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(value.split(",")))
    if not set(found) <= set(FLEET):
        raise fields.bad(field, value, "no such series", ", ".join(FLEET))
    return found


class WantedSpan(Struct, kw_only=True):
    """The time that is asked for, from then on; without it the last day."""

    since: Moment | None = None


class WantedSeries(WantedSpan, kw_only=True):
    """Series each minute of the last day; of more than that means over ten minutes, 30 days in all."""

    series: (
        Annotated[
            tuple[str, ...],
            Kind(_series, blank=True),
            Meta(
                description="names with commas between them; all without it",
                extra_json_schema={
                    fields.TYPES: "string",
                    "pattern": f"^$|^({_ANY})(,({_ANY}))*$",
                },
            ),
        ]
        | None
    ) = None


class History(Done, kw_only=True):
    """Values of spans of ``step`` seconds; the first one begins at ``at`` (unix time). null: it is not known."""

    at: int
    step: int
    series: dict[str, list[float | None]]


@route(Right.READ)
async def fleet(request: web.Request, query: WantedSeries) -> History:
    """Series of the fleet over the last day, or up to 30 days."""

    def places(layout: Layout, now: float) -> tuple[Ring, Sequence[int | None]]:
        recent = query.since is None or query.since > now - DAY - layout.minutes.step
        known = {name: at for at, name in enumerate(layout.fleet)}
        return layout.minutes if recent else layout.means, [known.get(it) for it in wanted]

    wanted = query.series or FLEET
    return await _read(request, query.since, wanted, places)


@route(Right.READ)
async def of_session(request: web.Request, session_id: SessionId, query: WantedSpan) -> History:
    """Memory in bytes, and CPU in percent of a core, of a session over the last day."""
    await request.app[DEPS].sessions.view(session_id)

    def places(layout: Layout, _: float) -> tuple[Ring, Sequence[int | None]]:
        known = session_id in layout.sessions
        first = len(SESSION) * layout.sessions.index(session_id) if known else None
        columns = [None if first is None else first + at for at in range(len(SESSION))]
        return layout.of_sessions, columns

    return await _read(request, query.since, SESSION, places)


async def _read(
    request: web.Request,
    since: float | None,
    wanted: Sequence[str],
    places: Places,
) -> History:
    now = time.time()

    def read() -> History:
        layout, content = request.app[DEPS].history.read()
        ring, columns = places(layout, now)
        last = ring.span(now)
        first = min(
            last, max(ring.span(now - DAY if since is None else since), last - ring.slots + 1)
        )
        rows = [ring.values(content, span) for span in range(first, last + 1)]
        series = {
            name: [None if row is None or column is None else _shown(row[column]) for row in rows]
            for name, column in zip(wanted, columns, strict=True)
        }
        return History(at=first * ring.step, step=ring.step, series=series)

    try:
        return await asyncio.to_thread(read)
    except UnreadableError as error:
        raise UnavailableError(
            f"the history cannot be read: {error}", remedy="see the log", retry_after=60
        ) from None


def _shown(value: float) -> float | None:
    return None if math.isnan(value) else float(format(value, _DIGITS))
