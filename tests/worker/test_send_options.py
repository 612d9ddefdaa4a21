"""Replies, mentions and the check of a number, by the real wa-js on the stand-in."""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.worker.browser_session import LONG, BrowserSession
from waguard.standin import Policy, StandIn
from waguard.wire.protocol import Failed, SendMedia, SendText, Sent
from waguard.worker import sending

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]
PHONE = "6281180001"
CHAT, STRANGER = "6281180002@c.us", "6281180009"
LID = "987654321098765"  # of the person of CHAT
numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[BrowserSession]:
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(
            policy=Policy(sync=0.1, lids={LID: CHAT.removesuffix("@c.us")})
        ) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            await made.pair(PHONE)
            yield made
            await made.close()


@pytest.fixture
def browser(shared: BrowserSession) -> BrowserSession:
    """With a healthy WhatsApp."""
    shared.standin.policy.update({"exists": {}, "exists_error": False, "exists_silent": False})
    shared.standin.whatsapp.asked.clear()
    return shared


def text(chat: str = CHAT, **options: Any) -> SendText:
    number = f"true_{chat}_3EB0{next(numbers):04}"
    return SendText(chat=chat, text="hi @6281180003", message_id=number, timeout=LONG, **options)


def media(**options: Any) -> SendMedia:
    return SendMedia(
        chat=CHAT,
        content=b"a file",
        mimetype="application/pdf",
        kind="document",
        message_id=f"true_{CHAT}_3EB0{next(numbers):04}",
        timeout=LONG,
        filename="a.pdf",
        **options,
    )


async def asked(browser: BrowserSession, sender: str = CHAT) -> str:
    """The id of a message that has come in."""
    message = browser.standin.phone.incoming(from_=sender, body="how much?")["id"]
    async with asyncio.timeout(LONG):
        while not any(kind == "message" and data["id"] == message for kind, data in browser.told):
            await asyncio.sleep(0.01)
    return message


def seen(browser: BrowserSession, message_id: str) -> dict[str, Any]:
    """What the server has of a message; {}: nothing was transmitted."""
    found = [m for m in browser.standin.phone.messages() if m["id"] == message_id]
    return found[0] if found else {}


@pytest.mark.parametrize("make", [text, media])
async def test_a_reply_that_names_people(browser: BrowserSession, make: Any) -> None:
    question = await asked(browser)
    people = ("6281180003@c.us", "123456789012345@lid")
    call = make(quoted=question, mentions=people)
    answer = await sending.send(browser.page, call)
    assert isinstance(answer, Sent), answer
    message = seen(browser, call.message_id)
    assert message["quotedStanzaID"] == question.split("_")[2]
    assert message["quotedParticipant"] == CHAT
    assert message["mentionedJidList"] == list(people)


@pytest.mark.parametrize("make", [text, media])
@pytest.mark.parametrize("quoted", [f"false_{CHAT}_3EB0FFFF", "false_62899999@c.us_3EB0FFFF"])
async def test_what_the_chat_does_not_have_is_not_quoted(
    browser: BrowserSession, make: Any, quoted: str
) -> None:
    call = make(quoted=quoted)
    answer = await sending.send(browser.page, call)
    error = f"the chat has no message {quoted}"
    assert answer == Failed(kind="refused", error=error, field="quoted_message_id")
    assert not seen(browser, call.message_id)


async def test_a_message_of_another_chat_is_not_quoted(browser: BrowserSession) -> None:
    call = text(quoted=await asked(browser, "6281180004@c.us"))
    answer = await sending.send(browser.page, call)
    assert isinstance(answer, Failed)
    assert answer.field == "quoted_message_id"
    assert not seen(browser, call.message_id)


async def test_one_person_by_number_and_by_lid_is_one_chat(browser: BrowserSession) -> None:
    question = await asked(browser, f"{LID}@lid")
    assert question.startswith(f"false_{LID}@lid_")
    call = text(quoted=question)
    answer = await sending.send(browser.page, call)
    assert isinstance(answer, Sent), answer
    assert seen(browser, call.message_id)["quotedStanzaID"] == question.split("_")[2]


async def test_a_number_without_whatsapp_gets_nothing(browser: BrowserSession) -> None:
    browser.standin.policy.update({"exists": {STRANGER: False}})
    call = text(f"{STRANGER}@c.us", first_contact_check=True)
    answer = await sending.send(browser.page, call)
    error = f"+{STRANGER} is not on WhatsApp"
    assert answer == Failed(kind="refused", error=error, field="recipient_phone")
    assert not seen(browser, call.message_id)


@pytest.mark.parametrize("trouble", ["exists_error", "exists_silent", None])
async def test_only_a_clear_no_keeps_a_message_back(
    browser: BrowserSession, monkeypatch: pytest.MonkeyPatch, trouble: str | None
) -> None:
    monkeypatch.setattr(sending, "CHECK_DEADLINE", 0.05)
    if trouble:
        browser.standin.policy.update({trouble: True})
    chat = f"62811900{next(numbers):04}@c.us"
    answer = await sending.send(browser.page, text(chat, first_contact_check=True))
    assert isinstance(answer, Sent), answer
    assert answer.outcome == "sent"


async def test_a_new_number_is_asked_for_once_and_what_is_said_is_told(
    browser: BrowserSession,
) -> None:
    digits = f"62811900{next(numbers):04}"
    chat, asked_for = f"{digits}@c.us", browser.standin.whatsapp.asked
    assert isinstance(await sending.send(browser.page, text(chat, first_contact_check=True)), Sent)
    assert isinstance(await sending.send(browser.page, text(chat, first_contact_check=True)), Sent)
    assert asked_for == [digits]
    assert ("people", {"asked": {"number": chat, "exists": True}}) in browser.told


async def test_a_number_that_was_asked_for_of_late_is_not_asked_for_again(
    browser: BrowserSession,
) -> None:
    digits = f"62811900{next(numbers):04}"
    call = text(f"{digits}@c.us", first_contact_check=True, absent=True)
    answer = await sending.send(browser.page, call)
    assert isinstance(answer, Failed)
    assert answer.error == f"+{digits} is not on WhatsApp"
    await asked(browser, f"{digits}@c.us")  # now it has a chat: it has WhatsApp
    assert isinstance(await sending.send(browser.page, call), Sent)
    assert browser.standin.whatsapp.asked == []


async def test_a_number_with_a_chat_is_not_asked_for(browser: BrowserSession) -> None:
    await asked(browser)
    browser.standin.policy.update({"exists": {CHAT.removesuffix("@c.us"): False}})
    assert isinstance(await sending.send(browser.page, text(first_contact_check=True)), Sent)


async def test_asked_too_often_only_first_contacts_wait(browser: BrowserSession) -> None:
    """The last test here: the page remembers it."""
    await asked(browser)
    browser.standin.policy.update({"exists_too_often": True})
    for _ in range(2):
        chat = f"62811900{next(numbers):04}@c.us"
        call = text(chat, first_contact_check=True)
        answer = await sending.send(browser.page, call)
        assert isinstance(answer, Failed)
        assert (answer.kind, answer.field) == ("paused", "recipient_phone")
        assert not seen(browser, call.message_id)
    assert len(browser.standin.whatsapp.asked) == 1  # the second was not even asked for
    assert isinstance(await sending.send(browser.page, text(first_contact_check=True)), Sent)
