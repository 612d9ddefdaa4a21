"""Edits, revokes, reactions, votes, calls and what messages have beside their text, as the real wa-js tells them to the page's hook."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.waiting import wait_until
from tests.worker.browser_session import LONG, BrowserSession
from waguard.core.messages.content import decoded
from waguard.core.messages.message_ids import parse
from waguard.errors import TooLargeError
from waguard.lab.standin import Policy, StandIn
from waguard.wire.events import InboundMessage
from waguard.worker.page import page_reports

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]
FRIEND, HIDDEN, GROUP = "62812", "777000@lid", "12036300000001@g.us"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[BrowserSession]:
    """Connected. The page knows which number is behind a LID."""
    policy = Policy(sync=0.1, reconnect_delay=0.05, lids={"777000": FRIEND})
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=policy) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            await made.pair("6281180001")
            yield made
            await made.close()


async def newest(browser: BrowserSession, kind: str, **fields: Any) -> dict[str, Any]:
    """The newest of this kind, with these fields."""

    def fitting() -> list[dict[str, Any]]:
        found = [data for name, data in browser.reports if name == kind]
        return [d for d in found if all(d[key] == value for key, value in fields.items())]

    return (await wait_until(fitting, f"the page tells a {kind}", deadline=LONG))[-1]


async def incoming(browser: BrowserSession, **fields: Any) -> str:
    message_id = browser.standin.phone.incoming(**fields)["id"]
    await newest(browser, "message", id=message_id)
    return message_id


@pytest.mark.parametrize(
    ("where", "chat"),
    [
        ({"from_": FRIEND}, f"{FRIEND}@c.us"),
        ({"from_": HIDDEN}, HIDDEN),
        ({"from_": GROUP, "author": FRIEND}, GROUP),
        ({"from_": GROUP, "author": HIDDEN}, GROUP),
    ],
    ids=["chat", "lid", "group", "lid in a group"],
)
async def test_edit_reaction_and_revoke(
    browser: BrowserSession, where: dict[str, str], chat: str
) -> None:
    phone = browser.standin.phone
    message_id = await incoming(browser, body="first", **where)
    edit = phone.edit(message_id, "second")["id"]
    reaction = phone.react(message_id, "👍")["id"]
    taken_back = phone.react(message_id, "")["id"]
    revoke = phone.revoke(message_id)["id"]
    common = {"message_id": message_id, "chat": chat, "sender": f"{FRIEND}@c.us"}
    assert (await newest(browser, "edit", id=edit, **common))["body"] == "second"
    assert (await newest(browser, "reaction", id=reaction, **common))["text"] == "👍"
    assert (await newest(browser, "reaction", id=taken_back, **common))["text"] == ""
    last = await newest(browser, "revoke", id=revoke, **common)
    sent_at = (await newest(browser, "message", id=message_id))["timestamp"]
    assert 0 <= last["timestamp"] - sent_at < LONG
    assert not [d for kind, d in browser.reports if kind == "message" and d["id"] == revoke]


async def test_a_caption_is_edited(browser: BrowserSession) -> None:
    media = {"mimetype": "image/png", "base64": "AAAA"}
    message_id = await incoming(browser, from_=FRIEND, body="look", media=media)
    edit = browser.standin.phone.edit(message_id, "look here")["id"]
    assert (await newest(browser, "edit", id=edit))["body"] == "look here"


async def test_half_an_emoji_is_reported_as_what_can_be_stored(browser: BrowserSession) -> None:
    """It would end the worker, and again as soon as the message is read back."""
    message_id = await incoming(browser, from_=FRIEND, body="cut \ud83d", name="A\udc4d")
    found = await newest(browser, "message", id=message_id)
    assert (found["body"], found["sender_name"]) == ("cut \ufffd", "A\ufffd")


async def test_a_file_that_is_larger_than_it_was_said_to_be(browser: BrowserSession) -> None:
    media = {"mimetype": "image/png", "base64": "AAAA"}
    message_id = await incoming(browser, from_=FRIEND, body="look", media=media)
    assert await browser.page.media(message_id, 3) == bytes(3)
    with pytest.raises(TooLargeError, match="the file has 3 bytes, the limit is 2"):
        await browser.page.media(message_id, 2)


@pytest.mark.parametrize(("video", "group"), [(False, False), (True, True)])
async def test_a_call_is_reported_with_its_kind(
    browser: BrowserSession, *, video: bool, group: bool
) -> None:
    call = browser.standin.phone.call(HIDDEN, video=video, group=group)["id"]
    found = await newest(browser, "call", id=call, chat=HIDDEN, sender=f"{FRIEND}@c.us")
    assert (found["video"], found["group"]) == (video, group)
    assert found["timestamp"] > 1_700_000_000


async def test_what_happens_while_the_page_is_offline_comes_later(browser: BrowserSession) -> None:
    message_id = await incoming(browser, from_=FRIEND, body="first")
    browser.standin.phone.drop()
    edit = browser.standin.phone.edit(message_id, "second")["id"]
    async with asyncio.timeout(LONG):
        await newest(browser, "edit", id=edit)


CONTENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "location": (
        {
            "type": "location",
            "body": "/9j/thumbnail",
            "lat": -6.2,
            "lng": 106.8,
            "loc": "Monas\nJakarta",
        },
        {"location": {"latitude": -6.2, "longitude": 106.8, "name": "Monas", "address": "Jakarta"}},
    ),
    "contact": (
        {"type": "vcard", "body": "BEGIN:VCARD", "vcardFormattedName": "Ani"},
        {"vcard": {"contacts": [{"name": "Ani", "vcard": "BEGIN:VCARD"}]}},
    ),
    "contacts": (
        {"type": "multi_vcard", "vcardList": [{"displayName": "Ani", "vcard": "BEGIN:VCARD"}]},
        {"multi_vcard": {"contacts": [{"name": "Ani", "vcard": "BEGIN:VCARD"}]}},
    ),
    "button": (
        {"type": "buttons_response", "body": "Yes", "selectedButtonId": "b1"},
        {"buttons_response": {"id": "b1", "text": "Yes"}},
    ),
    "template": (
        {"type": "template_button_reply", "body": "Yes", "selectedId": "t1"},
        {"template_button_reply": {"id": "t1", "text": "Yes"}},
    ),
    "list": (
        {
            "type": "list_response",
            "body": "Red",
            "listResponse": {
                "title": "Red",
                "description": "of all",
                "singleSelectReply": {"selectedRowId": "r1"},
            },
        },
        {"list_response": {"id": "r1", "text": "Red", "description": "of all"}},
    ),
    "order": (
        {
            "type": "order",
            "orderId": "7",
            "orderTitle": "Rice",
            "itemCount": 2,
            "totalAmount1000": 5000,
            "totalCurrencyCode": "IDR",
        },
        {"order": {"id": "7", "title": "Rice", "items": 2, "total_1000": 5000, "currency": "IDR"}},
    ),
    "product": (
        {
            "type": "product",
            "body": "/9j/" + "thumbnail" * 9,
            "productId": "8",
            "title": "Rice",
            "priceAmount1000": 5000,
            "currencyCode": "IDR",
        },
        {"product": {"id": "8", "title": "Rice", "price_1000": 5000, "currency": "IDR"}},
    ),
    "invite": (
        {
            "type": "groups_v4_invite",
            "inviteGrpName": "Choir",
            "inviteCode": "abc",
            "inviteCodeExp": 1_800_000_000,
        },
        {"groups_v4_invite": {"name": "Choir", "code": "abc", "expires_at": 1_800_000_000}},
    ),
    "event": (
        {"type": "event_creation", "eventName": "Party", "eventStartTime": 1_800_000_000},
        {"event_creation": {"name": "Party", "starts_at": 1_800_000_000}},
    ),
    "advertisement": (
        {
            "type": "chat",
            "body": "hello",
            "ctwaContext": {"title": "Buy", "sourceUrl": "https://fb.me/1", "thumbnail": "/9j/"},
        },
        {"ad": {"title": "Buy", "url": "https://fb.me/1"}},
    ),
    "preview": (
        {
            "type": "chat",
            "body": "see a.example",
            "matchedText": "a.example",
            "title": "A",
            "description": "of a",
        },
        {"preview": {"title": "A", "text": "of a", "url": "a.example"}},
    ),
    "once": ({"type": "chat", "body": "x", "isViewOnce": True}, {"view_once": True}),
    "sticker": ({"type": "sticker", "isAnimated": True}, {"sticker": {"animated": True}}),
    "unknown": (
        {"type": "hologram", "footer": "see", "mediaKey": "s3cret"},
        {"raw": {"footer": "see", "type": "hologram"}},
    ),
}


@pytest.mark.parametrize("name", CONTENTS)
async def test_what_a_message_has_beside_its_text(browser: BrowserSession, name: str) -> None:
    attributes, content = CONTENTS[name]
    message_id = await incoming(browser, from_=FRIEND, attributes={"body": "", **attributes})
    read = page_reports.read("message", await newest(browser, "message", id=message_id), now=0.0)
    (found,) = read
    assert isinstance(found, InboundMessage)
    said = decoded(found.content)
    if "raw" in said:
        said["raw"] = {key: said["raw"].get(key) for key in content["raw"]} | {
            key: value for key, value in said["raw"].items() if "key" in key.lower()
        }
    assert said == content
    assert "thumbnail" not in found.body


CARD = "BEGIN:VCARD\r\nPHOTO;BASE64:AAAA\r\n BBBB\r\nFN:Ani\r\nEND:VCARD\r\n"
ODD: dict[str, tuple[str, dict[str, Any]]] = {
    "a cycle": ("order", {"orderId": "CYCLE", "orderTitle": "Rice"}),
    "a number without end": ("order", {"orderId": "BIGINT", "orderTitle": "Rice"}),
    "a deep one": (
        "order",
        {"orderId": {"a": {"b": {"c": {"d": {"e": 1}}}}}, "orderTitle": "Rice"},
    ),
    "no string": ("location", {"loc": 7, "lat": 1}),
    "no list": ("multi_vcard", {"vcardList": 7}),
}


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_value_costs_no_message(browser: BrowserSession, name: str) -> None:
    """A model of the page can hold anything, itself too."""
    kind, attributes = ODD[name]
    found = [value for value in ("CYCLE", "BIGINT") if value in attributes.values()]
    await browser.session.evaluate(
        """(() => {
            const odd = { CYCLE: window, BIGINT: 1n };
            const { default: Model } = require('WAWebMsgModel');
            Object.defineProperty(Model.prototype, 'orderId', { configurable: true, get() {
                const id = this.attributes.orderId;
                return odd[id] ?? id;
            } });
        })()"""
        if found
        else "1",
        timeout=LONG,
    )
    message_id = await incoming(browser, from_=FRIEND, attributes={"type": kind, **attributes})
    read = page_reports.read("message", await newest(browser, "message", id=message_id), now=0.0)
    assert [type(one) for one in read] == [InboundMessage]


async def test_many_contacts_come_without_pictures_and_bounded(browser: BrowserSession) -> None:
    cards = [{"displayName": "Ani", "vcard": CARD + "x" * 9_000}] * 300
    attributes = {"type": "multi_vcard", "vcardList": cards}
    message_id = await incoming(browser, from_=FRIEND, attributes=attributes)
    reported = await newest(browser, "message", id=message_id)
    assert len(json.dumps(reported)) < 200_000
    (found,) = page_reports.read("message", reported, now=0.0)
    assert isinstance(found, InboundMessage)
    contacts = decoded(found.content)["multi_vcard"]["contacts"]
    assert len(contacts) == 20
    assert contacts[0]["vcard"].startswith("BEGIN:VCARD\r\nFN:Ani\r\n")


async def test_votes_in_a_poll(browser: BrowserSession) -> None:
    options = [{"name": "red", "localId": 0}, {"name": "green", "localId": 1}]
    poll = {"type": "poll_creation", "body": "", "pollName": "Which?", "pollOptions": options}
    question = await incoming(browser, from_=GROUP, author=HIDDEN, attributes=poll)
    said = (await newest(browser, "message", id=question))["content"]["poll_creation"]
    assert (said["question"], said["options"]) == ("Which?", ["red", "green"])
    browser.standin.phone.vote(question, [1], from_=HIDDEN)
    vote = await newest(browser, "message", quoted_id=question)
    assert vote["content"] == {"poll_update": {"options": ["green"]}}
    assert (vote["chat"], vote["sender"]) == (GROUP, f"{FRIEND}@c.us")
    (found,) = page_reports.read("message", vote, now=0.0)
    assert isinstance(found, InboundMessage)
    assert parse(found.id) is not None
