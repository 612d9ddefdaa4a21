"""Messages under their several ids, which follow from those of their people. Pure.

A message is identified by its direction, its person or group, the stem of its id, and in a group by its
author: never by the stem alone, which its sender chooses.
"""

import itertools
import re
from typing import Final

from msgspec import Struct

from waguard.core.messages.people import LID, People
from waguard.core.replace import replace

GROUP: Final = "@g.us"
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
