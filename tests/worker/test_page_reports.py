"""Whatever a page tells: nothing raises, and all that comes of it can be encoded and is bounded."""

import asyncio
import contextlib
import json
import math
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.host.processes import worker_spec
from waguard.core.link import link_of
from waguard.errors import TooLargeError
from waguard.wire import qr
from waguard.wire.calls import CatchUp
from waguard.wire.events import (
    Ack,
    BackfillGap,
    Edit,
    Event,
    InboundMessage,
    Incoming,
    Lasting,
    MessageError,
    Undecryptable,
)
from waguard.wire.protocol import FromWorker
from waguard.wire.reports import Report
from waguard.worker.browser.devtools import EvaluationError, PageSession
from waguard.worker.messages.backfill import Backfill
from waguard.worker.messages.inbound import Inbound
from waguard.worker.messages.sending import evaluate as outcome_of
from waguard.worker.page import page_reports as under_test
from waguard.worker.page.link_watch import LinkWatch
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_errors import NotSendableError
from waguard.worker.page.page_reports import KINDS, TEXT_LIMIT, asked, people, read
from waguard.worker.page.values import LARGEST
from waguard.worker.page_events import PageEvents
from waguard.worker.profile_care import ProfileCare
from waguard.worker.running_backfill import RunningBackfill
from waguard.worker.worker_context import WorkerContext

NOW = 1_732_233_600.0
MESSAGE = {
    "id": "false_49170@c.us_1",
    "chat": "49170@c.us",
    "sender": "49170@c.us",
    "to": "49151@c.us",
    "body": "text",
    "timestamp": 1_732_000_000,
    "from_me": False,
    "kind": "document",
    "mimetype": "application/pdf",
    "size": 10,
}
FIELDS = [
    *MESSAGE,
    *("sender_name", "group_name", "caption", "filename", "quoted_id", "message_id", "text"),
    *("video", "group", "ack", "ids", "error", "raw", "subtype", "mentioned", "participants"),
]

texts = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["", "\ud83d", "\0", "x" * 70_000, "49170@c.us", "true_49170@c.us_1", "status@broadcast"]
)
numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**53, 2**63, 2**64, -(2**64), 10**400, 1e300, -0.0, 1e999])
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(FIELDS), anything)
# one or two odd fields: with more of them hardly anything is read at all
RIGHT = MESSAGE | {"message_id": "m", "ids": ["a"], "ack": 1, "text": "👍"}
odd_fields = st.dictionaries(st.sampled_from(FIELDS), numbers | texts | anything, max_size=2)
NUMBERS = ("size", "timestamp", "ack")
WRITTEN = ("body", "caption", "sender_name", "filename", "mimetype", "text")
odd_values = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(NUMBERS, numbers) | dict.fromkeys(WRITTEN, texts)
)
nearly_right = (odd_values | odd_fields).map(lambda odd: RIGHT | odd)
reported = nearly_right | objects | anything


def encoded(item: Lasting) -> Any:
    """As the daemon reads it."""
    frame = msgspec.msgpack.encode(Event(seq=1, at=NOW, body=item))
    assert len(frame) < 1_000_000
    event = msgspec.msgpack.decode(frame, type=FromWorker)
    assert isinstance(event, Event)
    return event.body


@settings(max_examples=500)
@given(kind=st.sampled_from(sorted(KINDS)), it=nearly_right | reported)
def test_whatever_is_reported_can_be_passed_on(kind: str, it: Any) -> None:
    inbound = Inbound(lambda _: None, ("@broadcast",))
    inbound.handle(kind, it)
    for item in read(kind, it, now=NOW):
        assert encoded(item) == item


@given(messages=st.lists(reported, max_size=3))
def test_whatever_is_read_back_can_be_passed_on(messages: list[Any]) -> None:
    emitted: list[Incoming | BackfillGap] = []

    class Page:
        async def media(self, message_id: str, limit: int) -> bytes:
            return b"file"

    async def read_back() -> None:
        inbound = Inbound(emitted.append)
        for one in messages:
            await inbound.backfilled(one, cast("WhatsAppPage", Page()))

    asyncio.run(read_back())
    for item in emitted:
        assert encoded(item) == item


class Session:
    """A page that answers everything with the same."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def evaluate(self, expression: str, *, timeout: float) -> Any:
        return self._answer


def page_that_reports(answer: Any, heard: list[tuple[str, Any]] | None = None) -> WhatsAppPage:
    def report(kind: str, data: Any) -> None:
        if heard is not None:
            heard.append((kind, data))

    return WhatsAppPage(cast("PageSession", Session(answer)), report=report)


ANSWERS = ["authenticated", "mode", "info", "socket", "code", "me", "full"]
ANSWERS += ["refused", "ack", "result", "at", "chats", "messages"]
readings = st.dictionaries(
    st.sampled_from(ANSWERS),
    anything | st.lists(st.tuples(texts, numbers).map(list), max_size=3),
)


codes = st.text(max_size=50) | st.sampled_from(["", "\0", "2@a,b,c,d", "é" * 999, "😀" * 999])
shown = st.fixed_dictionaries({"authenticated": st.just(value=False), "code": codes})


@given(answer=anything | readings | shown)
@example(answer={"authenticated": False, "mode": "QR", "socket": "UNPAIRED", "code": "2@a\n,b"})
def test_whatever_the_page_answers_is_an_answer(answer: Any) -> None:
    async def ask() -> None:
        page = page_that_reports(answer)
        watch = LinkWatch()
        reading = await page.read(timeout=1)
        link_of(reading.facts)
        watch.apply(reading)
        report = Report(
            session="s",
            generation=1,
            phase="ready",
            link=watch.link,
            phone=watch.phone,
            qr=watch.qr,
            details=watch.details,
            socket=watch.socket,
        )
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=FromWorker) == report
        assert reading.code is None or qr.data_url(reading.code)
        with contextlib.suppress(NotSendableError):
            sent = await page.send("sendText", "c", "t", {}, timeout=1)
            assert sent.ack is None or -1 <= sent.ack <= 4
            msgspec.msgpack.encode(outcome_of(sent, "id", int(NOW)))
        found = await page.ack_of("id")
        assert found is None or -1 <= found <= 4
        await page.exists("c")
        msgspec.msgpack.encode(await page.pairing_code("1"))
        with contextlib.suppress(EvaluationError):
            for chat, newest in await page.chats():
                assert chat is None or 0 < len(chat) <= 128
                assert newest is None or newest >= 0
        with contextlib.suppress(EvaluationError):
            await page.history("c", None, 5)
        with contextlib.suppress(EvaluationError, ValueError, TooLargeError):
            await page.media("id", 5)

    asyncio.run(ask())


@given(pages=st.lists(st.lists(reported, max_size=5), max_size=4), chats=anything)
def test_whatever_is_in_the_chats_reading_them_ends_and_finds_no_bug(
    pages: list[Any], chats: Any
) -> None:
    emitted: list[Incoming | BackfillGap] = []

    class Chats:
        async def chats(self) -> list[tuple[str | None, int | None]]:
            listed = chats if isinstance(chats, list) else [chats]
            page = page_that_reports({"chats": [["49170@c.us", None], *listed]})
            return await page.chats()

        async def history(self, chat: str, before: str | None, count: int) -> list[Any]:
            return pages.pop() if pages else []

        async def media(self, message_id: str, limit: int) -> bytes:
            return b"file"

    async def room() -> None:
        return

    async def read_back() -> None:
        it = Backfill(Inbound(emitted.append), gap=emitted.append, room=room)
        await it.run(cast("WhatsAppPage", Chats()), CatchUp(since={}, floor=5), ())

    asyncio.run(read_back())
    for item in emitted:
        assert encoded(item) == item
        assert not isinstance(item, BackfillGap) or "a bug" not in item.why


@pytest.mark.parametrize("answer", ["AAAAAAAAAAAA", None, 7, "no base64"])
async def test_what_is_no_file_or_too_large_a_one_is_refused(answer: Any) -> None:
    with pytest.raises((EvaluationError, ValueError, TooLargeError)):
        await page_that_reports(answer).media("id", 5)


@given(payload=st.text() | anything.map(lambda it: json.dumps({"kind": it, "data": it})))
def test_whatever_the_binding_is_called_with(payload: str) -> None:
    async def call() -> None:
        page_that_reports(None)._on_binding(payload)

    asyncio.run(call())


@pytest.mark.parametrize("payload", ["", "[]", "{", '{"kind": 1}', "[" * 100_000, "9" * 5_000])
async def test_a_binding_that_is_called_with_nonsense_says_nothing(payload: str) -> None:
    heard: list[tuple[str, Any]] = []
    page = page_that_reports(None, heard)
    page._on_binding(payload)
    page._on_binding('{"kind": "ack", "data": null}')
    assert heard == [("ack", None)]


WORDS = [
    *KINDS,
    "storage_closed",
    "logout_reason",
    "logout",
    "settling",
    "qr_idle",
    "passkey",
    "loaded",
]


class Care:
    """Of a profile that nobody has."""

    def disown(self) -> None:
        pass


@given(kind=st.sampled_from(WORDS) | st.text(max_size=5), it=reported)
def test_whatever_the_hook_says_the_worker_lives(kind: str, it: Any) -> None:
    async def hear() -> None:
        ctx = WorkerContext.of(worker_spec(Path("/nowhere")))
        events = PageEvents(ctx, cast("ProfileCare", Care()), RunningBackfill(ctx))
        ctx.inbound.hold_only({})
        events.handle("logout_reason", it)
        events.handle(kind, it)
        events.handle("logout", it)
        for event in ctx.daemon.unstored:
            encoded(event.body)

    asyncio.run(hear())


# ---- what becomes of single fields ----


def message(**fields: Any) -> InboundMessage:
    (found,) = read("message", MESSAGE | fields, now=NOW)
    assert isinstance(found, InboundMessage)
    return found


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (10, 10),
        (10.9, 10),
        (0, 0),
        (2**64, LARGEST),
        (1e300, LARGEST),
        (-1, None),
        (math.nan, None),
        (math.inf, None),
        ("10", None),
        (True, None),
        (None, None),
        ([1], None),
    ],
)
def test_a_size_is_kept_only_within_its_bounds(value: Any, kept: int | None) -> None:
    assert message(size=value).size == kept


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1_732_000_000, 1_732_000_000),
        (1_732_000_000_123, 1_732_000_000),
        (1_732_000_000.5, 1_732_000_000),
        (0, NOW),
        (-5, NOW),
        (2**64, NOW),
        (math.nan, NOW),
        ("soon", NOW),
        (None, NOW),
    ],
)
def test_a_time_is_kept_only_within_its_bounds(value: Any, kept: float) -> None:
    assert message(timestamp=value).timestamp == kept


def test_texts_are_kept_as_far_as_their_limits_go() -> None:
    long = "😀" * 70_000
    found = message(body=long, caption=long, sender_name=long, filename=long, kind=long)
    assert found.body == "😀" * TEXT_LIMIT + under_test.CUT == found.caption
    assert message(body="x" * TEXT_LIMIT).body == "x" * TEXT_LIMIT
    assert (found.sender_name, found.filename) == ("😀" * 256, "😀" * 1_024)
    assert found.kind == "😀" * 128


def test_an_id_is_never_cut() -> None:
    """Two that agree at their beginnings would be one message."""
    long, chat = "x" * 256, "y" * 128
    found = message(id=long, chat=chat, quoted_id=long)
    assert (found.id, found.chat, found.quoted_id) == (long, chat, long)
    (ack,) = read("ack", {"ack": 3, "chat": chat, "ids": [long]}, now=NOW)
    assert ack == Ack(ids=(long,), chat=chat, ack=3)


def test_what_is_optional_and_odd_is_left_out() -> None:
    found = message(sender=5, to={}, kind=None, sender_name=[], mimetype=1, quoted_id="x" * 300)
    assert (found.sender, found.to, found.kind) == ("49170@c.us", "", "unknown")
    assert (found.sender_name, found.mimetype, found.quoted_id) == (None, None, None)
    assert found.body == "text"


@pytest.mark.parametrize("kind", ["message", "edit"])
@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (["7000001@lid", 5, "x" * 129, "", "7000002@lid"], ("7000001@lid", "7000002@lid")),
        (["7000001@lid"] * 2_000, ("7000001@lid",) * 1_024),
        ("7000001@lid", ()),
        (None, ()),
    ],
)
def test_whom_a_text_mentions(kind: str, value: object, kept: tuple[str, ...]) -> None:
    [found] = read(kind, MESSAGE | {"message_id": "m", "mentioned": value}, now=NOW)
    assert isinstance(found, InboundMessage | Edit)
    assert found.mentioned == kept


def test_who_is_in_a_group() -> None:
    found = message(participants=["7000001@lid", None, "x" * 129, "49170@c.us"])
    assert found.participants == ("7000001@lid", "49170@c.us")
    assert len(message(participants=["49170@c.us"] * 2_000).participants) == 1_024
    assert message(participants={"49170@c.us": 1}).participants == ()


@pytest.mark.parametrize("subtype", [None, "fanout", "bot_orphan", [], {"a": 1}, 7])
def test_a_message_that_cannot_be_decrypted_is_no_message(subtype: object) -> None:
    sealed = MESSAGE | {"kind": "ciphertext", "subtype": subtype, "body": 7}
    assert read("message", sealed, now=NOW) == (
        Undecryptable(
            id="false_49170@c.us_1",
            chat="49170@c.us",
            sender="49170@c.us",
            timestamp=1_732_000_000,
        ),
    )


def test_what_only_the_phone_shows_is_an_error() -> None:
    sealed = MESSAGE | {"kind": "ciphertext", "subtype": "view_once_unavailable_fanout"}
    (found,) = read("message", sealed, now=NOW)
    assert isinstance(found, MessageError)
    assert (found.id, found.chat) == (MESSAGE["id"], MESSAGE["chat"])
    assert "on the phone only" in found.error


def test_what_cannot_be_read_is_kept_as_it_came_as_far_as_it_is_wanted() -> None:
    (found,) = read("message", MESSAGE | {"id": 7, "body": "x" * 20_000}, now=NOW)
    assert isinstance(found, MessageError)
    assert found.id is None
    assert found.raw.startswith('{"id": 7, "chat": "49170@c.us"')
    assert len(found.raw) == under_test.RAW_LIMIT
    (same,) = read("message", MESSAGE | {"id": 7, "body": "x" * 20_000}, now=NOW + 60)
    assert same == found


@pytest.mark.parametrize(("value", "kept"), [(-1, -1), (-2, -1), (0, 0), (4, 4), (2.0, 2)])
def test_an_ack_is_kept_only_within_its_bounds(value: Any, kept: int) -> None:
    assert read("ack", {"ids": ["a", 1, "b"], "chat": "c", "ack": value}, now=NOW) == (
        Ack(ids=("a", "b"), chat="c", ack=kept),
    )


def test_an_ack_of_a_thousand_messages_is_reported_in_parts() -> None:
    ids = [f"true_c_{number}" for number in range(1_001)]
    found = read("ack", {"ids": ids, "chat": "c", "ack": 3}, now=NOW)
    assert [len(one.ids) for one in found if isinstance(one, Ack)] == [500, 500, 1]


@pytest.mark.parametrize(
    "odd", [{"ack": 5}, {"ack": "3"}, {"ack": None}, {"ids": "a"}, {"ids": [1]}, {"ids": []}]
)
def test_an_ack_that_says_nothing(odd: dict[str, Any]) -> None:
    (found,) = read("ack", {"ids": ["a"], "chat": "c", "ack": 1} | odd, now=NOW)
    assert isinstance(found, MessageError)
    assert found.chat == "c"


def test_what_a_page_throws_is_bounded() -> None:
    error = EvaluationError("\ud83d" + "x" * 100_000)
    assert len(error.text) == 2_000
    error.text.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"asked": {"number": "49@c.us", "exists": False}}, (("49@c.us", False),)),
        ({"asked": {"number": "49@c.us", "exists": "no"}}, ()),
        ({"asked": {"number": "7@lid", "exists": True}}, ()),
        ({"asked": {"number": "4" * 200 + "@c.us", "exists": True}}, ()),
        ({"asked": {"exists": True}}, ()),
        ({"asked": None}, ()),
        (None, ()),
    ],
)
def test_of_a_number_only_a_clear_answer_is_taken(value: object, expected: object) -> None:
    assert asked(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"pairs": [["7@lid", "49@c.us"], ["8@lid", "50@c.us"]]}, 2),
        (
            {"pairs": [["7@lid", "49@c.us"], ["49@c.us", "7@lid"], ["7@lid"], "odd", None, [1, 2]]},
            1,
        ),
        ({"pairs": [["7@lid", "49@c.us", "50@c.us"], ["7@lid", "x" * 200 + "@c.us"]]}, 0),
        ({"pairs": "odd"}, 0),
        ({}, 0),
        (None, 0),
    ],
)
def test_of_people_only_a_lid_and_its_number_are_taken(value: object, expected: int) -> None:
    assert people(value) == [("7@lid", "49@c.us"), ("8@lid", "50@c.us")][:expected]
