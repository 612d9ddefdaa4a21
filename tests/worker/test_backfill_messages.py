"""Messages that raised no event, read back from their chats by the real wa-js."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.worker.browser_session import LONG, BrowserSession
from waguard.lab.standin import Policy, StandIn
from waguard.wire.calls import CatchUp
from waguard.wire.events import BackfillGap, InboundMessage, Incoming, MessageError
from waguard.worker.messages.backfill import Backfill
from waguard.worker.messages.inbound import Inbound
from waguard.worker.timings import TIMINGS

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]
PHONE = "6281180001"
ANN, BOB = "62812@c.us", "62813@c.us"
MANY = 2_345


class Bench:
    """A connected browser, and what a worker makes of what its page tells."""

    def __init__(self, browser: BrowserSession) -> None:
        self.browser = browser
        self.phone = browser.standin.phone
        self.emitted: list[Incoming | BackfillGap] = []
        self.inbound = Inbound(self.emitted.append)
        self._heard = 0

    async def reload(self) -> None:
        """All that is stored in the page by now raises no event any more."""
        await self.browser.loader.load()
        await self.browser.link()
        self.browser.reports.clear()

    async def run_backfill(
        self,
        since: dict[str, int] | None = None,
        floor: int = 0,
        pauses: Sequence[float] = TIMINGS.backfill_pauses,
    ) -> None:
        async def room() -> None:
            return

        it = Backfill(self.inbound, gap=self.emitted.append, room=room, pauses=pauses)
        await it.run(self.browser.page, CatchUp(since=since or {}, floor=floor), ())

    def bodies(self, chat: str) -> list[str]:
        found = [one for one in self.emitted if isinstance(one, InboundMessage)]
        return [one.body for one in found if one.chat == chat]

    def listen(self) -> None:
        """What the page has told so far goes to the worker, as it came."""
        kinds = ("message", "ack", "edit")
        for kind, data in self.browser.reports:
            if kind in kinds:
                self.inbound.handle(kind, data)
        self.browser.reports.clear()

    async def stored(self) -> None:
        """The page has taken all that the server had for it."""

        def empty() -> bool:
            (device,) = self.phone.state()["accounts"][PHONE]
            return bool(device["link"] == "connected" and device["queued"] == 0)

        await wait_until(empty, "the page takes all messages", deadline=60)


@contextlib.asynccontextmanager
async def connected(before: Callable[[StandIn], None] | None = None) -> AsyncIterator[Bench]:
    policy = Policy(sync=0.1, reconnect_delay=0.05)
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=policy) as standin:
            if before:
                before(standin)
            browser = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await browser.open()
            try:
                await browser.pair(PHONE)
                yield Bench(browser)
            finally:
                await browser.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with connected() as made:
        yield made


def write(bench: Bench, *messages: tuple[str, str, int]) -> None:
    for chat, body, at in messages:
        bench.phone.incoming(from_=chat, body=body, timestamp=at)


async def test_all_that_came_since_is_reported_in_the_order_of_its_chat(bench: Bench) -> None:
    write(bench, (ANN, "0", 1_000), (BOB, "1", 1_001), (ANN, "2", 1_002))
    await bench.stored()
    await bench.reload()
    await bench.run_backfill()
    assert (bench.bodies(ANN), bench.bodies(BOB)) == (["0", "2"], ["1"])
    assert all(one.backfilled for one in bench.emitted if isinstance(one, InboundMessage))
    bench.emitted.clear()
    bench.inbound = Inbound(bench.emitted.append)
    await bench.run_backfill({ANN: 1_002}, 2_000)
    assert (bench.bodies(ANN), bench.bodies(BOB)) == (["2"], [])


async def test_more_than_two_thousand_are_read_in_pages() -> None:
    """The account had them before it was paired: the quickest way to have them in a chat."""

    def fill(standin: StandIn) -> None:
        for number in range(MANY):
            attributes = {"type": "chat", "body": f"{number}", "t": 1_000 + number}
            standin.whatsapp.incoming(PHONE, ANN, ANN, attributes)

    async with connected(fill) as bench:
        await bench.run_backfill({}, 1_010)
        assert bench.bodies(ANN) == [str(number) for number in range(10, MANY)]
        assert not [one for one in bench.emitted if isinstance(one, BackfillGap)]


async def test_a_chat_whose_history_throws_costs_only_itself(bench: Bench) -> None:
    bench.browser.standin.policy.history_error = [ANN]
    write(bench, (ANN, "0", 1_000), (BOB, "1", 1_001), (ANN, "2", 1_002))
    await bench.stored()
    await bench.reload()
    await bench.run_backfill({}, 5, pauses=(0.01, 0.01))
    assert (bench.bodies(ANN), bench.bodies(BOB)) == ([], ["1"])
    (gap,) = [one for one in bench.emitted if isinstance(one, BackfillGap)]
    assert (gap.chat, gap.since) == (ANN, 5)
    assert "the database does not answer" in gap.why


async def test_a_chat_with_a_slow_history_holds_up_no_other(bench: Bench) -> None:
    bench.browser.standin.policy.history_delay = {ANN: 2.0}
    write(bench, (ANN, "0", 1_000), (BOB, "0", 1_001))
    await bench.stored()
    await bench.reload()
    bench.inbound.hold()
    pumping = asyncio.create_task(bench.inbound.run(lambda: bench.browser.page))
    reading = asyncio.create_task(bench.run_backfill())
    write(bench, (ANN, "1", 1_002), (BOB, "1", 1_003))

    def is_quick() -> bool:
        bench.listen()
        return bench.bodies(BOB) == ["0", "1"]

    await wait_until(is_quick, "the quick chat is told", deadline=LONG)
    assert bench.bodies(ANN) == []
    await reading
    await wait_until(lambda: bench.bodies(ANN) == ["0", "1"], "the slow chat is told")
    pumping.cancel()


async def test_a_size_that_no_file_has_costs_no_message(bench: Bench) -> None:
    """It ended the worker, and the next one as soon as it read the chat."""
    picture = {"mimetype": "image/png", "base64": "AAAA"}
    odd = {"size": 2**64, "notifyName": "N" * 5_000, "t": -1}
    bench.phone.incoming(from_=ANN, body="look", media=picture, attributes=odd)
    bench.phone.incoming(from_=ANN, body="x" * 70_000, timestamp=2_000)
    await bench.stored()
    pumping = asyncio.create_task(bench.inbound.run(lambda: bench.browser.page))

    def both() -> bool:
        bench.listen()  # the page tells a message after it has stored it
        return len(bench.emitted) == 2

    await wait_until(both, "both are told live")
    live = list(bench.emitted)
    bench.emitted.clear()
    bench.inbound = Inbound(bench.emitted.append)
    await bench.reload()
    await bench.run_backfill()
    for first, second in (live, bench.emitted):
        assert isinstance(first, InboundMessage)
        assert (first.caption, first.size) == ("look", 2**53 - 1)
        assert str(first.media_error).startswith("the file is said to have 9007199254740991 bytes")
        assert first.timestamp > 1_700_000_000
        assert first.sender_name == "N" * 256
        assert isinstance(second, InboundMessage)
        assert second.body.startswith("x" * 65_536 + " … [cut")
    pumping.cancel()


async def test_a_message_that_the_page_cannot_read_costs_only_itself(bench: Bench) -> None:
    write(bench, (ANN, "0", 1_000), (ANN, "1", 1_001))
    await bench.stored()
    await bench.reload()
    await bench.browser.session.evaluate(
        "void Object.defineProperty(WPP.whatsapp.MsgModel.prototype, 'body', {get() {"
        " return this.attributes.body === '0' ? {toString() { throw new Error('odd') }}"
        " : this.attributes.body }, configurable: true})",
        timeout=LONG,
    )
    await bench.run_backfill()
    error, message = bench.emitted
    assert isinstance(error, MessageError)
    assert (error.chat, error.error) == (ANN, "Error: odd")
    assert error.id
    assert '"body":"0"' in error.raw
    assert isinstance(message, InboundMessage)
    assert message.body == "1"


async def test_what_the_phone_writes_is_reported_live_and_read_back(bench: Bench) -> None:
    picture = {"mimetype": "image/png", "base64": "AAAA"}
    text = bench.phone.write(ANN, body="from the phone", timestamp=1_000)["id"]
    image = bench.phone.write(ANN, body="look", media=picture, timestamp=1_001)["id"]
    await bench.stored()
    pumping = asyncio.create_task(bench.inbound.run(lambda: bench.browser.page))

    def heard() -> bool:
        bench.listen()
        return len(bench.emitted) == 2

    await wait_until(heard, "both are told live")
    live = list(bench.emitted)
    bench.emitted.clear()
    bench.inbound = Inbound(bench.emitted.append)
    await bench.reload()
    await bench.run_backfill()
    for first, second in (live, bench.emitted):
        assert isinstance(first, InboundMessage)
        assert (first.id, first.from_me, first.body) == (text, True, "from the phone")
        assert (first.chat, first.sender, first.to) == (ANN, f"{PHONE}@c.us", ANN)
        assert isinstance(second, InboundMessage)
        assert (second.id, second.from_me, second.media) == (image, True, bytes(3))
    pumping.cancel()


async def test_what_is_sent_from_here_is_not_reported(bench: Bench) -> None:
    """The page shows it as it shows what the phone wrote."""
    message_id = f"true_{ANN}_3EB0AB12"
    bench.inbound.filter.sends(message_id)
    await bench.browser.page.send("sendText", ANN, "hi", {"messageId": message_id}, timeout=LONG)
    await wait_until(
        lambda: any(d["id"] == message_id for k, d in bench.browser.reports if k == "message"),
        "the page tells it",
    )
    bench.listen()
    await bench.run_backfill()
    assert bench.emitted == []
    bench.inbound = Inbound(bench.emitted.append)
    await bench.run_backfill()  # another worker does not know, the daemon does
    assert bench.bodies(ANN) == ["hi"]
