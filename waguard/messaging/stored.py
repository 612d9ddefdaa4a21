"""Whether the receiver has stored a message, while that can be looked up; where it cannot, a condition."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, TypeVar

from waguard.core import conditions
from waguard.core.blame import Condition
from waguard.core.webhooks.stored import (
    Message,
    Pace,
    Presence,
    StoredKey,
    Switch,
    Unknown,
    checked,
    parse,
)
from waguard.ports.clock import Clock
from waguard.ports.stored import StoredTable

T = TypeVar("T")
PACE: Final = Pace()
_UNSET: Final = Unknown("webhook.stored is not set")
_UNUSABLE: Final = Unknown("the database is not in use yet, or not any more", passes=True)


class StoredMessages:
    """``key`` is ``webhook.stored``, read at each use: a reload reaches it. ``check`` is called each
    second or so; it asks the database at ``PACE``."""

    def __init__(
        self,
        table: StoredTable,
        key: Callable[[], str | None],
        clock: Clock,
    ) -> None:
        self._table = table
        self._key_now = key
        self._clock = clock
        self._key: StoredKey | None = None
        self._switch = Switch()
        self._checking = asyncio.Lock()

    @property
    def why_not(self) -> Unknown | None:
        """Why nothing is looked up now; None: it is, or nothing is known yet."""
        if self._renewed() is None:
            return _UNSET
        if not self._table.usable:
            return _UNUSABLE
        return self._switch.off if self._switch.since is not None else None

    @property
    def is_away(self) -> bool:
        """Whether nothing is looked up now, and that passes: the database is away, or did not answer in time."""
        why = self.why_not
        return why is not None and why.passes

    async def received(self, messages: Collection[Message]) -> Mapping[Message, Presence] | Unknown:
        """Which of them the receiver has stored. Unknown: a 2xx means delivered, as without the key."""
        return await self._find(lambda key: self._table.received(key, messages))

    async def sent(self, message_ids: Collection[str]) -> Mapping[str, Presence] | Unknown:
        """As ``received``, for what was sent."""
        return await self._find(lambda key: self._table.sent(key, message_ids))

    async def check(self) -> None:
        """See whether it works, where that is due."""
        async with self._checking:
            key, now = self._renewed(), self._clock.monotonic()
            if key is not None and self._table.usable and now >= self._switch.next_check:
                self._learn(key, await self._table.check(key))

    def conditions(self) -> list[Condition]:
        """As it is now; without I/O."""
        key, switch = self._renewed(), self._switch
        if key is None or switch.off is None or switch.since is None:
            return []
        since = self._clock.wall() - (self._clock.monotonic() - switch.since)
        off = switch.off
        return [conditions.stored_unknown(off.reason, passes=off.passes, since=since)]

    async def _find(self, ask: Callable[[StoredKey], Awaitable[T | Unknown]]) -> T | Unknown:
        if self.why_not is None and self._switch.off is not None:
            await self.check()  # the first one: nothing is known yet
        key, why = self._renewed(), self.why_not
        if key is None or why is not None:
            return why or _UNSET
        found = await ask(key)
        if isinstance(found, Unknown):
            self._learn(key, found)
        return found

    def _learn(self, key: StoredKey, why: Unknown | None) -> None:
        if key == self._renewed():  # else it was about the key before a reload
            self._switch = checked(PACE, self._switch, why, now=self._clock.monotonic())

    def _renewed(self) -> StoredKey | None:
        """The key; where it is another one than before nothing is known of it."""
        text = self._key_now()
        if text != (str(self._key) if self._key else None):
            self._key, self._switch = parse(text) if text else None, Switch()
        return self._key
