"""Who is who. Pure: it reads and writes nothing by itself.

A person has a phone number (``…@c.us``) and any number of LIDs (``…@lid``), WhatsApp's private ones;
either may be unknown, and a chat or an author may appear under one today and the other tomorrow. A
message is told by its direction, its person or group, the stem of its id, and in a group by who wrote
it: never by the stem alone, which its sender chooses.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

LID: Final = "@lid"
NUMBER: Final = "@c.us"
GROUP: Final = "@g.us"
YES_FOR: Final = 30 * 86_400.0  # s
NO_FOR: Final = 86_400.0  # s; whoever had no WhatsApp yesterday may have it today
# in a stem there may be anything; an author is the last part, and an address
_KEY: Final = re.compile(r"(true|false)_([^_]+)_(.+?)(?:_([^_]+@[a-z.]+))?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageKey:
    """WhatsApp's id of a message in its parts: ``true_<chat>_<stem>_<author>``, true for our own."""

    from_me: bool
    chat: str
    stem: str
    author: str | None = None

    def __str__(self) -> str:
        parts = ("true" if self.from_me else "false", self.chat, self.stem, self.author)
        return "_".join(part for part in parts if part is not None)


def parse(message_id: str) -> MessageKey | None:
    """None: it is no id of a message."""
    found = _KEY.fullmatch(message_id)
    if found is None:
        return None
    from_me, chat, stem, author = found.groups()
    return MessageKey(from_me=from_me == "true", chat=chat, stem=stem, author=author)


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
        """Whether that is news."""
        if self._number.get(lid) == number or not (lid.endswith(LID) and number.endswith(NUMBER)):
            return False
        self._number[lid] = number
        known = self._lids.setdefault(number, {})
        known.pop(lid, None)
        known[lid] = None
        return True

    def record(self, number: str, *, exists: bool, at: float) -> None:
        """WhatsApp was asked then (unix time) whether it knows this number."""
        self._exists[number] = (exists, at)

    def exists(self, wid: str, now: float) -> bool | None:
        """Whether WhatsApp knows it, as far as it needs not be asked again; None: it does."""
        if self.lids(wid):
            return True
        exists, at = self._exists.get(wid, (False, float("-inf")))
        return exists if now - at < (YES_FOR if exists else NO_FOR) else None

    def number(self, wid: str) -> str:
        """The number of a LID; ``wid`` itself where it is none, or its number is not known."""
        return self._number.get(wid, wid)

    def lids(self, wid: str) -> tuple[str, ...]:
        """Every LID that this person was ever known by, the newest first."""
        return tuple(reversed(self._lids.get(self.number(wid), {})))

    def aliases(self, wid: str) -> tuple[str, ...]:
        """By what this person is known now: the number first, then LIDs, the newest first."""
        number = self.number(wid)
        lids = [lid for lid in self.lids(number) if self._number[lid] == number]
        return tuple(dict.fromkeys((number, *lids)))

    def others(self, wids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """By what else these people are known now; whoever is known by one id only is left out."""
        found = {wid: tuple(one for one in self.aliases(wid) if one != wid) for wid in wids}
        return {wid: some for wid, some in found.items() if some}


def canonical(key: MessageKey, people: People) -> MessageKey:
    """The id with numbers in it, as far as they are known. Of our own nobody needs to be told who
    wrote it."""
    author = None if key.from_me or key.author is None else people.number(key.author)
    return replace(key, chat=people.number(key.chat), author=author)


def message_aliases(message_id: str, people: People) -> tuple[str, ...]:
    """All ids that this message may have, or have had; the canonical one first."""
    key = parse(message_id)
    if key is None:
        return (message_id,)
    authors: list[str | None] = list(people.aliases(key.author)) if key.author else [None]
    chats = people.aliases(key.chat)
    written = itertools.product(chats, [None, *authors] if key.from_me else authors)
    named = (str(replace(key, chat=chat, author=author)) for chat, author in written)
    return tuple(dict.fromkeys((str(canonical(key, people)), *named, message_id)))


def is_unidentified(chat: str, people: People) -> bool:
    """Whether it is somebody's whose number is not known."""
    return people.number(chat).endswith(LID)
