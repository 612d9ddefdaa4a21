"""Replies, mentions and the check of a number, by the real wa-js on the stand-in."""

import asyncio
import base64
import io
import itertools
import json
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.waiting import wait_until
from tests.worker.browser_session import LONG, BrowserSession
from waguard.core.messages import sentinel
from waguard.core.messages.people import People
from waguard.lab.standin import Policy, StandIn
from waguard.wire.calls import (
    Failed,
    SendContent,
    SendFile,
    SendMedia,
    SendText,
    SendViewOnce,
    Sent,
)
from waguard.wire.events import InboundMessage
from waguard.worker.browser import downloads
from waguard.worker.browser.devtools import DevToolsError, EvaluationError
from waguard.worker.messages import sending
from waguard.worker.messages import sentinel as under_test
from waguard.worker.messages.inbound import Inbound
from waguard.worker.page.page_errors import NotSendableError
from waguard.worker.timings import Timings

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]
PHONE = "6281180001"
CHAT, UNKNOWN = "6281180002@c.us", "6281180009"
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
    shared.standin.policy.update(
        {"exists": {}, "exists_error": False, "exists_silent": False, "exists_too_often": False}
    )
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
        while not any(
            kind == "message" and data["id"] == message for kind, data in browser.reports
        ):
            await asyncio.sleep(0.01)
    return message


def seen(browser: BrowserSession, message_id: str) -> dict[str, Any]:
    """What the server has of a message; {}: nothing was transmitted."""
    found = [m for m in browser.standin.phone.messages() if m["id"] == message_id]
    return found[0] if found else {}


async def send_sentinel(browser: BrowserSession, *, hears: bool) -> tuple[SendText, Sent]:
    """As a worker does; ``hears``: whether the page's events come through."""
    own = f"{PHONE}@c.us"
    call = SendText(
        chat=own,
        text=sentinel.text("0123abcd"),
        message_id=f"true_{own}_3EB0{next(numbers):04}",
        timeout=LONG,
    )
    emitted: list[Any] = []
    inbound, known = Inbound(emitted.append), len(browser.reports)

    async def listen() -> None:
        for number in itertools.count(known):
            while number >= len(browser.reports):
                await asyncio.sleep(0.01)
            inbound.handle(*browser.reports[number])

    listening = asyncio.create_task(listen())
    if not hears:
        listening.cancel()
    answer = await under_test.send_sentinel(
        browser.page,
        call,
        inbound.filter.sentinels,
        People(),
        timings=Timings(find=LONG if hears else 0.1),
    )
    listening.cancel()
    assert isinstance(answer, Sent), answer
    assert not any(isinstance(it, InboundMessage) for it in emitted)
    return call, answer


async def test_a_sentinel_is_sent_seen_and_deleted_on_this_side(browser: BrowserSession) -> None:
    call, answer = await send_sentinel(browser, hears=True)
    assert (answer.outcome, answer.seen) == ("sent", True)
    assert seen(browser, call.message_id)["body"] == call.text, "WhatsApp's server has it"
    assert await browser.page.message(call.message_id) is None


async def test_a_page_that_reports_nothing_is_seen_by_a_sentinel(browser: BrowserSession) -> None:
    call, answer = await send_sentinel(browser, hears=False)
    assert (answer.outcome, answer.seen) == ("sent", False)
    assert await browser.page.message(call.message_id) is None


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
    assert isinstance(answer, Failed)
    assert (answer.kind, answer.error, answer.field) == ("refused", error, "quoted_message_id")
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
    browser.standin.policy.update({"exists": {UNKNOWN: False}})
    call = text(f"{UNKNOWN}@c.us", first_contact_check=True)
    answer = await sending.send(browser.page, call)
    error = f"+{UNKNOWN} is not on WhatsApp"
    assert isinstance(answer, Failed)
    assert (answer.kind, answer.error, answer.field) == ("refused", error, "recipient_phone")
    assert not seen(browser, call.message_id)


@pytest.mark.parametrize("trouble", ["exists_error", "exists_silent", None])
async def test_only_a_clear_no_keeps_a_message_back(
    browser: BrowserSession, trouble: str | None
) -> None:
    if trouble:
        browser.standin.policy.update({trouble: True})
    chat = f"62811900{next(numbers):04}@c.us"
    call = text(chat, first_contact_check=True)
    answer = await sending.send(browser.page, call, timings=Timings(first_contact_check=0.05))
    assert isinstance(answer, Sent), answer
    assert answer.outcome == "sent"


async def test_a_new_number_is_asked_for_once_and_what_is_said_is_reported(
    browser: BrowserSession,
) -> None:
    digits = f"62811900{next(numbers):04}"
    chat, asked_for = f"{digits}@c.us", browser.standin.whatsapp.asked
    assert isinstance(await sending.send(browser.page, text(chat, first_contact_check=True)), Sent)
    assert isinstance(await sending.send(browser.page, text(chat, first_contact_check=True)), Sent)
    assert asked_for == [digits]
    assert ("people", {"asked": {"number": chat, "exists": True}}) in browser.reports


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
    await asked(browser)
    browser.standin.policy.update({"exists_too_often": True})
    call = text(f"62811900{next(numbers):04}@c.us", first_contact_check=True)
    answer = await sending.send(browser.page, call)
    assert isinstance(answer, Failed)
    assert (answer.kind, answer.field) == ("paused", "recipient_phone")
    assert not seen(browser, call.message_id)
    assert isinstance(await sending.send(browser.page, text(first_contact_check=True)), Sent)


# ---- first contacts ----


@pytest.fixture
def locked(browser: BrowserSession) -> Iterator[BrowserSession]:
    """WhatsApp refuses first contacts, and says nothing."""
    browser.standin.policy.update({"exists_too_often": False})
    browser.standin.phone.timelock()
    yield browser
    browser.standin.phone.timelock(over=True)


def new_chat() -> str:
    return f"62811901{next(numbers):04}@c.us"


async def test_what_a_chat_was_before_a_message(browser: BrowserSession) -> None:
    chat = new_chat()
    for state in ("first", "other"):  # our own message alone makes nobody known
        answer = await sending.send(browser.page, text(chat))
        assert (answer.standing, isinstance(answer, Sent)) == (state, True)
    await asked(browser, chat)
    assert (await sending.send(browser.page, text(chat))).standing == "answered"
    assert (await sending.send(browser.page, text("628123-456@g.us"))).standing == "other"


async def test_a_refused_message_makes_no_acquaintance(locked: BrowserSession) -> None:
    chat = new_chat()
    for _ in range(2):
        answer = await sending.send(locked.page, text(chat))
        assert isinstance(answer, Sent)
        reported = (answer.outcome, answer.error, answer.standing)
        assert reported == ("refused", "ERROR_UNKNOWN", "first")
    await locked.loader.load()  # only its last message is loaded now
    await locked.link()
    assert (await sending.send(locked.page, text(chat))).standing == "first"
    await asked(locked, chat)
    answer = await sending.send(locked.page, text(chat))
    assert isinstance(answer, Sent)
    assert (answer.outcome, answer.standing) == ("sent", "answered")


async def test_a_held_first_contact_is_not_transmitted(locked: BrowserSession) -> None:
    call = text(new_chat(), hold=True)
    answer = await sending.send(locked.page, call)
    assert isinstance(answer, Failed)
    assert (answer.kind, answer.standing) == ("held", "first")
    assert not seen(locked, call.message_id)
    known = new_chat()
    await asked(locked, known)
    assert isinstance(await sending.send(locked.page, text(known, hold=True)), Sent)


async def test_one_that_is_dropped_without_a_word_says_what_its_chat_was(
    locked: BrowserSession,
) -> None:
    locked.standin.phone.timelock(way="drop")
    call = msgspec.structs.replace(text(new_chat()), timeout=1.0)
    answer = await sending.send(locked.page, call)
    assert isinstance(answer, Sent)
    assert (answer.outcome, answer.ack, answer.standing) == ("uncertain", 0, "first")


async def test_the_page_says_until_when_first_contacts_are_locked(
    locked: BrowserSession,
) -> None:
    async def says(least: float, most: float) -> None:
        async with asyncio.timeout(LONG):
            while True:
                reported = (await locked.page.read(timeout=LONG)).locked_until
                if reported is not None and least <= reported <= most:
                    return
                await asyncio.sleep(0.02)

    now = int(time.time())
    await says(0, 0)
    locked.standin.phone.timelock(seconds=86_400)
    await says(now + 86_399, now + 86_500)
    await locked.loader.load()
    await locked.link()
    await says(now + 86_399, now + 86_500)
    locked.standin.phone.timelock(undated=True)
    await says(now + 59, now + 160)
    locked.standin.phone.timelock(over=True)
    await says(0, 0)


RENAMED = """(() => {
  const its = window.require('WAWebSendMsgChatAction');
  const before = its.addAndSendMsgToChat;
  its.addAndSendMsgToChat = %s;
  window.before ??= before;
})()"""


async def test_a_renamed_function_of_whatsapp_is_named_and_a_refusal_is_not(
    browser: BrowserSession,
) -> None:
    await browser.session.evaluate(RENAMED % "undefined", timeout=LONG)
    try:
        broken = await sending.send(browser.page, text())
    finally:
        await browser.session.evaluate(RENAMED % "window.before", timeout=LONG)
    assert isinstance(broken, Failed), broken
    assert broken.kind == "refused"
    assert broken.thrown
    assert broken.thrown.startswith("TypeError: ")
    assert broken.thrown.endswith("is not a function")
    refused = await sending.send(browser.page, text("62@nowhere"))
    assert "Error: " in (refused.error or "")
    assert refused.thrown is None
    assert isinstance(await sending.send(browser.page, text()), Sent)


# how many files are held by an address: one is asked for after the other, two at once, none, one that comes late
HELD = """(async () => {
  const it = window.__waguard, { createObjectURL, revokeObjectURL } = URL, held = new Set(), counts = [];
  const ask = () => it.fileUrl(%s, 1e9).catch(() => null);
  const count = async (...asked) => { await Promise.all(asked); counts.push(held.size); };
  URL.createObjectURL = (file) => { const url = createObjectURL.call(URL, file); held.add(url); return url; };
  URL.revokeObjectURL = (url) => { held.delete(url); revokeObjectURL.call(URL, url); };
  await count(ask());
  await count(ask(), ask());
  await count(it.discardFile());
  await count(ask(), it.discardFile());
  Object.assign(URL, { createObjectURL, revokeObjectURL });
  return { counts };
})()"""


async def test_a_file_on_the_disk_goes_out_and_comes_in(
    browser: BrowserSession, tmp_path: Path
) -> None:
    """Nothing of it passes through here; what else the page downloads meanwhile is denied."""
    content = bytes(range(256)) * 2_000
    path = tmp_path / ("0f" * 32)  # no extension says its type
    path.write_bytes(content)
    command = msgspec.structs.asdict(media()) | {"content": b""}
    call = SendFile(**command, file=str(path), size=len(content))
    answer = await sending.send(browser.page, call)
    assert isinstance(answer, Sent), answer
    message = seen(browser, call.message_id)
    assert (message["type"], message["mimetype"]) == ("document", "application/pdf")
    assert (message["filename"], message["size"]) == ("a.pdf", len(content))
    assert browser.standin.whatsapp.media[message["filehash"]] == content
    gone = await sending.send(
        browser.page, msgspec.structs.replace(call, file=str(tmp_path / "none"))
    )
    assert isinstance(gone, Failed), "nothing left"

    back = {"mimetype": "application/x-msdownload", "base64": base64.b64encode(content).decode()}
    came = browser.standin.phone.incoming(from_=CHAT, media=back)["id"]
    await wait_until(
        lambda: any(data["id"] == came for kind, data in browser.reports if kind == "message"),
        "it came",
    )
    with pytest.raises(EvaluationError, match="the limit is 9"):
        await browser.page.call("fileUrl", came, 9)
    url = await browser.page.call("fileUrl", came, len(content))
    folder = tmp_path / "folder"

    async def click() -> None:
        await browser.page.call("saveFile", url)

    async def two() -> None:
        await browser.session.evaluate(
            "void Object.assign(document.createElement('a'), {href: URL.createObjectURL(new Blob(['x'])),"
            " download: 'evil'}).click()",
            timeout=LONG,
        )
        await click()

    async def save(begin: Callable[[], Awaitable[None]]) -> Path:
        devtools = browser.chromium.devtools
        return await downloads.save(devtools, url, begin, folder, limit=len(content), timeout=LONG)

    folder.mkdir()
    for _ in range(2):  # a second one needs nobody's consent, either
        assert (await save(click)).read_bytes() == content
    with pytest.raises(DevToolsError, match="began another download"):
        await save(two)
    held = await browser.session.evaluate(HELD % json.dumps(came), timeout=LONG)
    assert held == {"counts": [1, 1, 0, 0]}


# ---- neither text nor file; what changes a message ----


def content(kind: str, chat: str = CHAT, target: str | None = None, **fields: Any) -> SendContent:
    number = f"true_{chat}_3EB0{next(numbers):04}"
    return SendContent(
        chat=chat, kind=kind, content=fields, target=target, message_id=number, timeout=LONG
    )


PLACE: dict[str, Any] = {
    "latitude": -6.2,
    "longitude": 106.8,
    "name": "Office",
    "address": "Jalan 1",
}
POLL: dict[str, Any] = {"question": "When?", "options": ["Mon", "Tue"], "selectable": 1}


async def test_a_place_contacts_and_a_poll(browser: BrowserSession) -> None:
    contacts = [{"name": name, "phone": "6281180003"} for name in ("Ani", "Budi")]
    calls: list[tuple[SendContent, dict[str, Any]]] = [
        (content("location", **PLACE), {"type": "location", "lat": -6.2, "loc": "Office\nJalan 1"}),
        (content("poll", **POLL), {"pollName": "When?", "pollSelectableOptionsCount": 1}),
        (content("contact", contacts=contacts[:1]), {"type": "vcard", "vcardFormattedName": "Ani"}),
        (content("contact", contacts=contacts), {"type": "multi_vcard"}),
    ]
    question = await asked(browser)
    for call, expected in calls:
        answer = await sending.send(browser.page, msgspec.structs.replace(call, quoted=question))
        assert isinstance(answer, Sent), answer
        found = seen(browser, call.message_id)
        assert expected.items() <= found.items()
        assert found["quotedStanzaID"] == question.split("_")[2]
    assert "waid=6281180003:" in seen(browser, calls[2][0].message_id)["body"]


def wav() -> bytes:
    """A second of noise: the page decodes it, whatever its name."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(range(1, 251)) * 64)
    return out.getvalue()


async def test_voice_notes_view_once_and_stickers(browser: BrowserSession) -> None:
    opus = "audio/ogg; codecs=opus"
    voice = msgspec.structs.replace(media(), content=wav(), mimetype=opus, kind="voice")
    picture = {"mimetype": "image/png", "kind": "image"}
    fields = {name: getattr(media(), name) for name in SendMedia.__struct_fields__}
    once = SendViewOnce(**fields | picture)
    sticker = msgspec.structs.replace(media(), **picture | {"kind": "sticker"})
    for call, kind in ((voice, "ptt"), (once, "image"), (sticker, "sticker")):
        answer = await sending.send(browser.page, call)
        assert isinstance(answer, Sent), answer
        found = seen(browser, call.message_id)
        assert (found["type"], found.get("isViewOnce", False)) == (kind, call is once)
    found = seen(browser, voice.message_id)
    assert (found["mimetype"], found["duration"], len(found["waveform"])) == (opus, 1, 64)


async def act(browser: BrowserSession, kind: str, target: str, **more: Any) -> Sent | Failed:
    return await sending.send(browser.page, content(kind, target=target, **more))


async def test_a_message_is_reacted_to_edited_and_deleted_for_all(browser: BrowserSession) -> None:
    call, picture = text(), media(caption="c")
    question = await asked(browser)
    for one in (call, picture):
        assert isinstance(await sending.send(browser.page, one), Sent)
    for target, kind, more in [
        *((question, "reaction", {"text": it}) for it in ("👍", "")),
        (call.message_id, "edit", {"text": "new"}),
        (picture.message_id, "edit", {"text": "seen"}),
        (call.message_id, "revoke", {}),
    ]:
        answer = await act(browser, kind, target, **more)
        assert isinstance(answer, Sent), answer
        assert answer.outcome == "sent"
    await wait_until(lambda: len(seen(browser, call.message_id)["acts"]) == 2, "it is revoked")
    assert seen(browser, question)["acts"] == [["reaction", "👍"], ["reaction", ""]]
    assert seen(browser, call.message_id)["acts"] == [["edit", "new"], ["revoke", ""]]
    assert (seen(browser, picture.message_id)["caption"], call.text) == ("seen", "hi @6281180003")
    again = await act(browser, "revoke", call.message_id)
    assert isinstance(again, Failed)
    assert (again.kind, again.field) == ("refused", "id")
    assert not [kind for kind, _ in browser.reports if kind in {"edit", "revoke", "reaction"}]


async def test_what_wajs_would_delete_for_us_alone_is_refused(browser: BrowserSession) -> None:
    group = "628118-77@g.us"
    browser.standin.phone.group(group, ["6281180003"])
    theirs = browser.standin.phone.incoming(from_="6281180003", chat=group, body="hi")["id"]
    await wait_until(lambda: ("message", theirs) in seen_ids(browser), "it is there")
    for target, why in [
        (theirs, "admin"),
        (await asked(browser), "author"),
        (f"false_{CHAT}_0", "have"),
    ]:
        answer = await act(browser, "revoke", target)
        assert isinstance(answer, Failed), answer
        assert (answer.kind, answer.field, why in answer.error) == ("refused", "id", True)
    assert await browser.page.ack_of(theirs, timeout=LONG) is not None, "it is still there"
    browser.standin.phone.group(group, ["6281180003"], admin=True)
    asks = f"WPP.group.iAmAdmin('{group}')"
    async with asyncio.timeout(LONG):
        while not await browser.session.evaluate(asks, timeout=LONG):
            await asyncio.sleep(0.01)
    assert isinstance(await act(browser, "revoke", theirs), Sent)
    ours = await asked(browser)
    delete = (
        f"WPP.chat.deleteMessage('{CHAT}', '{ours}', false, true).then((it) => it.sendMsgResult)"
    )
    assert await browser.session.evaluate(delete, timeout=LONG) == "OK", "wa-js says so"
    assert await browser.page.ack_of(ours, timeout=LONG) is None, "and only we have lost it"


def seen_ids(browser: BrowserSession) -> list[tuple[str, Any]]:
    return [(kind, data.get("id")) for kind, data in browser.reports if kind == "message"]


async def test_what_is_too_old_to_edit_and_what_gets_no_answer(browser: BrowserSession) -> None:
    question = await asked(browser)
    refused = await act(browser, "edit", question, text="x")
    assert isinstance(refused, Failed)
    assert refused.error == "WhatsApp does not allow to edit this message"
    browser.standin.policy.update({"never_answer": "lost"})
    lost = msgspec.structs.replace(content("reaction", target=question, text="x"), timeout=1.0)
    answer = await sending.send(browser.page, lost)
    browser.standin.policy.update({"never_answer": "", "send_error": "ERROR_UNKNOWN"})
    failed = await act(browser, "reaction", question, text="x")
    browser.standin.policy.update({"send_error": ""})
    assert isinstance(answer, Sent)
    assert isinstance(failed, Sent)
    assert (answer.outcome, failed.outcome) == ("uncertain", "refused")
    assert "acts" not in seen(browser, question)


async def test_a_chat_is_seen_and_shown_typing(browser: BrowserSession) -> None:
    question = await asked(browser)
    for state in ("typing", "recording", "paused", "seen"):
        await browser.page.send("inChat", CHAT, state)
    await wait_until(lambda: seen(browser, question)["ack"] == 3, "it is seen")
    states = [state for _, chat, state in browser.standin.whatsapp.chatstates if chat == CHAT]
    assert states == ["typing", "recording", "paused"]
    with pytest.raises(NotSendableError):
        await browser.page.send("inChat", "6281180099@c.us", "seen")
