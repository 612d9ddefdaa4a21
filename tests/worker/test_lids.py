"""Chats that have a LID, through the hook and the real wa-js, on the stand-in."""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.worker.browser_session import LONG, BrowserSession
from waguard.core.messages.people import People
from waguard.lab.standin import Policy, StandIn
from waguard.wire.calls import Acks, Failed, SendMedia, SendText, Sent
from waguard.worker.browser.devtools import EvaluationError
from waguard.worker.messages import sending
from waguard.worker.page.page_reports import people

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]
PHONE = "6281180001"
GROUP = "120363000000000001@g.us"
OWN_LID = f"9{PHONE}@lid"
numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[BrowserSession]:
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=Policy(sync=0.1, reconnect_delay=0.05)) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            await made.pair(PHONE)
            yield made
            await made.close()


class Contact:
    """Somebody new, whose number and LIDs no other test has used."""

    def __init__(self, browser: BrowserSession) -> None:
        self.browser = browser
        self.digits = f"62822{next(numbers):05}"
        self.number = f"{self.digits}@c.us"

    async def migrate(self, *, known: bool = True, chat: bool = True) -> str:
        """Let the chat get a LID, and wait until the page has it so; the LID."""
        phone = self.browser.standin.phone
        if chat:
            await self.writes("before")
        lid = f"7000{next(numbers):08}"
        phone.migrate(self.digits, lid, known=known)
        await drained(self.browser)
        return f"{lid}@lid"

    async def writes(self, body: str, **more: Any) -> str:
        message = self.browser.standin.phone.incoming(from_=self.digits, body=body, **more)["id"]
        await newest(self.browser, "message", id=message)
        return message

    def text(self, **more: Any) -> SendText:
        chosen = f"true_{self.number}_3EB0{next(numbers):04}"
        return SendText(chat=self.number, text="hi", message_id=chosen, timeout=LONG, **more)


async def drained(browser: BrowserSession) -> None:
    async with asyncio.timeout(LONG):
        while browser.standin.phone.state()["accounts"][PHONE][0]["queued"]:
            await asyncio.sleep(0.01)
    await browser.page.read(timeout=LONG)  # what the stanza does is done


async def newest(browser: BrowserSession, kind: str, **fields: Any) -> dict[str, Any]:
    """What the hook told, with these fields."""
    async with asyncio.timeout(LONG):
        while True:
            for name, data in browser.reports:
                if name == kind and fields.items() <= data.items():
                    return dict(data)
            await asyncio.sleep(0.01)


def pairs(browser: BrowserSession) -> list[tuple[str, str]]:
    """LIDs and their numbers, as the hook told them."""
    return [pair for kind, data in browser.reports if kind == "people" for pair in people(data)]


async def introduced(browser: BrowserSession, lid: str, number: str) -> None:
    async with asyncio.timeout(LONG):
        while (lid, number) not in pairs(browser):
            await asyncio.sleep(0.01)
    assert pairs(browser).count((lid, number)) == 1


def at_the_server(browser: BrowserSession, message_id: str) -> int:
    """How often it was transmitted."""
    known = browser.standin.phone.messages(PHONE)
    return sum(m["times_transmitted"] for m in known if m["id"] == message_id)


def under(call: SendText | SendMedia, chat: str) -> str:
    return call.message_id.replace(call.chat, chat)


@pytest.mark.parametrize(
    "how", [{}, {"known": False}, {"chat": False}, {"known": False, "chat": False}]
)
async def test_what_is_sent_to_a_number_goes_to_the_lid_under_our_stem(
    browser: BrowserSession, how: dict[str, bool]
) -> None:
    contact = Contact(browser)
    lid = await contact.migrate(**how)
    call = contact.text()
    said = await sending.send(browser.page, call)
    assert isinstance(said, Sent)
    assert (said.outcome, said.message_id) == ("sent", call.message_id)
    assert at_the_server(browser, under(call, lid)) == 1
    await introduced(browser, lid, contact.number)
    assert await browser.page.ack_of(call.message_id) == 1


async def test_a_file_too(browser: BrowserSession) -> None:
    contact = Contact(browser)
    lid = await contact.migrate()
    text = contact.text()
    call = SendMedia(
        chat=contact.number,
        content=b"a file",
        mimetype="application/pdf",
        kind="document",
        message_id=text.message_id,
        timeout=LONG,
        filename="a.pdf",
    )
    said = await sending.send(browser.page, call)
    assert isinstance(said, Sent)
    assert at_the_server(browser, under(call, lid)) == 1


async def test_what_is_sent_to_a_lid_goes_there(browser: BrowserSession) -> None:
    lid = await Contact(browser).migrate()
    call = SendText(chat=lid, text="hi", message_id=f"true_{lid}_3EB0DIRECT", timeout=LONG)
    said = await sending.send(browser.page, call)
    assert isinstance(said, Sent)
    assert at_the_server(browser, call.message_id) == 1


async def stub(browser: BrowserSession, module: str, name: str, function: str) -> None:
    """Have the page do something else, until ``mend``."""
    await browser.session.evaluate(
        f"""(() => {{
          const module = require('{module}'), real = module.{name};
          window.__calls = 0;
          window.__mend = () => {{ module.{name} = real; return window.__calls; }};
          module.{name} = (...given) => {{
            window.__calls += 1;
            return ({function})(real, ...given);
          }};
        }})()""",
        timeout=LONG,
    )


async def mend(browser: BrowserSession) -> int:
    """How often it was called."""
    return int(await browser.session.evaluate("window.__mend()", timeout=LONG))


FIND = ("WAWebFindChatAction", "findOrCreateLatestChat")


def leads_to(chat: str, when: str = "true") -> str:
    """A chat that is not the one that was asked for."""
    other = f"{{ chat: {{ id: require('WAWebWidFactory').createWid('{chat}') }} }}"
    return f"async (real, wid) => ({when}) ? {other} : real(wid)"


@pytest.mark.parametrize(
    ("when", "outcome"),
    [
        ("window.__calls === 1", Sent),  # then wa-js finds that it has another id meanwhile
        ("window.__calls % 2 === 1", Failed),
    ],
)
async def test_a_chat_that_changes_under_us_is_resolved_again_once(
    browser: BrowserSession, when: str, outcome: type
) -> None:
    contact, foreign = Contact(browser), Contact(browser)
    lid = await contact.migrate()
    await foreign.writes("hello")
    call = contact.text()
    # who asks for the stranger's chat gets our contact's: it was that one's LID until now
    swapped = f"String(wid) === '{foreign.number}'"
    back = leads_to(lid, swapped)
    away = leads_to(foreign.number, when).removeprefix("async (real, wid) => ")
    await stub(browser, *FIND, f"async (real, wid) => ({swapped}) ? ({back})(real, wid) : {away}")
    said = await sending.send(browser.page, call)
    await mend(browser)
    assert isinstance(said, outcome)
    assert at_the_server(browser, under(call, lid)) == (outcome is Sent)
    assert at_the_server(browser, under(call, foreign.number)) == 0


async def test_no_other_error_changes_the_chat(browser: BrowserSession) -> None:
    contact = Contact(browser)
    await contact.migrate()
    throws = "() => { throw new Error('odd'); }"
    await stub(browser, "WAWebSendMsgChatAction", "addAndSendMsgToChat", throws)
    said = await sending.send(browser.page, contact.text())
    assert await mend(browser) == 1
    assert isinstance(said, Failed)
    assert "odd" in said.error


async def test_a_chat_that_can_be_opened_a_moment_later_costs_no_message(
    browser: BrowserSession,
) -> None:
    contact = Contact(browser)
    once = "if (window.__calls === 1) throw new Error('the database is busy')"
    await stub(browser, *FIND, f"async (real, wid) => {{ {once}; return real(wid); }}")
    call = contact.text()
    said = await sending.send(browser.page, call)
    await mend(browser)
    assert isinstance(said, Sent)
    assert at_the_server(browser, call.message_id) == 1


async def test_where_the_chat_cannot_be_opened_nothing_has_left(browser: BrowserSession) -> None:
    contact = Contact(browser)
    await stub(browser, *FIND, "async () => { throw new Error('No LID for user'); }")
    said = await sending.send(browser.page, contact.text())
    await mend(browser)
    assert isinstance(said, Failed)
    assert (said.kind, said.field) == ("refused", "recipient_phone")
    assert "No LID for user" in said.error


async def test_the_mapping_may_be_learned_between_the_send_and_the_lookup(
    browser: BrowserSession,
) -> None:
    contact = Contact(browser)
    await contact.writes("before")
    call = contact.text()
    assert isinstance(await sending.send(browser.page, call), Sent)
    await contact.migrate(known=False, chat=False)
    assert await browser.page.ack_of(call.message_id) == 1
    asked = Acks(ids=(call.message_id,))
    assert (await sending.acks(browser.page, asked, People())).acks == {call.message_id: 1}


async def test_a_lid_that_the_page_has_forgotten_is_checked_by_name(
    browser: BrowserSession,
) -> None:
    contact = Contact(browser)
    former = await contact.migrate()
    call = contact.text()
    assert isinstance(await sending.send(browser.page, call), Sent)
    # as if the person got another LID, and the chat of the old one stayed as it was
    forget = "require('WAWebStandinLids').lids"
    await browser.session.evaluate(
        f"{forget}.current.delete('{contact.number}'), {forget}.numbers.delete('{former}'), 0",
        timeout=LONG,
    )
    assert await browser.page.ack_of(call.message_id) is None
    assert await browser.page.ack_of(call.message_id, (former,)) == 1
    await stub(browser, *FIND, "async () => { throw new Error('the server is silent'); }")
    with pytest.raises(EvaluationError, match="the server is silent"):
        await browser.page.ack_of(call.message_id)
    await mend(browser)


async def test_a_message_to_a_group_names_our_lid(browser: BrowserSession) -> None:
    call = SendText(chat=GROUP, text="all", message_id=f"true_{GROUP}_3EB0G", timeout=LONG)
    assert isinstance(await sending.send(browser.page, call), Sent)
    assert at_the_server(browser, f"{call.message_id}_{OWN_LID}") == 1
    reader = "7123456@lid"
    browser.standin.phone.receipt("3EB0G", 3, reader=reader)
    await newest(browser, "ack", ids=[f"{call.message_id}_{reader}"], ack=3, chat=GROUP)
    assert await browser.page.ack_of(call.message_id) == 3


@pytest.mark.parametrize("known", [{"known": True}, {"known": False}], ids=str)
async def test_a_reply_finds_what_it_answers_under_its_old_id(
    browser: BrowserSession, known: dict[str, bool]
) -> None:
    contact = Contact(browser)
    quoted = await contact.writes("how much?")
    await contact.migrate(chat=False, **known)
    call = contact.text(quoted=quoted)
    assert isinstance(await sending.send(browser.page, call), Sent)
    [sent] = [m for m in browser.standin.phone.messages(PHONE) if call.message_id[-8:] in m["id"]]
    assert sent["quotedStanzaID"] == quoted.split("_")[2]


async def test_a_file_is_fetched_also_where_its_chat_was_renamed(browser: BrowserSession) -> None:
    contact = Contact(browser)
    media = {"mimetype": "text/plain", "base64": "aGVsbG8="}
    message = await contact.writes("look", media=media)
    await contact.migrate(chat=False)
    assert await browser.page.media(message, 1_000) == b"hello"


async def test_a_chat_that_was_renamed_since_it_was_listed_is_read_all_the_same(
    browser: BrowserSession,
) -> None:
    contact = Contact(browser)
    first, second = [await contact.writes(body) for body in ("first", "second")]
    listed = [chat for chat, _ in await browser.page.chats()]
    assert contact.number in listed
    lid = await contact.migrate(chat=False)
    read = await browser.page.history(contact.number, None, 50)
    assert {one["body"] for one in read} == {"first", "second"}
    assert {one["chat"] for one in read} == {lid}
    [before] = await browser.page.history(contact.number, second, 50)
    assert before["id"] == first.replace(contact.number, lid)
    newer = await contact.migrate(chat=False)
    assert {one["chat"] for one in await browser.page.history(lid, None, 50)} == {newer}


async def test_another_part_of_the_page_may_know_whose_lid_it_is(browser: BrowserSession) -> None:
    contact = Contact(browser)
    lid = await contact.migrate(known=False)
    knows = f"(real, wid) => require('WAWebWidFactory').createWid('{contact.number}')"
    await stub(browser, "WAWebApiContact", "getPhoneNumber", knows)
    message = await contact.writes("who is it?")
    await mend(browser)
    assert (await newest(browser, "message", id=message))["sender"] == contact.number
    await introduced(browser, lid, contact.number)


async def test_whose_lid_it_is_is_reported_as_soon_as_the_page_knows(
    browser: BrowserSession,
) -> None:
    contact = Contact(browser)
    lid = await contact.migrate(known=False)
    message = await contact.writes("who is it?")
    assert message.startswith(f"false_{lid}_")
    assert (await newest(browser, "message", id=message))["sender"] == lid
    assert lid not in dict(pairs(browser))
    browser.standin.phone.reveal(contact.digits)
    await drained(browser)
    await browser.page.read(timeout=LONG)
    await introduced(browser, lid, contact.number)


async def test_the_newest_lid_is_followed_however_many_are_without_a_number(
    browser: BrowserSession,
) -> None:
    others = "Array.from({ length: 1000 }, (_, at) => `${8000000 + at}@lid`)"
    await browser.session.evaluate(f"void {others}.forEach(__waguard.lent.person)", timeout=LONG)
    contact = Contact(browser)
    lid = await contact.migrate(known=False)
    await contact.writes("who is it?")
    browser.standin.phone.reveal(contact.digits)
    await drained(browser)
    await introduced(browser, lid, contact.number)
