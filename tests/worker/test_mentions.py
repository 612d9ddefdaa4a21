"""Who a message to a group names, and how its text shows them, by the real wa-js on the stand-in."""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.worker.browser_session import LONG, BrowserSession
from waguard.lab.standin import Policy, StandIn
from waguard.wire.calls import SendMedia, SendText, Sent
from waguard.worker.messages import sending

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]
PHONE = "6281180001"
OWN_LID = f"9{PHONE}"
EARLY, EARLY_LID = (
    "6281180003",
    "710000000000003",
)  # the page knows whose LID it is, not the reverse
numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[BrowserSession]:
    policy = Policy(sync=0.1, reconnect_delay=0.05, lids={EARLY_LID: EARLY})
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=policy) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            await made.pair(PHONE)
            yield made
            await made.close()


async def drained(browser: BrowserSession) -> None:
    async with asyncio.timeout(LONG):
        while browser.standin.phone.state()["accounts"][PHONE][0]["queued"]:
            await asyncio.sleep(0.01)
    await browser.page.read(timeout=LONG)  # what the stanza does is done


async def person(browser: BrowserSession, *, known: bool = True) -> tuple[str, str]:
    """Somebody new: number and LID, as digits."""
    digits, lid = f"62823{next(numbers):05}", f"7100{next(numbers):011}"
    browser.standin.phone.migrate(digits, lid, known=known)
    await drained(browser)
    return digits, lid


async def group(browser: BrowserSession, *participants: str) -> str:
    made = f"120363{next(numbers):012}@g.us"
    browser.standin.phone.group(made, list(participants))
    await drained(browser)
    return made


def text(chat: str, body: str, *mentions: str, **options: Any) -> SendText:
    number = f"true_{chat}_3EB0{next(numbers):04}"
    return SendText(
        chat=chat, text=body, mentions=mentions, message_id=number, timeout=LONG, **options
    )


def media(chat: str, body: str, *mentions: str, **options: Any) -> SendMedia:
    return SendMedia(
        chat=chat,
        caption=body,
        content=b"a file",
        mimetype="application/pdf",
        kind="document",
        filename="a.pdf",
        mentions=mentions,
        message_id=f"true_{chat}_3EB0{next(numbers):04}",
        timeout=LONG,
        **options,
    )


async def received(browser: BrowserSession, call: SendText | SendMedia) -> tuple[str, list[str]]:
    """What the group gets when it is sent: the text, and whom it names."""
    answer = await sending.send(browser.page, call)
    assert isinstance(answer, Sent), answer
    assert (answer.outcome, answer.message_id) == ("sent", call.message_id)
    stem = call.message_id.split("_")[2]
    [sent] = [m for m in browser.standin.phone.messages(PHONE) if m["id"].split("_")[2] == stem]
    shown = sent["caption"] if isinstance(call, SendMedia) else sent["body"]
    return shown, sent.get("mentionedJidList", [])


def addressed(browser: BrowserSession) -> list[str]:
    """Whom the last message notifies, and links to."""
    sent = [m for m in browser.standin.phone.messages(PHONE) if m["direction"] == "out"]
    return list(sent[-1]["addressed"])


@pytest.mark.parametrize("make", [text, media])
async def test_a_number_is_mentioned_under_the_lid_that_the_group_knows(
    browser: BrowserSession, make: Any
) -> None:
    (ann, ann_lid), (bob, bob_lid) = await person(browser), await person(browser)
    chat = await group(browser, f"{ann_lid}@lid", f"{bob_lid}@lid", EARLY)
    call = make(chat, f"@{ann}, @{bob}: ask @{ann}9", f"{ann}@c.us", f"{bob}@c.us")
    assert await received(browser, call) == (
        f"@{ann_lid}, @{bob_lid}: ask @{ann}9",
        [f"{ann_lid}@lid", f"{bob_lid}@lid"],
    )
    assert addressed(browser) == [f"{ann_lid}@lid", f"{bob_lid}@lid"]


@pytest.mark.parametrize("make", [text, media])
async def test_who_is_only_in_the_text_is_found_by_the_number_too(
    browser: BrowserSession, make: Any
) -> None:
    (ann, ann_lid), (_, bob_lid) = await person(browser), await person(browser)
    chat = await group(browser, f"{ann_lid}@lid", f"{bob_lid}@lid", EARLY)
    shown, named = await received(browser, make(chat, f"@{ann} @{EARLY} @{bob_lid} @628999 @5"))
    assert shown == f"@{ann_lid} @{EARLY} @{bob_lid} @628999 @5"
    assert named == [f"{ann_lid}@lid", f"{EARLY}@c.us", f"{bob_lid}@lid"]


async def test_a_group_of_numbers_gets_numbers(browser: BrowserSession) -> None:
    (ann, ann_lid), (bob, bob_lid) = await person(browser), await person(browser)
    chat = await group(browser, ann, bob)
    call = text(chat, f"@{ann} @{bob_lid}", f"{ann}@c.us", f"{bob_lid}@lid")
    assert await received(browser, call) == (f"@{ann} @{bob}", [f"{ann}@c.us", f"{bob}@c.us"])
    # shown under the other id than it is given under
    call = text(chat, f"@{ann_lid}", f"{ann}@c.us")
    assert await received(browser, call) == (f"@{ann}", [f"{ann}@c.us"])
    assert addressed(browser) == [f"{ann}@c.us"]


async def test_we_and_whoever_the_page_knows_one_way_only(browser: BrowserSession) -> None:
    chat = await group(browser, f"{EARLY_LID}@lid", f"{OWN_LID}@lid")
    await person(browser)  # an account has a LID as soon as any of its chats is migrated
    call = text(chat, f"@{EARLY} @{PHONE}", f"{EARLY}@c.us", f"{PHONE}@c.us")
    assert await received(browser, call) == (
        f"@{EARLY_LID} @{OWN_LID}",
        [f"{EARLY_LID}@lid", f"{OWN_LID}@lid"],
    )


@pytest.mark.parametrize("make", [text, media])
async def test_who_is_not_of_the_group_is_mentioned_as_given(
    browser: BrowserSession, make: Any
) -> None:
    (ann, ann_lid), (bob, bob_lid) = await person(browser), await person(browser)
    chat = await group(browser, f"{ann_lid}@lid")
    call = make(chat, f"@{ann} @{bob} @{bob_lid}", f"{bob}@c.us", f"{ann}@c.us")
    assert await received(browser, call) == (
        f"@{ann_lid} @{bob} @{bob_lid}",
        [f"{bob}@c.us", f"{ann_lid}@lid"],
    )
    assert addressed(browser) == [f"{ann_lid}@lid"]


@pytest.mark.parametrize("make", [text, media])
async def test_where_the_participants_cannot_be_read_it_is_sent_as_given(
    browser: BrowserSession, make: Any
) -> None:
    ann, _ = await person(browser)
    chat = "120363999999999999@g.us"  # the server says nothing of it
    call = make(chat, f"@{ann}", f"{ann}@c.us")
    assert await received(browser, call) == (f"@{ann}", [f"{ann}@c.us"])
    assert await received(browser, make(chat, f"@{ann}")) == (f"@{ann}", [])


@pytest.mark.parametrize("make", [text, media])
async def test_a_private_chat_gets_what_was_given(browser: BrowserSession, make: Any) -> None:
    (ann, _), (bob, _) = await person(browser), await person(browser)
    call = make(f"{ann}@c.us", f"@{bob}", f"{bob}@c.us")
    assert await received(browser, call) == (f"@{bob}", [f"{bob}@c.us"])


async def test_what_the_daemon_knows_of_people_counts_where_the_page_says_nothing(
    browser: BrowserSession,
) -> None:
    (ann, ann_lid), (_, bob_lid) = await person(browser, known=False), await person(browser)
    chat = await group(browser, f"{ann_lid}@lid", f"{bob_lid}@lid")
    call = text(chat, f"@{ann}", f"{ann}@c.us")
    assert await received(browser, call) == (f"@{ann}", [f"{ann}@c.us"])
    call = text(
        chat, f"@{ann}", f"{ann}@c.us", aliases={f"{ann}@c.us": ("7199@lid", f"{ann_lid}@lid")}
    )
    assert await received(browser, call) == (f"@{ann_lid}", [f"{ann_lid}@lid"])
    # the page says that this LID is Bob's by now
    call = text(chat, f"@{EARLY}", f"{EARLY}@c.us", aliases={f"{EARLY}@c.us": (f"{bob_lid}@lid",)})
    assert await received(browser, call) == (f"@{EARLY}", [f"{EARLY}@c.us"])


async def newest(browser: BrowserSession, kind: str, **fields: Any) -> dict[str, Any]:
    """What the hook told, with these fields."""
    async with asyncio.timeout(LONG):
        while True:
            for name, data in browser.reports:
                if name == kind and fields.items() <= data.items():
                    return dict(data)
            await asyncio.sleep(0.01)


async def test_the_lids_that_a_text_shows_are_reported_and_who_they_are_before(
    browser: BrowserSession,
) -> None:
    (_, ann_lid), (_, bob_lid) = await person(browser), await person(browser, known=False)
    chat = await group(browser, f"{ann_lid}@lid", f"{bob_lid}@lid")
    phone = browser.standin.phone
    shown = [f"{ann_lid}@lid", f"{bob_lid}@lid"]
    mentions = {"mentionedJidList": [*shown, f"{EARLY}@c.us", f"{EARLY_LID}@lid"]}
    body = f"@{ann_lid} and @{bob_lid} and @{EARLY}"
    browser.reports.clear()
    first = phone.incoming(from_=chat, author="6281180009", body=body, attributes=mentions)["id"]
    assert (await newest(browser, "message", id=first))["mentioned"] == shown
    kinds = [kind for kind, data in browser.reports if f"{ann_lid}@lid" in str(data)]
    assert kinds[:2] == ["people", "message"]
    file = {"mimetype": "text/plain", "base64": "aGVsbG8="}
    more: dict[str, Any] = {"media": file, "attributes": mentions}
    second = phone.incoming(from_=chat, author="6281180009", body=body, **more)["id"]
    assert (await newest(browser, "message", id=second))["mentioned"] == shown
    phone.edit(first, f"now @{ann_lid} alone")
    assert (await newest(browser, "edit", message_id=first))["mentioned"] == shown[:1]
    plain = phone.incoming(from_=chat, author="6281180009", body=body)["id"]
    assert (await newest(browser, "message", id=plain))["mentioned"] == []
