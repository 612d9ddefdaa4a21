"""The people of a session: their numbers and LIDs, and which numbers have WhatsApp. Pure.

A person has a phone number (``…@c.us``) and any number of LIDs (``…@lid``), WhatsApp's private ids.
Either may be unknown, and a chat or an author may appear under one today and under the other tomorrow.
"""

from collections.abc import Iterable
from typing import Final

LID: Final = "@lid"
NUMBER: Final = "@c.us"
YES_FOR: Final = 30 * 86_400.0  # s
NO_FOR: Final = 86_400.0  # s; a number without WhatsApp may have it a day later


class People:
    """The numbers and LIDs of one session. A LID's newest number counts, and no LID is forgotten."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        """``pairs`` of a LID and its number, oldest first."""
        self._exists: dict[str, tuple[bool, float]] = {}
        self._number: dict[str, str] = {}
        self._lids: dict[str, dict[str, None]] = {}
        for lid, number in pairs:
            self.learn(lid, number)

    def learn(self, lid: str, number: str) -> bool:
        """Record a LID's number; whether that was unknown."""
        if self._number.get(lid) == number or not (lid.endswith(LID) and number.endswith(NUMBER)):
            return False
        self._number[lid] = number
        known = self._lids.setdefault(number, {})
        known.pop(lid, None)
        known[lid] = None
        return True

    def record(self, number: str, *, exists: bool, at: float) -> None:
        """Record WhatsApp's answer at ``at`` (unix time): whether this number has WhatsApp."""
        self._exists[number] = (exists, at)

    def exists(self, wid: str, now: float) -> bool | None:
        """Whether the number has WhatsApp, by an answer that is recent enough; None: ask WhatsApp again."""
        if self.lids(wid):
            return True
        exists, at = self._exists.get(wid, (False, float("-inf")))
        return exists if now - at < (YES_FOR if exists else NO_FOR) else None

    def number(self, wid: str) -> str:
        """The number of a LID; ``wid`` itself where it is not a LID, or its number is unknown."""
        return self._number.get(wid, wid)

    def lids(self, wid: str) -> tuple[str, ...]:
        """Every LID that this person ever had, the newest first."""
        return tuple(reversed(self._lids.get(self.number(wid), {})))

    def aliases(self, wid: str) -> tuple[str, ...]:
        """The ids of this person now: the number first, then LIDs, the newest first."""
        number = self.number(wid)
        lids = [lid for lid in self.lids(number) if self._number[lid] == number]
        return tuple(dict.fromkeys((number, *lids)))

    def others(self, wids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The other ids of these people now; a person with a single id is left out."""
        found = {wid: tuple(one for one in self.aliases(wid) if one != wid) for wid in wids}
        return {wid: some for wid, some in found.items() if some}
