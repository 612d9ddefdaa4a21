"""Whether the rows are correct, checked at intervals during a campaign."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from waguard.errors import WaguardError
from waguard.lab.application.records import Written
from waguard.lab.chaos.message_check import INTERVAL, Span
from waguard.lab.chaos.world import World

BLIND: Final = 1.0  # s between two observations after which nobody knows what was between them


class Observation(Struct, frozen=True, kw_only=True):
    """One moment, in unix time. ``rows`` and ``reported``: the status by session, in the database and by the API."""

    at: float
    rows: Mapping[str, str]
    reported: Mapping[str, str]


def wrong(observations: Iterable[Observation], own: Sequence[Written]) -> list[Span]:
    """Each time in which a row did not say what the API said, however they changed meanwhile.

    ``own``: what the application's queue wrote.
    """
    return list(_wrong(observations, own))


def _wrong(observations: Iterable[Observation], own: Sequence[Written]) -> Iterator[Span]:
    since: dict[str, Observation] = {}
    seen: dict[str, int] = {}
    before: Observation | None = None
    for observation in observations:
        if before and observation.at - before.at > BLIND:
            since.clear()
            seen.clear()
        for session in observation.rows.keys() & observation.reported.keys():
            first = since.get(session)
            is_wrong = observation.rows[session] != observation.reported[session]
            # another wrong: the application has written into the row since then
            is_another = first and observation.rows[session] != first.rows[session]
            if first and (not is_wrong or (is_another and _wrote(observation, session, own))):
                yield _span(session, first, observation.at, seen.pop(session), own)
                del since[session]
            if is_wrong:
                since.setdefault(session, observation)
                seen[session] = seen.get(session, 0) + 1
        before = observation
    if before:
        for session, first in since.items():
            yield _span(session, first, before.at, seen[session], own)


def _span(session: str, first: Observation, end: float, seen: int, own: Sequence[Written]) -> Span:
    return Span(
        session=session,
        row=first.rows[session],
        reported=first.reported[session],
        began=first.at,
        seconds=end - first.at,
        seen=seen,
        own=_wrote(first, session, own),
    )


def _wrote(observation: Observation, session: str, own: Sequence[Written]) -> bool:
    """Whether the application's queue has just written what is seen."""
    seen = (session, observation.rows[session])
    return any(
        (o.session, o.status) == seen and observation.at - BLIND <= o.at <= observation.at
        for o in own
    )


class Watch(Struct):
    """Observes until it is cancelled. ``paused``: the database cannot be written, whoever wants to."""

    world: World
    paused: bool = False
    _observations: list[Observation] = field(default_factory=list)

    async def run(self) -> None:
        """Forever."""
        while True:
            await asyncio.sleep(INTERVAL)
            if not self.paused:
                await self._observe()

    async def _observe(self) -> None:
        try:
            await self.world.call("GET", "/health/ready")  # until then it knows of no session
            before = await self.world.rows()
            reported = (await self.world.call("GET", "/api/sessions"))["sessions"]
            after = await self.world.rows()
        except WaguardError:
            return
        if before is None or after is None:
            return
        same = {
            session: status for session, status in after.items() if before.get(session) == status
        }
        self._observations.append(
            Observation(
                at=time.time(),
                rows=same,
                reported={one["session_id"]: one["status"] for one in reported},
            )
        )

    def spans(self) -> list[Span]:
        """What was wrong so far."""
        return wrong(self._observations, self.world.app.records.written)
