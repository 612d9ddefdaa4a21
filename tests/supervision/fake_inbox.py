"""An inbox that stores when a test lets it."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.messages.people import People
from waguard.core.messages.send_states import State
from waguard.core.messages.undecryptable import Waiting
from waguard.errors import WaguardError
from waguard.messaging.announcer import Announcer, Publish
from waguard.ports.inbox import Stored as StoredCall


class FakeInbox:
    """``ports.inbox.Inbox``: stores at once, each key once. While ``free`` is clear, nothing is stored."""

    def __init__(self, publish: Publish, wall: Callable[[], float]) -> None:
        self._announcer = Announcer(publish)
        self._wall = wall
        self.kept: dict[tuple[str, str], InboxRecord] = {}
        self.free = asyncio.Event()
        self.free.set()
        self.full = False
        self.waits = 0
        self.empty = asyncio.Event()
        self.empty.set()
        self.waiting: list[tuple[Sequence[InboxRecord], StoredCall]] = []
        self.named: Callable[[InboxRecord], InboxRecord] = lambda one: one
        """As the application is told of it."""
        self.error: WaguardError | None = None
        self.asked: list[str] = []
        self.undecrypted: dict[tuple[str, str], Waiting] = {}
        """What is remembered, by session and id."""
        self.sends: dict[str, State] = {}
        """Those that nobody is known to have read, by id."""
        self.given_up: list[tuple[str, str]] = []
        """Ids, and why."""

    def put(
        self, received: Sequence[InboxRecord], stored: StoredCall, *, after: str | None = None
    ) -> None:
        self.waiting.append((received, stored))
        if self.free.is_set():
            self.store()

    async def flushed(self, timeout: float) -> bool:
        self.waits += 1
        await self.empty.wait()
        return True

    async def people(self, session_id: str) -> People:
        """Nobody has a LID."""
        return People()

    async def unread(self, session_id: str, *, after: float) -> Mapping[str, State]:
        """What a test says, whoever asks."""
        return self.sends

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        """Of what is kept."""
        newest: dict[str, float] = {}
        for one in self.kept.values():
            if one.session_id == session_id and one.chat and one.at >= after:
                newest[one.chat] = max(newest.get(one.chat, 0.0), one.at)
        return newest

    async def undecryptable(self, session_id: str, *, limit: int) -> tuple[list[Waiting], int]:
        self.asked.append(session_id)
        if self.error:
            raise self.error
        mine = [one for (name, _), one in self.undecrypted.items() if name == session_id]
        return sorted(mine, key=lambda one: one.since)[:limit], len(mine)

    async def no_messages(self, session_id: str, message_ids: Collection[str]) -> None:
        for message_id in message_ids:
            del self.undecrypted[session_id, message_id]

    async def give_up(
        self,
        why: str,
        *,
        session_id: str | None = None,
        before: float | None = None,
        message_ids: Collection[str] | None = None,
        limit: int,
    ) -> list[tuple[str, str]]:
        chosen = [
            (name, one)
            for (name, _), one in sorted(self.undecrypted.items(), key=lambda it: it[1].since)
            if session_id in {None, name} and (before is None or one.since <= before)
            if message_ids is None or one.message_id in message_ids
        ][:limit]
        found = [(name, one.message_id) for name, one in chosen]
        for key in found:
            del self.undecrypted[key]
        self.given_up += [(message_id, why) for _, message_id in found]
        return found

    def store(self) -> None:
        """All that waits, in order."""
        while self.waiting:
            received, stored = self.waiting.pop(0)
            news = [self.named(one) for one in received if self._is_news(one)]
            self._announcer.stored(stored, news)

    def _is_news(self, one: InboxRecord) -> bool:
        keys = [(one.session_id, key) for key in (one.key, *one.unless)]
        if any(key in self.kept for key in keys):
            return False
        self.kept[keys[0]] = one
        if one.ref and one.kind is Kind.UNDECRYPTABLE:
            waiting = Waiting(message_id=one.ref[1], since=self._wall())
            self.undecrypted[one.session_id, one.ref[1]] = waiting
        elif one.ref:
            self.undecrypted.pop((one.session_id, one.ref[1]), None)
        return True
