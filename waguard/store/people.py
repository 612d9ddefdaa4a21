"""Whose LIDs the sessions know: in memory what the table says, and what a transaction adds to it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.people import People
from waguard.store.models import NUMBERS, PEOPLE
from waguard.store.types import storable

Pair = tuple[str, str, str]
"""A session, a LID and its number."""

_LENGTH: Final = 128  # characters of a column


class Acquaintances:
    """Each session's is read once. What a transaction learned is true only after its commit: one
    that fails has to be followed by ``forget``."""

    def __init__(self) -> None:
        self._known: dict[str, People] = {}

    async def of(self, connection: AsyncConnection, session_id: str) -> People:
        """Those of one session."""
        return (await self.of_all(connection, (session_id,)))[session_id]

    async def of_all(
        self, connection: AsyncConnection, sessions: Collection[str]
    ) -> dict[str, People]:
        """Those of each session."""
        # at once: a session may be forgotten, as another host's, while others are read
        known = {it: self._known[it] for it in sessions if it in self._known}
        if unread := [it for it in sessions if it not in known]:
            own = PEOPLE.c
            query = select(own.session_id, own.lid, own.number)
            query = query.where(own.session_id.in_(unread)).order_by(own.session_id, own.id)
            pairs = defaultdict[str, list[tuple[str, str]]](list)
            for row in await connection.execute(query):
                pairs[row.session_id].append((row.lid, row.number))
            found = {session_id: People(pairs[session_id]) for session_id in unread}
            asked = select(NUMBERS).where(NUMBERS.c.session_id.in_(unread))
            for row in await connection.execute(asked):
                found[row.session_id].record(row.number, exists=row.known, at=row.asked_at)
            self._known |= found
            known |= found
        return known

    def read(self, session_id: str) -> People | None:
        """Whose LIDs are known without a look into the database; None: that takes one."""
        return self._known.get(session_id)

    async def learn(
        self, connection: AsyncConnection, received: Sequence[InboxRecord], now: float
    ) -> list[Pair]:
        """Keep what is new of whose LIDs they are; what that was, oldest first."""
        news: list[Pair] = []
        for one in received:
            known = await self.of(connection, one.session_id)
            for number, exists in one.asked:
                await _record(connection, one, number, exists=exists)
                known.record(number, exists=exists, at=one.at)
            for pair in one.pairs:
                fits = all(len(wid) <= _LENGTH and wid == storable(wid) for wid in pair)
                if fits and known.learn(*pair):
                    news.append((one.session_id, *pair))
        rows = [
            {"session_id": session_id, "lid": lid, "number": number, "learned_at": now}
            for session_id, lid, number in news
        ]
        if rows:
            await connection.execute(insert(PEOPLE), rows)
        return news

    def forget(self, sessions: Iterable[str]) -> None:
        """Read them again: what was learned may not have been kept."""
        for session_id in sessions:
            self._known.pop(session_id, None)

    def forget_all(self) -> None:
        """Read those of all sessions again."""
        self._known.clear()


async def _record(
    connection: AsyncConnection, one: InboxRecord, number: str, *, exists: bool
) -> None:
    own = NUMBERS.c
    said = {"known": exists, "asked_at": one.at}
    same = (own.session_id == one.session_id) & (own.number == storable(number))
    if not (await connection.execute(update(NUMBERS).where(same).values(said))).rowcount:
        row = {"session_id": one.session_id, "number": storable(number)} | said
        await connection.execute(insert(NUMBERS).values(row))
