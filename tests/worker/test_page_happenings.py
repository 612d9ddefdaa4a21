"""Edits, revokes, reactions and calls, as the real wa-js tells them to the page's hook."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.waiting import wait_until
from tests.worker.browser_session import LONG, BrowserSession
from waguard.lab.standin import Policy, StandIn
from waguard.worker.browser.errors import EvaluationError

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
    with pytest.raises(EvaluationError, match="the file has 3 bytes, the limit is 2"):
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
