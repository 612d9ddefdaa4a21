"""What the page reports of messages: in order, each once, with its file."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tests.waiting import wait_until
from waguard.core.messages.content import POLL_VOTE
from waguard.core.messages.people import People
from waguard.core.messages.received_media import DEFERRED, MEDIA_LIMIT
from waguard.core.messages.sentinel import text
from waguard.errors import TooLargeError
from waguard.wire.events import (
    Ack,
    BackfillGap,
    Edit,
    InboundMessage,
    Incoming,
    IncomingCall,
    MessageError,
    Reaction,
    Revoke,
    Undecryptable,
)
from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    DevToolsTimeoutError,
    ElsewhereError,
    EvaluationError,
    TargetCrashedError,
)
from waguard.worker.messages import inbound as under_test
from waguard.worker.messages.inbound import REMEMBERED, Inbound
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_errors import PageLoadingError


class Page:
    """Gives files; each waits until it is released where ``held`` is set."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Exception] = {}
        self.asked: list[str] = []
        self.held: asyncio.Event | None = None

    async def media(self, message_id: str, limit: int) -> bytes:
        assert limit <= MEDIA_LIMIT
        self.asked.append(message_id)
        if self.held:
            await self.held.wait()
        found = self.files.get(message_id, b"file")
        if isinstance(found, Exception):
            raise found
        return found


class Bench:
    def __init__(self, remembered: int = REMEMBERED) -> None:
        self.page = Page()
        self.emitted: asyncio.Queue[Incoming | BackfillGap] = asyncio.Queue()
        self.people = People([("777@lid", "49170@c.us")])
        left_out = ("@broadcast", "@newsletter")
        self.it = Inbound(self.emitted.put_nowait, left_out, self.people, remembered=remembered)

    def at_hand(self) -> WhatsAppPage:
        return cast("WhatsAppPage", self.page)

    async def next(self) -> Incoming | BackfillGap:
        async with asyncio.timeout(10):
            return await self.emitted.get()

    async def message(self) -> InboundMessage:
        reported = await self.next()
        assert isinstance(reported, InboundMessage)
        return reported


@pytest.fixture
def remembered() -> int:
    """A test parametrizes what it needs otherwise."""
    return REMEMBERED


@pytest.fixture
async def bench(remembered: int) -> AsyncIterator[Bench]:
    made = Bench(remembered)
    running = asyncio.create_task(made.it.run(made.at_hand))
    yield made
    assert not running.done()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def raw_message(number: int, **fields: Any) -> dict[str, Any]:
    """As the hook in the page projects it."""
    return {
        "id": f"false_49170@c.us_{number}",
        "chat": "49170@c.us",
        "sender": "49170@c.us",
        "to": "49151@c.us",
        "body": f"text {number}",
        "timestamp": 1_732_233_600,
        "from_me": False,
        "kind": "chat",
        "sender_name": None,
        **fields,
    }


def picture(number: int, **fields: Any) -> dict[str, Any]:
    return raw_message(number, kind="image", mimetype="image/png", body="", **fields)


async def test_a_text_arrives_with_its_sender(bench: Bench) -> None:
    bench.it.handle("message", raw_message(1, sender_name="Ann"))
    got = await bench.message()
    assert (got.id, got.body, got.sender_name, got.media) == (
        "false_49170@c.us_1",
        "text 1",
        "Ann",
        None,
    )
    assert bench.page.asked == []


async def test_each_message_is_reported_once(bench: Bench) -> None:
    for number in (1, 1, 2, 1, 3):
        bench.it.handle("message", raw_message(number))
    assert [(await bench.message()).body for _ in range(3)] == ["text 1", "text 2", "text 3"]
    bench.it.handle("message", raw_message(1))
    bench.it.handle("message", raw_message(4))
    assert (await bench.message()).body == "text 4"


@pytest.mark.parametrize("remembered", [3])
async def test_memory_for_ids_is_bounded(bench: Bench) -> None:
    for number in range(5):
        bench.it.handle("message", raw_message(number))
    assert len(bench.it._seen) == 3
    bench.it.handle("message", raw_message(4))
    assert len(bench.it._seen) == 3


@pytest.mark.parametrize("chat", ["status@broadcast", "62811@broadcast", "12036@newsletter"])
async def test_what_is_left_out_is_not_even_fetched(bench: Bench, chat: str) -> None:
    """Fault 14 began with a flood of status updates."""
    bench.it.handle("message", picture(1, chat=chat))
    bench.it.handle("message", raw_message(2))
    assert (await bench.message()).body == "text 2"
    assert bench.page.asked == []


async def test_a_sentinel_is_awaited_and_never_reported(bench: Bench) -> None:
    """Also one of a daemon before, which is read back, and whose worker knows nothing of it."""
    mine = {"chat": "49170@c.us", "from_me": True, "body": text("0123abcd")}
    sent = raw_message(1, **mine) | {"id": "true_49170@c.us_3EB01"}
    with bench.it.filter.sentinels.awaits("true_777@lid_3EB01") as reported:
        assert not reported.is_set()
        bench.it.handle("message", sent)
        assert reported.is_set()
    bench.it.handle("message", raw_message(2, **mine) | {"id": "true_49170@c.us_3EB02"})
    await bench.it.backfilled(sent, bench.at_hand())
    bench.it.handle("message", raw_message(3, body=text("0123abcd")))
    assert (await bench.message()).id.endswith("_3"), "another's message with this text is one"


async def test_a_message_is_reported_when_it_can_be_read(bench: Bench) -> None:
    bench.it.handle("message", raw_message(1, kind="ciphertext", body=""))
    bench.it.handle("message", raw_message(1, kind="ciphertext", body=""))
    bench.it.handle("message", raw_message(1))
    chat = "49170@c.us"
    assert await bench.next() == Undecryptable(
        id=f"false_{chat}_1", chat=chat, sender=chat, timestamp=1_732_233_600
    )
    assert (await bench.message()).body == "text 1"


async def test_of_chats_that_are_left_out_none_is_undecryptable(bench: Bench) -> None:
    bench.it.handle("message", raw_message(1, kind="ciphertext", chat="status@broadcast"))
    bench.it.handle("message", raw_message(2))
    assert (await bench.message()).body == "text 2"


async def test_a_slow_file_is_not_overtaken_in_its_chat(bench: Bench) -> None:
    bench.page.held = asyncio.Event()
    bench.it.handle("message", picture(1))
    bench.it.handle("message", raw_message(2))
    bench.it.handle("ack", {"ids": ["true_c_1"], "chat": "49170@c.us", "ack": 2})
    async with asyncio.timeout(10):
        while not bench.page.asked:
            await asyncio.sleep(0)
    assert bench.emitted.empty()
    bench.page.held.set()
    first, second, third = [await bench.next() for _ in range(3)]
    assert isinstance(first, InboundMessage)
    assert first.media == b"file"
    assert isinstance(second, InboundMessage)
    assert second.body == "text 2"
    assert third == Ack(ids=("true_c_1",), chat="49170@c.us", ack=2)


async def test_a_slow_file_holds_up_no_other_chat(bench: Bench) -> None:
    """Where no file can be had, each costs its deadline."""
    bench.page.held = asyncio.Event()
    for number in range(under_test.AT_ONCE + 1):
        bench.it.handle("message", picture(number, chat=f"{number}@c.us"))
    bench.it.handle("message", raw_message(8, chat="8@c.us"))
    assert (await bench.message()).body == "text 8"
    async with asyncio.timeout(10):
        while len(bench.page.asked) < under_test.AT_ONCE:
            await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(bench.page.asked) == under_test.AT_ONCE
    bench.page.held.set()
    got = [await bench.message() for _ in range(under_test.AT_ONCE + 1)]
    assert all(one.media == b"file" for one in got)
    bench.it.handle("message", raw_message(9, chat="0@c.us"))
    assert (await bench.message()).body == "text 9"


@pytest.mark.virtual_time
@pytest.mark.parametrize("chats", ["a" * 10, "abcdefghijkl"], ids=["album", "many chats"])
async def test_a_chat_waits_for_many_files_no_longer_than_for_one(chats: str) -> None:
    """What did not come in time is fetched later; the page is not even asked for what comes too late."""
    bench, now = Bench(), asyncio.get_running_loop().time
    bench.page.held, began = asyncio.Event(), now()
    running = asyncio.create_task(bench.it.run(bench.at_hand))
    for number, chat in enumerate(chats):
        bench.it.handle("message", picture(number, chat=f"{chat}@c.us"))
    bench.it.handle("message", raw_message(99, chat=f"{chats[-1]}@c.us"))
    got = [await bench.emitted.get() for _ in range(len(chats) + 1)]
    assert now() - began == under_test.CHAT_WAITS
    messages = [one for one in got if isinstance(one, InboundMessage)]
    assert sum(one.deferred for one in messages) == len(chats)
    assert [one.body for one in messages if one.chat == f"{chats[-1]}@c.us"][-1] == "text 99"
    assert len(bench.page.asked) == min(len(set(chats)), under_test.AT_ONCE)
    bench.page.held.set()
    bench.it.handle("message", picture(100, chat="a@c.us"))
    last = await bench.emitted.get()
    assert isinstance(last, InboundMessage)
    assert last.media == b"file"
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize(
    "error",
    [
        TooLargeError("the file has 9 bytes, the limit is 8"),
        ValueError("no base64"),
        TypeError("None"),
    ],
)
async def test_a_file_that_cannot_be_had_does_not_cost_its_message(
    bench: Bench, error: Exception
) -> None:
    bench.page.files["false_49170@c.us_1"] = error
    bench.it.handle("message", picture(1, caption="look"))
    bench.it.handle("message", picture(2))
    got = await bench.message()
    assert (got.media, got.media_error, got.caption) == (None, str(error), "look")
    assert (await bench.message()).media == b"file"


@pytest.mark.parametrize(
    "error",
    [
        PageLoadingError(),
        ElsewhereError("https://example.org"),
        DevToolsClosedError("the page was closed during Runtime.evaluate"),
        TargetCrashedError("the page crashed during Runtime.evaluate"),
        DevToolsTimeoutError("Runtime.evaluate had no answer within 15 s"),
        EvaluationError("TypeError: Failed to fetch"),
    ],
    ids=["loading", "elsewhere", "closed", "crashed", "slow", "failed once"],
)
async def test_a_file_that_fails_or_takes_too_long_comes_later(
    bench: Bench, error: Exception
) -> None:
    """All that wait at a reload fail within milliseconds, and could be had seconds later."""
    for number in (1, 2):
        bench.page.files[f"false_49170@c.us_{number}"] = error
    bench.it.handle("message", picture(1, size=5))
    live = await bench.message()
    await bench.it.backfilled(picture(2), bench.at_hand())
    read_back = await bench.message()
    for got in (live, read_back):
        assert (got.media, got.deferred, got.media_error) == (None, True, DEFERRED)
    bench.it.handle("message", picture(3))
    assert (await bench.message()).media == b"file"


async def test_a_file_that_is_too_large_is_not_fetched(bench: Bench) -> None:
    bench.it.handle("message", picture(1, size=MEDIA_LIMIT + 1))
    bench.it.handle("message", picture(2, size=MEDIA_LIMIT))
    got = await bench.message()
    assert got.media is None
    assert str(MEDIA_LIMIT) in str(got.media_error)
    assert (await bench.message()).media == b"file"
    assert bench.page.asked == ["false_49170@c.us_2"]


async def test_a_large_file_is_deferred_and_holds_nothing_up(bench: Bench) -> None:
    bench.it = Inbound(bench.emitted.put_nowait, inline_limit=1_000, file_limit=9_000)
    page, sizes = bench.at_hand(), (1_000, 1_001, 9_001)
    bench.page.held = asyncio.Event()
    running = asyncio.create_task(bench.it.run(bench.at_hand))
    for number, size in enumerate(sizes[1:]):
        bench.it.handle("message", picture(number, size=size))
    first, second = await bench.message(), await bench.message()
    assert (first.deferred, first.media, first.media_error) == (True, None, DEFERRED)
    assert (second.deferred, second.media) == (False, None)
    assert second.media_error == "the file is said to have 9001 bytes, the limit is 9000"
    assert not bench.page.asked
    bench.page.held.set()
    bench.it.handle("message", picture(5, size=sizes[0]))
    assert (await bench.message()).media == b"file"
    await bench.it.backfilled(picture(6, size=sizes[1]), page)
    third = await bench.message()
    assert (third.deferred, third.backfilled) == (True, True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_files_come_from_the_page_of_the_moment(bench: Bench) -> None:
    """After a pairing the page is opened anew."""
    first = bench.page
    bench.it.handle("message", picture(1))
    await bench.message()
    second = bench.page = Page()
    bench.it.handle("message", picture(2))
    await bench.message()
    assert first.asked == ["false_49170@c.us_1"]
    assert second.asked == ["false_49170@c.us_2"]


@pytest.mark.parametrize(
    ("odd", "chat", "error"),
    [
        ({}, "", "chat is not a text of 1 to 128 characters"),
        (None, "", "it is not an object but NoneType"),
        ([raw_message(1)], "", "it is not an object but list"),
        (raw_message(1) | {"id": None}, "49170@c.us", "id is not a text of 1 to 256 characters"),
        (
            raw_message(1) | {"id": "x" * 257},
            "49170@c.us",
            "id is not a text of 1 to 256 characters",
        ),
        (raw_message(1) | {"body": ["text"]}, "49170@c.us", "body is not text"),
        ({"error": "TypeError", "id": "a", "chat": "c", "raw": "{}"}, "c", "TypeError"),
    ],
)
async def test_what_makes_no_sense_is_reported_once_and_the_rest_goes_on(
    bench: Bench, odd: Any, chat: str, error: str
) -> None:
    bench.it.handle("message", odd)
    bench.it.handle("message", odd)
    bench.it.handle("message", raw_message(1))
    found = await bench.next()
    assert isinstance(found, MessageError)
    assert (found.what, found.chat, found.error) == ("message", chat, error)
    assert found.raw == ("{}" if error == "TypeError" else json.dumps(odd))
    assert (await bench.message()).body == "text 1"


async def test_an_odd_one_where_nothing_is_received_is_not_reported(bench: Bench) -> None:
    bench.it.handle("message", raw_message(1) | {"id": None, "chat": "status@broadcast"})
    bench.it.handle("message", raw_message(2))
    assert (await bench.message()).body == "text 2"


# ---- what is sent from here, or by other devices of the account ----

OWN = {"id": "true_49170@c.us_3EB0", "from_me": True, "sender": "49151@c.us"}


async def test_what_the_phone_wrote_is_reported(bench: Bench) -> None:
    bench.it.handle("message", raw_message(1, **OWN))
    found = await bench.message()
    assert (found.id, found.from_me, found.body) == ("true_49170@c.us_3EB0", True, "text 1")


@pytest.mark.parametrize("shown_as", ["true_49170@c.us_3EB0", "true_777@lid_3EB0_49151@c.us"])
async def test_what_this_worker_sends_is_not_reported(bench: Bench, shown_as: str) -> None:
    """Whoever had it sent knows it, also where the page has another id for the chat."""
    bench.it.filter.sends("true_49170@c.us_3EB0")
    bench.it.handle("message", picture(1, **OWN | {"id": shown_as}))
    bench.it.handle("message", raw_message(2))
    assert (await bench.message()).body == "text 2"
    assert bench.page.asked == []


async def test_what_follows_a_file_waits_for_it_also_where_its_chat_was_renamed(
    bench: Bench,
) -> None:
    bench.page.held = asyncio.Event()
    bench.it.handle("message", picture(1))
    bench.it.handle("message", raw_message(2, id="false_777@lid_2", chat="777@lid"))
    bench.it.handle("message", raw_message(3, id="false_49171@c.us_3", chat="49171@c.us"))
    assert (await bench.message()).chat == "49171@c.us"
    bench.page.held.set()
    assert [(await bench.message()).chat for _ in range(2)] == ["49170@c.us", "777@lid"]


@pytest.mark.parametrize("later", ["49170@c.us", "888@lid"])
async def test_what_follows_a_file_waits_for_it_also_where_its_number_is_learnt_meanwhile(
    bench: Bench, later: str
) -> None:
    bench.page.held = asyncio.Event()
    bench.it.handle("message", picture(1, id="false_888@lid_1", chat="888@lid"))
    await wait_until(lambda: bench.page.asked, "its file is fetched")
    bench.people.learn("888@lid", "49170@c.us")
    bench.it.handle("message", raw_message(2, chat=later))
    bench.it.handle("message", raw_message(3, id="false_49171@c.us_3", chat="49171@c.us"))
    assert (await bench.message()).chat == "49171@c.us"
    bench.page.held.set()
    assert [(await bench.message()).id[-1] for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize(
    "other",
    [
        {"id": "true_49171@c.us_3EB0", "chat": "49171@c.us"},  # one stem in two chats
        {"id": "false_49170@c.us_3EB0", "from_me": False, "sender": "49170@c.us"},  # an echoed id
    ],
)
async def test_a_stem_alone_keeps_nothing_back(bench: Bench, other: dict[str, Any]) -> None:
    bench.it.filter.sends("true_49170@c.us_3EB0")
    bench.it.handle("message", raw_message(1, **OWN | other))
    assert (await bench.message()).id == other["id"]


# ---- what was missed ----


CHAT = "49170@c.us"


async def test_what_was_backfilled_comes_before_what_comes_meanwhile(bench: Bench) -> None:
    bench.it.hold()
    bench.it.handle("message", raw_message(3))
    bench.it.hold_only({CHAT: 0})
    for number in (1, 2, 3):
        await bench.it.backfilled(raw_message(number), bench.at_hand())
    bench.it.handle("message", raw_message(4))
    bench.it.handle("ack", {"ids": ["true_c_1"], "chat": CHAT, "ack": 2})
    bench.it.release(CHAT)
    bench.it.handle("message", raw_message(5))
    found = [await bench.next() for _ in range(6)]
    assert isinstance(found.pop(4), Ack)  # its message may be one of those that were missed
    messages = [one for one in found if isinstance(one, InboundMessage)]
    assert [m.id[-1] for m in messages] == ["1", "2", "3", "4", "5"]
    assert [m.backfilled for m in messages] == [True, True, False, False, False]
    assert bench.emitted.empty()


@pytest.mark.parametrize("learnt", [False, True], ids=["known before", "learnt meanwhile"])
async def test_what_comes_in_a_chat_that_was_renamed_waits_too(
    bench: Bench, *, learnt: bool
) -> None:
    other = "888@lid" if learnt else "777@lid"
    bench.it.hold()
    bench.it.handle("message", raw_message(2, chat=other))
    if learnt:
        bench.people.learn(other, CHAT)
    bench.it.hold_only({CHAT: 0})
    bench.it.handle("message", raw_message(3, chat=other))
    for _ in range(10):
        await asyncio.sleep(0)
    await bench.it.backfilled(raw_message(1), bench.at_hand())
    bench.it.handle("message", raw_message(4))
    bench.it.release(CHAT)
    bench.it.handle("message", raw_message(5, chat=other))
    assert [(await bench.message()).id[-1] for _ in range(5)] == ["1", "2", "3", "4", "5"]


async def test_other_chats_do_not_wait(bench: Bench) -> None:
    bench.it.hold()
    bench.it.handle("message", raw_message(1, chat="other@c.us"))
    bench.it.handle("message", raw_message(2))
    bench.it.hold_only({CHAT: 0})
    bench.it.handle("message", raw_message(3, chat="other@c.us"))
    assert [(await bench.message()).id[-1] for _ in range(2)] == ["1", "3"]
    bench.it.release(CHAT)
    assert (await bench.message()).id[-1] == "2"


async def test_so_soon_after_a_pairing_no_status_is_fetched(
    bench: Bench,
) -> None:
    bench.it.filter._left_out, bench.it._file_limit = (), 2 * MEDIA_LIMIT
    bench.it.hold()
    bench.it.handle("message", raw_message(1))
    bench.it.hold_only({}, unread="status@broadcast")
    bench.it.handle("message", picture(2, chat="status@broadcast"))
    bench.it.handle("message", picture(3))
    got = [await bench.message() for _ in range(3)]
    assert [one.id[-1] for one in got] == ["1", "2", "3"]
    assert (got[1].media, got[1].media_error) == (None, "not fetched so soon after the pairing")
    assert got[2].media == b"file"
    bench.it.handle("message", picture(5, chat="status@broadcast", size=MEDIA_LIMIT + 1))
    await bench.it.decrypted(picture(6, chat="status@broadcast"), bench.at_hand())
    for _ in range(2):
        left = await bench.message()
        assert (left.deferred, left.media_error) == (False, got[1].media_error)
    bench.it.hold()
    bench.it.hold_only({})  # chats are read from now on, and statuses too
    bench.it.handle("message", picture(4, chat="status@broadcast"))
    assert (await bench.message()).media == b"file"


async def test_what_was_reported_is_not_reported_again(bench: Bench) -> None:
    bench.it.handle("message", raw_message(1))
    await bench.message()
    bench.it.hold_only({CHAT: 0})
    for number in (1, 2):
        await bench.it.backfilled(raw_message(number), bench.at_hand())
    bench.it.handle("message", raw_message(2))
    bench.it.release(CHAT)
    bench.it.release(CHAT)
    assert (await bench.message()).id.endswith("2")
    assert bench.emitted.empty()


async def test_what_was_backfilled_does_not_overtake_what_waits_for_a_file(bench: Bench) -> None:
    bench.page.held = asyncio.Event()
    bench.it.handle("message", picture(1))
    bench.it.handle("message", raw_message(2))
    await wait_until(lambda: bench.page.asked, "its file is asked for")
    reading = asyncio.create_task(bench.it.backfilled(raw_message(3), bench.at_hand()))
    other = raw_message(4, chat="49171@c.us", sender="49171@c.us")
    await bench.it.backfilled(other, bench.at_hand())
    bench.page.held.set()
    await reading
    got = [(await bench.message()).id[-1] for _ in range(4)]
    assert got == ["4", "1", "2", "3"]


async def test_what_was_backfilled_has_its_file(bench: Bench) -> None:
    await bench.it.backfilled(picture(1), bench.at_hand())
    assert (await bench.message()).media == b"file"


async def test_what_was_backfilled_and_cannot_be_read_is_reported(bench: Bench) -> None:
    await bench.it.backfilled(raw_message(1) | {"body": None}, bench.at_hand())
    await bench.it.backfilled(raw_message(2), bench.at_hand())
    assert isinstance(await bench.next(), MessageError)
    assert (await bench.message()).id[-1] == "2"


async def test_a_file_that_is_not_there_yet_is_asked_for_again(bench: Bench) -> None:
    """Who asks anew for what was missed ends what is being done; nothing of it may count as told."""
    page = bench.at_hand()
    bench.page.held = asyncio.Event()
    first = asyncio.create_task(bench.it.backfilled(picture(1), page))
    await wait_until(lambda: bench.page.asked, "the file is asked for")
    first.cancel()
    await asyncio.wait([first])
    bench.page.held.set()
    await bench.it.backfilled(picture(1), page)
    assert (await bench.message()).media == b"file"


async def test_a_chat_holds_more_than_messages(bench: Bench) -> None:
    await bench.it.backfilled(raw_message(1, kind="e2e_notification"), bench.at_hand())
    await bench.it.backfilled(raw_message(2, chat="status@broadcast"), bench.at_hand())
    await bench.it.backfilled(raw_message(3), bench.at_hand())
    assert (await bench.message()).id.endswith("3")


# ---- what happens beside messages ----

WHO = {"chat": "49170@c.us", "sender": "49170@c.us", "timestamp": 1_732_233_600}
EDIT = {"id": "e1", "message_id": "false_49170@c.us_1", "body": "new", **WHO}
REVOKE = {"id": "r1", "message_id": "false_49170@c.us_1", **WHO}
REACTION = {"id": "x1", "message_id": "false_49170@c.us_1", "text": "👍", **WHO}
CALL = {"id": "c1", "video": False, "group": False, **WHO}
HAPPENINGS = [("edit", EDIT), ("revoke", REVOKE), ("reaction", REACTION), ("call", CALL)]
ACK = {"ids": ["true_49170@c.us_9"], "chat": "49170@c.us", "ack": 3}


async def test_each_happening_is_reported_once_and_behind_what_came_before(bench: Bench) -> None:
    bench.page.held = asyncio.Event()
    bench.it.handle("message", picture(1))
    for kind, it in HAPPENINGS * 2:
        bench.it.handle(kind, it)
    bench.page.held.set()
    found = [await bench.next() for _ in range(5)]
    assert [type(it) for it in found] == [InboundMessage, Edit, Revoke, Reaction, IncomingCall]
    assert bench.emitted.empty()


async def test_an_edit_waits_with_its_message_for_what_was_backfilled(bench: Bench) -> None:
    bench.it.hold_only({CHAT: 0})
    bench.it.handle("message", raw_message(2))
    bench.it.handle("edit", EDIT)
    await bench.it.backfilled(raw_message(1), bench.at_hand())
    bench.it.release(CHAT)
    found = [await bench.next() for _ in range(3)]
    assert [it.id for it in found if isinstance(it, InboundMessage | Edit)] == [
        "false_49170@c.us_1",
        "false_49170@c.us_2",
        "e1",
    ]


def happen(inbound: Inbound) -> None:
    for kind, it in [*HAPPENINGS, ("ack", ACK)]:
        inbound.handle(kind, it)


async def test_what_waits_for_a_file_is_reported_at_the_end(bench: Bench) -> None:
    """No backfill brings what happens beside messages."""
    bench.page.held = asyncio.Event()
    bench.it.handle("message", picture(1))
    happen(bench.it)
    bench.it.handle("message", picture(2))
    await wait_until(lambda: bench.page.asked, "its file is asked for")
    bench.it.handle("ack", ACK)
    bench.it.handle("message", picture(3, chat="49171@c.us", size=MEDIA_LIMIT + 1))
    bench.page.held.set()  # it comes at the same moment
    bench.it.drain()
    bench.it.drain()
    found = [await bench.next() for _ in range(9)]
    happenings = [Edit, Revoke, Reaction, IncomingCall, Ack]
    kinds = [InboundMessage, *happenings, InboundMessage, Ack, InboundMessage]
    assert [type(one) for one in found] == kinds
    messages = [one for one in found if isinstance(one, InboundMessage)]
    assert [one.id[-1] for one in messages] == ["1", "2", "3"]
    assert [one.deferred for one in messages] == [True, True, False]
    bench.it.handle("message", raw_message(4))
    assert (await bench.message()).id[-1] == "4", "nothing twice, and none is lost until all ended"
    assert bench.emitted.empty()


async def test_what_waits_for_a_backfill_is_reported_at_the_end_without_its_messages(
    bench: Bench,
) -> None:
    """The next worker reads messages back, in order: a newer one would be the mark of its chat."""
    bench.it.hold()
    bench.it.handle("message", raw_message(2))
    happen(bench.it)
    bench.it.handle("message", raw_message(3, kind=POLL_VOTE, quoted_id="false_49170@c.us_0"))
    bench.it.drain()
    found = [await bench.next() for _ in range(6)]
    assert [type(one) for one in found[:5]] == [Edit, Revoke, Reaction, IncomingCall, Ack]
    assert isinstance(found[5], InboundMessage)
    assert found[5].kind == POLL_VOTE
    assert bench.emitted.empty()
    await bench.it.backfilled(raw_message(1), bench.at_hand())
    bench.it.hold_only({})
    assert [(await bench.message()).id[-1] for _ in range(2)] == ["1", "2"]
    assert bench.emitted.empty()


@pytest.mark.parametrize(("kind", "it"), HAPPENINGS)
async def test_what_happens_where_nothing_is_received_is_not_reported(
    kind: str, it: dict[str, Any]
) -> None:
    emitted: list[Incoming | BackfillGap] = []
    without_groups = Inbound(emitted.append, ("@g.us",))
    group = {"group": True} if kind == "call" else {"chat": "1-2@g.us"}
    without_groups.handle(kind, it | group)
    without_groups.handle(kind, it)
    assert without_groups._queue.qsize() == 1


@pytest.mark.parametrize(("kind", "it"), HAPPENINGS)
async def test_a_happening_that_makes_no_sense_is_reported(
    bench: Bench, kind: str, it: dict[str, Any]
) -> None:
    for odd in (None, {}, it | {"id": None}, it | {"chat": 1}):
        bench.it.handle(kind, odd)
        found = await bench.next()
        assert isinstance(found, MessageError)
        assert found.what == kind
    bench.it.handle(kind, it | {"timestamp": "soon"})
    found = await bench.next()
    assert not isinstance(found, Ack | MessageError | BackfillGap)
    assert time.time() - found.timestamp < 100
