"""Chats are read back each for itself, oldest message first, and no longer than its live ones wait."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from waguard.wire.calls import CatchUp
from waguard.wire.events import BackfillGap, InboundMessage, Incoming
from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    DevToolsTimeoutError,
    EvaluationError,
)
from waguard.worker.messages import holding, inbound
from waguard.worker.messages.backfill import CHAT_LIMIT, Backfill
from waguard.worker.messages.inbound import Inbound
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_errors import PageLoadingError

pytestmark = pytest.mark.virtual_time


def message(chat: str, number: int, **fields: Any) -> dict[str, Any]:
    reported = {"id": f"false_{chat}_{number}", "chat": chat, "body": f"{number}", "kind": "chat"}
    return reported | {"timestamp": 1_000 + number, "from_me": False} | fields


class Page:
    """Chats of so many messages; each reading of one of them costs what a test says."""

    def __init__(self, **chats: int) -> None:
        self.rows = {
            chat: [message(chat, number) for number in range(count)]
            for chat, count in chats.items()
        }
        self.read: list[tuple[str, str | None]] = []
        self.cost: dict[str, Callable[[], Any]] = {}
        self.unlisted: Exception | None = None
        self.more: list[tuple[str | None, int | None]] = []

    async def chats(self) -> list[tuple[str | None, int | None]]:
        if self.unlisted:
            raise self.unlisted
        newest = [(chat, rows[-1]["timestamp"]) for chat, rows in self.rows.items()]
        return [*newest, *self.more]

    async def history(self, chat: str, before: str | None, count: int) -> list[Any]:
        self.read.append((chat, before))
        if chat in self.cost:
            await self.cost[chat]()
        rows = self.rows[chat]
        ids = [row["id"] for row in rows]
        end = ids.index(before) if before else len(rows)
        return rows[max(0, end - count) : end]


class Bench:
    def __init__(self, page: Page, chat_limit: int = CHAT_LIMIT) -> None:
        self.page = page
        self.emitted: list[Incoming | BackfillGap] = []
        self.inbound = Inbound(self.emitted.append)
        self.rooms = 0
        self.full: asyncio.Event | None = None
        self.it = Backfill(
            self.inbound, gap=self.emitted.append, room=self.room, chat_limit=chat_limit
        )

    async def room(self) -> None:
        self.rooms += 1
        if self.full:
            await self.full.wait()

    async def run(
        self, since: dict[str, int] | None = None, floor: int = 0, *, fresh: bool = False
    ) -> None:
        asked = CatchUp(since=since or {}, floor=floor, fresh=fresh)
        async with asyncio.timeout(100_000):
            await self.it.run(cast("WhatsAppPage", self.page), asked, ())

    def live(self, chat: str, number: int) -> None:
        self.inbound.handle("message", message(chat, number))

    def flush(self) -> None:
        """What went live is emitted by a task of its own."""
        while not self.inbound._queue.empty():
            self.emitted.append(self.inbound._queue.get_nowait())

    def reported(self, chat: str) -> list[int]:
        self.flush()
        found = [one for one in self.emitted if isinstance(one, InboundMessage)]
        return [int(one.body) for one in found if one.chat == chat]

    @property
    def gaps(self) -> list[tuple[str, int | None, str]]:
        found = [one for one in self.emitted if isinstance(one, BackfillGap)]
        return [(one.chat, one.since, one.why) for one in found]


def throwing(error: Exception, times: int | None = None) -> Callable[[], Any]:
    """That often, or always."""
    left = [error] * (10**6 if times is None else times)

    async def fail() -> None:
        if left:
            raise left.pop()

    return fail


def slow(seconds: float) -> Callable[[], Any]:
    async def wait() -> None:
        await asyncio.sleep(seconds)

    return wait


async def test_thousands_of_messages_come_in_pages_oldest_first() -> None:
    bench = Bench(Page(a=2_501, b=3))
    await bench.run()
    assert bench.reported("a") == list(range(2_501))
    assert bench.reported("b") == [0, 1, 2]
    assert bench.gaps == []
    assert bench.rooms == 2_504


async def test_no_page_but_the_first_and_the_last_is_kept() -> None:
    """A long chat is read twice rather than kept in memory."""
    bench = Bench(Page(a=500))
    await bench.run()
    walked = len([1 for _, before in bench.page.read if before is None])
    assert walked == 1
    assert len(bench.page.read) == len(set(bench.page.read)) + 8


async def test_each_chat_is_read_from_its_own_time_on() -> None:
    bench = Bench(Page(a=200, b=200, c=200))
    await bench.run({"a": 1_190, "b": 1_200}, 1_100)
    assert bench.reported("a") == list(range(190, 200))
    assert bench.reported("b") == []
    assert bench.reported("c") == list(range(100, 200))
    assert ("b", None) not in bench.page.read


async def test_after_a_pairing_chats_are_read_as_a_person_would_and_no_statuses() -> None:
    """In order all the same: what is live waits behind what was missed of its chat."""
    bench = Bench(Page(**{"status@broadcast": 3}, **{f"c{n}": 3 for n in range(9)}))
    at_once: list[str] = []
    for chat in bench.page.rows:

        async def read(chat: str = chat) -> None:
            at_once.append(chat)
            assert len(at_once) <= 2
            await asyncio.sleep(1.0)
            at_once.remove(chat)

        bench.page.cost[chat] = read
    bench.inbound.hold()
    bench.live("c8", 7)
    began = asyncio.get_running_loop().time()
    await bench.run(fresh=True)
    assert asyncio.get_running_loop().time() - began == 5 * 2.5  # two readings and a pause each
    assert bench.reported("c8") == [0, 1, 2, 7]
    assert all(bench.reported(f"c{n}") == [0, 1, 2] for n in range(8))
    assert bench.reported("status@broadcast") == []
    bench.page.cost.clear()
    await bench.run()
    assert bench.reported("status@broadcast") == [0, 1, 2]


async def test_a_chat_whose_history_throws_is_reported_and_the_others_go_on() -> None:
    bench = Bench(Page(a=3, b=3, c=3))
    bench.page.cost["b"] = throwing(EvaluationError("Error: damaged"))
    await bench.run({"b": 5})
    assert (bench.reported("a"), bench.reported("b"), bench.reported("c")) == (
        [0, 1, 2],
        [],
        [0, 1, 2],
    )
    assert bench.gaps == [("b", 5, "its history cannot be read: the page threw Error: damaged")]
    bench.live("b", 9)
    assert bench.reported("b") == [9]


async def test_a_bug_in_one_chat_costs_only_that_chat() -> None:
    bench = Bench(Page(a=3, b=3))
    bench.page.cost["a"] = throwing(ZeroDivisionError())
    await bench.run()
    assert (bench.reported("a"), bench.reported("b")) == ([], [0, 1, 2])
    assert bench.gaps == [("a", 0, "a bug in waguard: ZeroDivisionError")]
    bench.live("a", 9)
    assert bench.reported("a") == [9]


async def test_what_fails_now_and_then_is_tried_again() -> None:
    bench = Bench(Page(a=120))
    bench.page.cost["a"] = throwing(DevToolsTimeoutError("no answer within 15 s"), 2)
    await bench.run()
    assert bench.reported("a") == list(range(120))
    assert bench.gaps == []


async def test_what_was_read_before_the_history_failed_is_reported() -> None:
    bench = Bench(Page(a=200))
    reads = 0

    async def fail_late() -> None:
        nonlocal reads
        reads += 1
        if reads > 3:
            raise EvaluationError("Error: damaged")

    bench.page.cost["a"] = fail_late
    await bench.run()
    assert [gap[0] for gap in bench.gaps] == ["a"]
    assert bench.reported("a") == [*range(50, 100), *range(150, 200)]


async def test_beyond_the_bound_the_newest_are_reported_and_the_rest_is_a_gap() -> None:
    bench = Bench(Page(a=400), chat_limit=150)
    await bench.run()
    assert bench.reported("a") == list(range(250, 400))
    assert bench.gaps == [
        ("a", 0, "more than 150 messages are to be backfilled: only the newest are reported")
    ]


LOST = [DevToolsClosedError("the page is gone"), PageLoadingError()]


@pytest.mark.parametrize("lost", LOST, ids=["gone", "loading"])
async def test_a_page_that_is_lost_is_no_gap_and_what_waits_goes_on_waiting(
    lost: Exception,
) -> None:
    """Another one is read. What is live would hide from it how much was missed."""
    bench = Bench(Page(a=3, b=3))
    bench.page.cost["a"] = throwing(lost)
    bench.inbound.hold()
    bench.live("a", 9)
    with pytest.raises(type(lost)):
        await bench.run()
    assert (bench.reported("a"), bench.reported("b"), bench.gaps) == ([], [0, 1, 2], [])


@pytest.mark.parametrize("lost", LOST, ids=["gone", "loading"])
async def test_nor_is_one_that_is_lost_before_its_chats_are_listed(lost: Exception) -> None:
    bench = Bench(Page(a=3))
    bench.page.unlisted = lost
    bench.inbound.hold()
    bench.live("a", 9)
    with pytest.raises(type(lost)):
        await bench.run()
    assert (bench.reported("a"), bench.gaps) == ([], [])


async def test_chats_that_cannot_be_listed_are_reported_and_nothing_waits() -> None:
    bench = Bench(Page(a=3))
    bench.page.unlisted = EvaluationError("Error: none")
    bench.inbound.hold()
    bench.live("a", 9)
    with pytest.raises(EvaluationError):
        await bench.run(floor=7)
    why = "the chats cannot be listed: the page threw Error: none"
    assert (bench.reported("a"), bench.gaps[0]) == ([9], ("", 7, why))


async def test_what_was_overtaken_while_the_chats_were_unlisted_is_read_by_the_next_daemon() -> (
    None
):
    bench = Bench(Page(a=3, b=4, c=4))
    bench.page.unlisted = EvaluationError("Error: none")
    bench.inbound.hold()
    bench.live("b", 8)
    for _ in range(2):
        with pytest.raises(EvaluationError):
            await bench.run({"a": 1_001, "b": 1_001}, 1_002)
        bench.live("b", 9)
        bench.live("c", 9)
    assert (bench.reported("b"), bench.reported("c")) == ([8, 9], [9])
    bench.page.unlisted = None
    bench.inbound.hold()  # the page is loaded again, too
    await bench.run({"a": 1_001, "b": 1_009, "c": 1_009}, 1_000)
    assert bench.reported("a") == [1, 2]
    assert bench.reported("b") == [8, 9, 1, 2, 3]
    assert bench.reported("c") == [9, 2, 3]
    assert bench.inbound.owed == {}


async def test_what_was_overtaken_while_the_chats_were_unlisted_is_read_by_the_next_worker() -> (
    None
):
    """The daemon hears of it before its mark of the chat moves, and once."""
    bench = Bench(Page(a=3))
    bench.page.unlisted = EvaluationError("Error: none")
    with pytest.raises(EvaluationError):
        await bench.run({"a": 1_001}, 1_000)
    bench.live("a", 8)
    bench.live("a", 9)
    bench.flush()
    said = [it.chat for it in bench.emitted if isinstance(it, BackfillGap | InboundMessage)]
    assert said == ["", "a", "a", "a"]
    why = "new messages were reported before backfilled ones: the chats could not be listed"
    assert bench.gaps[1:] == [("a", 1_001, why)]


async def test_one_line_says_of_all_chats_that_they_were_not_listed(logged: list[str]) -> None:
    bench = Bench(Page())
    bench.page.unlisted = EvaluationError("Error: none")
    with pytest.raises(EvaluationError):
        await bench.run({}, 1_000)
    for chat in ("a", "b", "c"):
        bench.live(chat, 8)
    assert [chat for chat, *_ in bench.gaps] == ["", "a", "b", "c"], "the daemon hears of each"
    [line] = logged
    assert "backfill_gap" in line
    assert "the chats cannot be listed" in line


async def test_a_chat_without_an_id_costs_only_itself() -> None:
    bench = Bench(Page(a=1))
    bench.page.more = [(None, 5), (None, None)]
    await bench.run(floor=7)
    assert (bench.reported("a"), bench.gaps) == ([0], [("", 7, "2 chats have no id")])


# ---- live messages ----


async def test_live_messages_wait_for_their_chat_alone() -> None:
    bench = Bench(Page(slow=3, quick=3))
    bench.page.cost["slow"] = slow(20)
    bench.inbound.hold()
    reading = asyncio.create_task(bench.run())
    bench.live("slow", 8)
    bench.live("quick", 8)
    bench.live("new", 8)
    await asyncio.sleep(10)
    assert (bench.reported("quick"), bench.reported("new"), bench.reported("slow")) == (
        [0, 1, 2, 8],
        [8],
        [],
    )
    bench.live("slow", 9)
    await reading
    assert bench.reported("slow") == [0, 1, 2, 8, 9]
    assert bench.gaps == []


async def test_live_messages_wait_no_longer_than_the_limit_then_a_gap_is_reported() -> None:
    bench = Bench(Page(slow=60, quick=3))
    bench.page.cost["slow"] = slow(40)
    bench.inbound.hold()
    reading = asyncio.create_task(bench.run({"slow": 5}))
    await asyncio.sleep(10)
    bench.live("slow", 98)
    await asyncio.sleep(holding.LIMIT - 0.1)
    assert (bench.reported("slow"), bench.gaps) == ([], [])
    await asyncio.sleep(0.2)
    assert bench.reported("slow") == [98]
    assert [gap[:2] for gap in bench.gaps] == [("slow", 5)]
    bench.live("slow", 99)
    assert bench.reported("slow") == [98, 99]
    await reading
    assert bench.reported("slow") == [98, 99, *range(60)]
    assert len(bench.gaps) == 1


async def test_where_nobody_asks_live_messages_wait_no_longer_than_the_limit() -> None:
    bench = Bench(Page())
    bench.inbound.hold()
    bench.live("a", 1)
    await asyncio.sleep(holding.LIMIT + 0.1)
    bench.live("a", 2)
    assert bench.reported("a") == [1, 2]
    [(chat, since, _)] = bench.gaps
    assert (chat, since is not None and since <= time.time() - inbound.UNASKED) == ("a", True)


async def test_without_a_live_message_nothing_is_late() -> None:
    bench = Bench(Page(slow=60))
    bench.page.cost["slow"] = slow(100)
    await bench.run()
    assert (bench.reported("slow"), bench.gaps) == (list(range(60)), [])


async def test_no_more_is_reported_than_there_is_room_for() -> None:
    bench = Bench(Page(a=10))
    bench.full = asyncio.Event()
    reading = asyncio.create_task(bench.run())
    await asyncio.sleep(1)
    assert bench.reported("a") == []
    bench.full.set()
    await reading
    assert bench.reported("a") == list(range(10))


async def test_what_was_reported_before_an_end_in_the_middle_is_the_oldest() -> None:
    """So the time from which the next worker reads moves, and it is not all read again for ever."""
    bench = Bench(Page(a=300))
    reading = asyncio.create_task(bench.run())

    async def fill() -> None:
        if bench.rooms >= 100:
            await asyncio.Event().wait()

    bench.it._room = lambda: _counted(bench, fill)
    await asyncio.sleep(1)
    reading.cancel()
    await asyncio.wait([reading])
    assert bench.reported("a") == list(range(100))


async def _counted(bench: Bench, fill: Callable[[], Any]) -> None:
    await fill()
    bench.rooms += 1


async def test_what_was_overtaken_is_read_although_the_next_daemon_asks_for_less() -> None:
    bench = Bench(Page(a=3, b=3))
    bench.page.cost["a"] = bench.page.cost["b"] = slow(1_000)
    reading = asyncio.create_task(bench.run({"a": 1_001, "b": 1_001}))
    await asyncio.sleep(1)
    bench.live("b", 9)
    await asyncio.sleep(holding.LIMIT)
    assert bench.reported("b") == [9]
    reading.cancel()  # the daemon is restarted, or the page loaded again
    await asyncio.gather(reading, return_exceptions=True)
    bench.inbound.hold()
    bench.page.cost.clear()
    await bench.run({"a": 1_001, "b": 1_009})
    assert bench.reported("b") == [9, 1, 2]
    assert bench.reported("a") == [1, 2]
    bench.page.rows["b"].append(message("b", 8))
    await bench.run({"a": 1_009, "b": 1_009})
    assert bench.reported("b") == [9, 1, 2], "it is owed nothing any more"


async def test_what_was_overtaken_before_it_was_asked_for_is_read_for_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_002.0 + inbound.UNASKED)
    bench = Bench(Page(b=4))
    bench.inbound.hold()
    bench.live("b", 9)
    await asyncio.sleep(
        holding.LIMIT + 1
    )  # the database is away, or the page does not list its chats
    assert bench.reported("b") == [9]
    await bench.run({"b": 1_009})
    assert bench.reported("b") == [9, 2, 3]


async def test_what_was_dropped_is_read_although_the_next_daemon_asks_for_less() -> None:
    bench = Bench(Page(a=4))
    bench.inbound.owe(BackfillGap(chat="a", why="too much waited", since=1_001))
    await bench.run({"a": 1_003})
    assert bench.reported("a") == [1, 2, 3]
    bench.page.rows["a"].insert(1, message("a", 1, id="false_a_late"))
    await bench.run({"a": 1_003})
    assert bench.reported("a") == [1, 2, 3], "it is owed nothing any more"


async def test_what_was_owed_before_a_new_pairing_is_not_read() -> None:
    bench = Bench(Page(a=5))
    bench.inbound.owed["a"] = 1_001
    await bench.run({"a": 1_004}, 1_003)
    assert bench.reported("a") == [3, 4]


def dropped(chat: str, number: int) -> BackfillGap:
    return BackfillGap(chat=chat, why="too much waited", since=1_000 + number)


async def test_what_is_dropped_while_its_chat_is_read_is_owed_to_the_next_backfill() -> None:
    bench = Bench(Page(a=4))
    bench.inbound.owe(dropped("a", 2))
    bench.page.cost["a"] = slow(10)
    reading = asyncio.create_task(bench.run({"a": 1_003}))
    await asyncio.sleep(1)
    bench.inbound.owe(dropped("a", 1))
    await reading
    assert bench.reported("a") == [2, 3]
    await bench.run({"a": 1_003})
    assert bench.reported("a") == [2, 3, 1]
    assert bench.inbound.owed == {}


async def test_what_is_dropped_before_it_is_the_turn_of_its_chat_is_read_at_once() -> None:
    bench = Bench(Page(b=1, c=1, d=1, e=1, a=4))
    bench.page.cost |= {name: slow(10) for name in "bcde"}
    reading = asyncio.create_task(bench.run({"a": 1_003}, 1_000))
    await asyncio.sleep(1)
    bench.inbound.owe(dropped("a", 1))
    await reading
    assert bench.reported("a") == [1, 2, 3]
    assert bench.inbound.owed == {}


@pytest.mark.parametrize("is_lost", [False, True])
async def test_what_is_owed_stays_so_where_the_backfill_ends_in_the_middle(
    *, is_lost: bool
) -> None:
    bench = Bench(Page(a=4))
    bench.inbound.owe(dropped("a", 1))
    bench.page.cost["a"] = throwing(PageLoadingError(), 1) if is_lost else slow(1_000)
    reading = asyncio.create_task(bench.run({"a": 1_003}))
    await asyncio.sleep(1)
    bench.inbound.owe(dropped("a", 2))
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert bench.inbound.owed == {"a": 1_001}
