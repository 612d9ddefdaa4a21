"""What comes while older messages of its chat are read back waits for them, and not forever."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from waguard.core.messages.content import POLL_VOTE
from waguard.core.messages.people import People
from waguard.wire.events import InboundMessage, Incoming

LIMIT: Final = 60.0  # s that the first one of a chat waits


class Holding:
    """``go`` gets what need not wait any more; ``overdue`` is called with a chat that waited too long. A chat is the same
    under each of its ids that ``people`` knows."""

    def __init__(
        self,
        go: Callable[[str, Incoming], None],
        overdue: Callable[[str], None],
        people: People,
    ) -> None:
        self._go = go
        self._overdue = overdue
        self._people = people
        self._all = False
        """Whether all chats wait: it is not known yet of which something was missed; ``_chats`` do not wait for it."""
        self._chats: set[str] = set()
        self._held: dict[str, dict[str, Incoming]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def hold(self) -> None:
        """All chats, until it is known which have to wait."""
        self._all, self._chats = True, set()

    def hold_only(self, chats: Iterable[str]) -> None:
        """These; what waits in others goes."""
        self._all, self._chats = False, set(chats)
        for chat in [chat for chat in self._held if not self._named(chat)]:
            self._let_go(chat)

    def release(self, chat: str) -> None:
        """Release a chat: it waits for nothing any more."""
        ids = self._people.aliases(chat)
        if self._all:
            self._chats.add(chat)
        else:
            self._chats.difference_update(ids)
        for held in [one for one in self._held if one in ids]:
            self._let_go(held)

    def handle(self, key: str, item: Incoming) -> None:
        """Pass it on, or keep it until its chat is released; the same key is one."""
        if self._named(item.chat) is self._all:
            self._go(key, item)
            return
        self._held.setdefault(item.chat, {}).setdefault(key, item)
        if item.chat not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[item.chat] = loop.call_later(LIMIT, self._on_limit, item.chat)

    def find(self, chat: str, key: str) -> Incoming | None:
        """What waits under this key."""
        held = (self._held.get(one, {}) for one in self._people.aliases(chat))
        return next((some[key] for some in held if key in some), None)

    def drain(self) -> None:
        """Pass on what no backfill brings. Messages stay: they would be newer than those that are still to be read back."""
        for held in self._held.values():
            for key in [key for key, item in held.items() if not _is_read_back(item)]:
                self._go(key, held.pop(key))

    def _named(self, chat: str) -> bool:
        """Whether it is one of ``_chats``, under whichever id."""
        return not self._chats.isdisjoint(self._people.aliases(chat))

    def _let_go(self, chat: str) -> None:
        if timer := self._timers.pop(chat, None):
            timer.cancel()
        for key, item in self._held.pop(chat, {}).items():
            self._go(key, item)

    def _on_limit(self, chat: str) -> None:
        self._overdue(chat)
        self.release(chat)


def _is_read_back(item: Incoming) -> bool:
    return isinstance(item, InboundMessage) and item.kind != POLL_VOTE
