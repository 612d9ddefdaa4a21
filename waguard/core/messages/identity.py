"""People and messages under their several ids. Pure.

A person has a phone number (``…@c.us``) and any number of LIDs (``…@lid``), WhatsApp's private ids.
Either may be unknown, and a chat or an author may appear under one today and under the other tomorrow. A
message is identified by its direction, its person or group, the stem of its id, and in a group by its
author: never by the stem alone, which its sender chooses.
"""

import itertools
import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from waguard.core.replace import replace

LID: Final = "@lid"
NUMBER: Final = "@c.us"
GROUP: Final = "@g.us"
YES_FOR: Final = 30 * 86_400.0  # s
NO_FOR: Final = 86_400.0  # s; a number without WhatsApp may have it a day later
# a stem may contain anything; an author is the last part, and is an address
_KEY: Final = re.compile(r"(true|false)_([^_]+)_(.+?)(?:_([^_]+@[a-z.]+))?", re.DOTALL)


class MessageKey(Struct, frozen=True, kw_only=True):
    """WhatsApp's id of a message in its parts: ``true_<chat>_<stem>_<author>``, true for our own."""

    from_me: bool
    chat: str
    stem: str
    author: str | None = None

    def __str__(self) -> str:
        parts = ("true" if self.from_me else "false", self.chat, self.stem, self.author)
        return "_".join(part for part in parts if part is not None)


def parse(message_id: str) -> MessageKey | None:
    """The parts of a message's id; None: it is not an id of a message."""
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


def canonical(key: MessageKey, people: People) -> MessageKey:
    """The id with numbers for LIDs, as far as they are known, and without the author of our own messages."""
    author = None if key.from_me or key.author is None else people.number(key.author)
    return replace(key, chat=people.number(key.chat), author=author)


def message_aliases(message_id: str, people: People) -> tuple[str, ...]:
    """All ids that this message may have or may have had; the canonical one first."""
    key = parse(message_id)
    if key is None:
        return (message_id,)
    chats = people.aliases(key.chat)
    if key.author is None and chats == (key.chat,):
        return (message_id,)
    authors: list[str | None] = list(people.aliases(key.author)) if key.author else [None]
    written = itertools.product(chats, [None, *authors] if key.from_me else authors)
    named = (str(replace(key, chat=chat, author=author)) for chat, author in written)
    return tuple(dict.fromkeys((str(canonical(key, people)), *named, message_id)))


def is_unidentified(chat: str, people: People) -> bool:
    """Whether the chat is with a person whose number is unknown."""
    return people.number(chat).endswith(LID)
