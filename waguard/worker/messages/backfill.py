"""Messages that raised no event, read back from their chats.

Theory of operation. A chat's history can only be read from its newest message backwards, and is reported
oldest first: so the chat is walked back, page by page, of which only the places are kept, and then
read again from there. What was reported is stored, and moves the time from which the next attempt reads:
one that ends in the middle had its effect. No more than the daemon keeps up with is reported at a time.
A chat that cannot be read costs only itself, and is reported.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final

from loguru import logger

from waguard.core.messages.backfill import Read, anchor, due, to_backfill, with_owed
from waguard.core.messages.people import People
from waguard.core.messages.undecryptable import STATUSES
from waguard.errors import WaguardError
from waguard.wire.calls import CatchUp
from waguard.wire.events import BackfillGap
from waguard.worker.messages.inbound import Inbound
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_errors import PAGE_LOST
from waguard.worker.page.page_reports import ID_LIMIT
from waguard.worker.page.values import moment, word
from waguard.worker.timings import TIMINGS

AT_ONCE: Final = 4  # chats
FRESH_AT_ONCE: Final = 2  # the same, after a pairing
COUNT: Final = 50  # messages of a page
CHAT_LIMIT: Final = 20_000  # messages of a chat

Place = str | None
"""Before which message a page stands; None: it has the newest."""


class Backfill:
    """``gap`` is called with what cannot be read; ``room`` waits until more can be reported. ``pauses``: s, before
    what failed is tried again, of one chat in all; ``fresh_pause``: s, behind each chat after a pairing;
    ``chat_limit``: messages of a chat."""

    def __init__(
        self,
        inbound: Inbound,
        *,
        gap: Callable[[BackfillGap], None],
        room: Callable[[], Awaitable[None]],
        people: People | None = None,
        pauses: Sequence[float] = TIMINGS.backfill_pauses,
        fresh_pause: float = TIMINGS.fresh_pause,
        chat_limit: int = CHAT_LIMIT,
    ) -> None:
        self._people = people or People()
        self._pauses = pauses
        self._fresh_pause = fresh_pause
        self._chat_limit = chat_limit
        self._inbound = inbound
        self._gap = gap
        self._room = room
        self._lost: WaguardError | None = None
        """The page is gone; another page, or worker, reads what is left."""

    async def run(self, page: WhatsAppPage, asked: CatchUp, left_out: tuple[str, ...]) -> None:
        """Report all messages that arrived since, and then release what waits in each chat. ``asked.fresh``: but
        those of statuses.

        Raises ``WaguardError`` where not even the chats can be listed, or the page is lost.
        """
        # who reads them at once after a pairing was unlinked five minutes later (OpenWA#1040)
        unread = STATUSES if asked.fresh else None
        try:
            chats = await page.chats()
        except PAGE_LOST:
            raise
        except WaguardError as error:
            self._report("", asked.floor, f"the chats cannot be listed: {error.line()}")
            marks = with_owed(asked.since, self._inbound.owed, asked.floor, self._people)
            self._inbound.hold_none(marks, asked.floor, unread=unread)
            raise
        left_out = (*left_out, unread) if unread else left_out
        marks = with_owed(asked.since, self._inbound.owed, asked.floor, self._people)
        wanted = due(chats, marks, asked.floor, left_out)
        self._inbound.hold_only(wanted, unread=unread)
        if unnamed := sum(chat is None for chat, _ in chats):
            self._report("", asked.floor, f"{unnamed} chats have no id")
        places = asyncio.Semaphore(FRESH_AT_ONCE if asked.fresh else AT_ONCE)
        pause = self._fresh_pause if asked.fresh else 0.0

        async def read(chat: str, since: int) -> None:
            async with places:
                with self._inbound.repaid(chat) as owed:
                    since = with_owed({chat: since}, owed, asked.floor, self._people)[chat]
                    await self._backfill_chat(page, chat, since)
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as readers:
            for chat, since in wanted.items():
                readers.create_task(read(chat, since), name="read a chat")
        if self._lost:
            raise self._lost

    async def _backfill_chat(self, page: WhatsAppPage, chat: str, since: int) -> None:
        reader = _Reader(
            page,
            chat,
            since,
            report=lambda why: self._report(chat, since, why),
            pauses=self._pauses,
            limit=self._chat_limit,
        )
        async with contextlib.aclosing(reader.messages()) as messages:
            try:
                async for reported in messages:
                    await self._room()
                    await self._inbound.backfilled(reported, page)
            except PAGE_LOST as error:
                self._lost = error
                return
            except Exception as error:  # noqa: BLE001 - one odd chat must not cost the others
                logger.opt(exception=error).critical(
                    "a bug in waguard", event="bug", task="read a chat"
                )
                self._report(chat, since, f"a bug in waguard: {type(error).__name__}")
        self._inbound.release(chat)

    def _report(self, chat: str, since: int, why: str) -> None:
        logger.error(
            "messages of {} may be missing",
            "a chat" if chat else "all chats",
            event="backfill_gap",
            chat=chat,
            since=since,
            why=why,
        )
        self._gap(BackfillGap(chat=chat, why=why, since=since))


class _Reader:
    """The reader of one chat. It gives up where it failed more often than there are ``pauses``."""

    def __init__(
        self,
        page: WhatsAppPage,
        chat: str,
        since: int,
        *,
        report: Callable[[str], None],
        pauses: Sequence[float],
        limit: int,
    ) -> None:
        self._page = page
        self._chat = chat
        self._since = since
        self._report = report
        self._pauses = iter(pauses)
        self._limit = limit
        self._gave_up = False

    async def messages(self) -> AsyncGenerator[Any, None]:
        """All that came since, oldest first; what cannot be read is reported and left out."""
        for place, known in reversed(await self._walk_back()):
            for reported in to_backfill(known or await self._read(place), self._since):
                yield reported

    async def _walk_back(self) -> list[tuple[Place, list[Read]]]:
        """The places of all pages, newest first; of the first and the last also what they have."""
        pages: list[tuple[Place, list[Read]]] = []
        seen: set[str] = set()
        before: Place = None
        while found := await self._read(before):
            if len(pages) > 1:
                pages[-1] = (pages[-1][0], [])
            pages.append((before, found))
            before = anchor(found, self._since, seen)
            seen.update(one.id for one in found if one.id is not None)
            if before is None:
                break
            if len(seen) >= self._limit:
                self._report(
                    f"more than {self._limit} messages are to be backfilled: only the newest are reported"
                )
                break
        return pages

    async def _read(self, before: Place) -> list[Read]:
        """A page. Empty: the chat ends there, or it cannot be read and that is reported."""
        while not self._gave_up:
            try:
                return [
                    _read(reported)
                    for reported in await self._page.history(self._chat, before, COUNT)
                ]
            except PAGE_LOST:
                raise
            except WaguardError as error:
                if (pause := next(self._pauses, None)) is None:
                    self._gave_up = True
                    self._report(f"its history cannot be read: {error.line()}")
                    return []
            await asyncio.sleep(pause)
        return []


def _read(reported: Any) -> Read:
    fields = reported if isinstance(reported, dict) else {}
    found = fields.get("id")
    fits = isinstance(found, str) and 0 < len(found) <= ID_LIMIT
    return Read(word(found, ID_LIMIT) if fits else None, moment(fields.get("timestamp")), reported)
