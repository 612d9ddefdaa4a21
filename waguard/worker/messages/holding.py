"""What comes while older messages of its chat are read back waits for them, and not forever."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from waguard.wire.events import Incoming

LIMIT: Final = 60.0  # s that the first one of a chat waits


class Holding:
    """``go`` gets what need not wait any more; ``overdue`` is called with a chat that waited too long."""

    def __init__(self, go: Callable[[str, Incoming], None], overdue: Callable[[str], None]) -> None:
        self._go = go
        self._overdue = overdue
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
        for chat in [chat for chat in self._held if chat not in self._chats]:
            self._let_go(chat)

    def release(self, chat: str) -> None:
        """Release a chat: it waits for nothing any more."""
        if self._all:
            self._chats.add(chat)
        else:
            self._chats.discard(chat)
        self._let_go(chat)

    def handle(self, key: str, item: Incoming) -> None:
        """Pass it on, or keep it until its chat is released; the same key is one."""
        if (item.chat in self._chats) is self._all:
            self._go(key, item)
            return
        self._held.setdefault(item.chat, {}).setdefault(key, item)
        if item.chat not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[item.chat] = loop.call_later(LIMIT, self._on_limit, item.chat)

    def find(self, chat: str, key: str) -> Incoming | None:
        """What waits under this key."""
        return self._held.get(chat, {}).get(key)

    def _let_go(self, chat: str) -> None:
        if timer := self._timers.pop(chat, None):
            timer.cancel()
        for key, item in self._held.pop(chat, {}).items():
            self._go(key, item)

    def _on_limit(self, chat: str) -> None:
        self._overdue(chat)
        self.release(chat)
