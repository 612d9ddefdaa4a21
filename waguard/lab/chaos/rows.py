"""Whether the rows tell the truth, looked at again and again while a campaign goes on."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from waguard.errors import WaguardError
from waguard.lab.application.hooks import Written
from waguard.lab.chaos.books import Span
from waguard.lab.chaos.world import World

LOOK: Final = 0.2  # s between two looks
BLIND: Final = 1.0  # s between two looks after which nobody knows what was between them


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One moment, in unix time. ``rows`` and ``told``: the status by session, in the database and by the API."""

    at: float
    rows: Mapping[str, str]
    told: Mapping[str, str]


def wrong(looks: Iterable[Look], own: Sequence[Written]) -> list[Span]:
    """Each time in which a row did not say what the API said, however they changed meanwhile.

    ``own``: what the application's queue wrote.
    """
    return list(_wrong(looks, own))


def _wrong(looks: Iterable[Look], own: Sequence[Written]) -> Iterator[Span]:
    since: dict[str, Look] = {}
    before: Look | None = None
    for look in looks:
        if before and look.at - before.at > BLIND:
            since.clear()
        for session in look.rows.keys() & look.told.keys():
            first = since.get(session)
            is_wrong = look.rows[session] != look.told[session]
            # another wrong: the application has written into the row since then
            is_another = first and look.rows[session] != first.rows[session]
            if first and (not is_wrong or (is_another and _wrote(look, session, own))):
                yield _span(session, first, look.at, own)
                del since[session]
            if is_wrong:
                since.setdefault(session, look)
        before = look
    if before:
        for session, first in since.items():
            yield _span(session, first, before.at, own)


def _span(session: str, first: Look, end: float, own: Sequence[Written]) -> Span:
    return Span(
        session=session,
        row=first.rows[session],
        told=first.told[session],
        began=first.at,
        seconds=end - first.at,
        own=_wrote(first, session, own),
    )


def _wrote(look: Look, session: str, own: Sequence[Written]) -> bool:
    """Whether the application's queue has just written what is seen."""
    seen = (session, look.rows[session])
    return any((o.session, o.status) == seen and look.at - BLIND <= o.at <= look.at for o in own)


@dataclass
class Watch:
    """Looks until it is cancelled. ``paused``: the database cannot be written, whoever wants to."""

    world: World
    paused: bool = False
    _looks: list[Look] = field(default_factory=list)

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(LOOK)
            if not self.paused:
                await self._look()

    async def _look(self) -> None:
        try:
            await self.world.call("GET", "/health/ready")  # until then it knows of no session
            before = await self.world.rows()
            told = (await self.world.call("GET", "/api/sessions"))["sessions"]
            after = await self.world.rows()
        except WaguardError:
            return
        if before is None or after is None:
            return
        same = {
            session: status for session, status in after.items() if before.get(session) == status
        }
        self._looks.append(
            Look(
                at=time.time(),
                rows=same,
                told={one["session_id"]: one["status"] for one in told},
            )
        )

    def spans(self) -> list[Span]:
        """What was wrong so far."""
        return wrong(self._looks, self.world.app.hooks.written)
