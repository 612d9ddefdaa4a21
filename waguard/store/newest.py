"""The newest row of the inbox, by which a database is known that was put back to an older state of itself.

The epoch of the lease does not show it: a copy may have the same one. Rows of the inbox are deleted for their age alone, so a
row that was seen and is gone, or is another one now, was never written in this state of the database.
"""

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.store.models import INBOX

_OWN = INBOX.c
_KEPT: Final = 82_800.0  # s; no ``retention.inbox_days`` is below a day, and clocks differ


class NewestRow:
    """As it was seen last; ``tidied_before``: what was stored before then (unix time) may be gone for its age."""

    def __init__(self) -> None:
        self._seen: tuple[int, float] | None = None
        self.tidied_before = float("-inf")

    def may_be_tidied_elsewhere(self, now: float) -> None:
        """Count on rows alone that no other host may have deleted for their age, whatever its configuration says."""
        self.tidied_before = max(self.tidied_before, now - _KEPT)

    async def is_gone(self, connection: AsyncConnection) -> bool:
        """Whether the row that was seen last is not there any more; from now on the newest one counts."""
        before = self._seen  # kept until it is known: a question without an answer is asked again
        newest = select(_OWN.id, _OWN.stored_at).order_by(_OWN.id.desc()).limit(1)
        row = (await connection.execute(newest)).first()
        now = None if row is None else (row.id, row.stored_at)
        gone = False
        if before is not None and before != now and before[1] >= self.tidied_before:
            same = select(_OWN.stored_at).where(_OWN.id == before[0])
            gone = await connection.scalar(same) != before[1]
        self._seen = now
        return gone
