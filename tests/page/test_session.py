"""The view of one session in a real Chromium, by keyboard: every button, and what it says of the outcome."""

import io
import time
from pathlib import Path
from typing import Any, Final

import pytest
import zxingcpp
from msgspec import structs
from PIL import Image

from tests.api.conftest import Api
from tests.api.fake_sessions import MOMENT, RAW, a_view
from tests.page.browser import Page
from tests.waiting import wait_until
from waguard.core.blame import Blame, Condition
from waguard.core.messages.send_states import State
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import MessageFields
from waguard.errors import ConflictError
from waguard.ports.outcomes import Uncertain
from waguard.ports.store import AuditEntry
from waguard.ports.webhooks import Endpoint
from waguard.wire import qr
from waguard.wire.calls import PairingCode, Screenshot, Value

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

NAME: Final = "webjs_4_1732240003_dddddddd"
VIEW: Final = f"#/session/{NAME}"
PARKED: Final = Condition(
    session=NAME,
    type="parked",
    blame=Blame.WHATSAPP,
    reason="blocked",
    message="WhatsApp blocked <b>this</b> number",
    since=time.time() - 700,
    remedy=f"See the phone. Then `waguard sessions restart {NAME}`.",
)
SCANNING: Final[dict[str, Any]] = {
    "status": "qr_scanning",
    "link": "qr_pending",
    "phone_number": None,
    "connected_at": None,
}


@pytest.fixture
def known(api: Api) -> Api:
    """An API that knows one connected session of a real id."""
    api.sessions.known = {NAME: a_view(session_id=NAME)}
    return api


def becomes(api: Api, **changes: Any) -> None:
    """The session's row is another one, and an event says so."""
    api.sessions.known[NAME] = replace(api.sessions.known[NAME], **changes)
    api.bus.publish("link", NAME, 1, {"from": "a", "to": "b"})


async def test_what_is_wrong_is_said_with_its_remedy_and_ends_by_itself(
    known: Api, shown: Page
) -> None:
    becomes(known, status="failed", lifecycle="parked", link="blocked", conditions=(PARKED,))
    await shown.show(VIEW)
    await shown.says("WhatsApp blocked <b>this</b> number")  # as text
    await shown.says(f"See the phone. Then waguard sessions restart {NAME}.")
    await shown.says("Parked")
    becomes(known, status="connected", lifecycle="running", link="connected", conditions=())
    await shown.says("Nothing is wrong.")
    await shown.says("Connected")


@pytest.mark.parametrize(
    ("button", "lifecycle", "done", "said"),
    [
        ("Start", "stopped", "start", "It starts."),
        ("Restart", "running", "restart", "It starts again"),
        ("Stop", "running", "stop", "Stopped"),
        ("Log out", "running", "logout", "Logged out."),
        ("Delete", "running", "delete", None),
    ],
)
async def test_each_action_shows_that_it_runs_and_its_outcome(
    known: Api, shown: Page, button: str, lifecycle: str, done: str, said: str | None
) -> None:
    becomes(known, lifecycle=lifecycle)
    known.sessions.free.clear()
    await shown.show(VIEW)
    await shown.enter(button)
    if button in {"Log out", "Delete"}:
        await shown.says("a phone has to scan a new code")
        await shown.confirm("another name")
        assert known.sessions.begun == []
        await shown.confirm(NAME)
    await wait_until(lambda: known.sessions.begun, "it is asked for")
    await shown.says("Running …")
    assert (known.sessions.begun, known.sessions.done) == ([done], [])
    known.sessions.free.set()
    if said:
        await shown.says(said)
    else:
        await shown.until("location.hash === '#/'", "all sessions are shown")
    assert known.sessions.done == [done]


async def test_an_outcome_goes_when_it_is_not_true_any_more(known: Api, shown: Page) -> None:
    await shown.show(VIEW)
    await shown.enter("Restart")
    await shown.says("It starts again")
    await shown.enter("Log out")
    await shown.says("a phone has to scan a new code")
    gone = "!document.body.innerText.includes"
    await shown.until(f"{gone}('Running …')", "nothing runs while a person is asked")
    await shown.enter("Cancel", within="dialog")
    await shown.until(f"{gone}('It starts again')", "another action began")
    await shown.enter("Restart")
    await shown.says("It starts again")
    becomes(known, status="qr_scanning", link="qr_pending")
    await shown.until(f"{gone}('It starts again')", "the session's state changed")


async def test_who_does_not_confirm_loses_nothing(known: Api, shown: Page) -> None:
    await shown.show(VIEW)
    await shown.enter("Delete")
    await shown.enter("Cancel", within="dialog")
    await shown.until("!document.querySelector('dialog')", "it is closed")
    assert known.sessions.begun == []
    assert await shown.has("Delete")


async def test_a_refused_action_says_why_and_what_to_do(known: Api, shown: Page) -> None:
    shown.expected = ["status of 409"]
    await shown.show(VIEW)
    known.sessions.fail = ConflictError("its profile is locked", remedy="run `waguard doctor`")
    await shown.enter("Restart")
    await shown.says("Its profile is locked. run waguard doctor")
    known.sessions.fail = None


async def test_a_key_that_may_only_read_has_no_buttons(known: Api, shown: Page) -> None:
    becomes(known, **SCANNING)
    made = await known.call("POST", "/api/keys", {"name": "eyes", "right": "read"})
    await shown.show(VIEW, key=made.json()["key"])
    await shown.says("Waits for a scan")
    for words in ("Start", "Stop", "Restart", "Log out", "Delete", "New code", "picture"):
        assert not await shown.has(words), words
    assert known.sessions.done == [], "it asks for no code"


async def test_a_session_that_is_not_there_leads_back(known: Api, shown: Page) -> None:
    await shown.show("#/session/nobody")
    await shown.says("There is no such session")
    await shown.enter("All sessions")
    await shown.until("location.hash === '#/'", "all sessions are shown")


# ---- pairing ----


async def read_code(shown: Page, path: Path) -> list[str]:
    await shown.picture(path)
    return [it.text for it in zxingcpp.read_barcodes(Image.open(path))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_code_renews_itself_and_is_asked_for_only_while_there_is_one(
    known: Api, shown: Page, scheme: str, tmp_path: Path
) -> None:
    await shown.size(1280, 900)
    await shown.scheme(scheme)
    await shown.show(VIEW)
    await shown.says("Connected")
    assert known.sessions.done == []
    becomes(known, **SCANNING)
    await shown.until(
        "$('.qr img')?.naturalWidth && $('.qr').checkVisibility()", "the code is shown"
    )
    assert await read_code(shown, tmp_path / "code.png") == [RAW]
    again = "2@another0123456789,key+/=,identity,secret,1"
    code = {"qr_code": qr.data_url(again), "raw": again, "expires_in": 20}
    known.bus.publish("qr_code_generated", NAME, 1, code)
    is_next = f"$('.qr img').src === {code['qr_code']!r} && $('.qr img').complete"
    await shown.until(is_next, "the next one")
    assert await read_code(shown, tmp_path / "code.png") == [again]
    assert known.sessions.done == ["qr wait=20 refresh=False"], "the stream has the next ones"
    becomes(known, status="connected", link="connected", phone_number="6281180001")
    await shown.until("!$('.qr img').checkVisibility()", "the code is gone")


async def test_a_code_that_cannot_be_had_is_asked_for_once_at_a_time(
    known: Api, shown: Page
) -> None:
    await shown.before(
        "window.ticks = []; window.retries = []; const [every, later] = [setInterval, setTimeout];"
        " window.setInterval = (run, time) => time === 1000 ? ticks.push(run) : every(run, time);"
        " window.setTimeout = (run, time) => time === 3000 ? retries.push(run) : later(run, time);"
    )
    await shown.answers("/qr?", "Promise.reject(new TypeError('nobody listens'))")
    becomes(known, **SCANNING)
    await shown.show(VIEW)
    await shown.until("retries.length === 1", "it is asked for again later")
    await wait_until(lambda: known.bus._listeners, "the page listens")
    code = {"qr_code": qr.data_url(RAW), "raw": RAW, "expires_in": -60}
    known.bus.publish("qr_code_generated", NAME, 1, code)
    await shown.until("$('.qr').checkVisibility()", "a code that is over is shown")
    for _ in range(3):  # seconds
        await shown.value("(ticks.forEach((it) => it()), new Promise((done) => later(done)))")
    assert await shown.value("retries.length") == 1
    await shown.value("(retries.shift()(), 0)")
    await shown.until("retries.length === 1", "and again")


async def test_a_code_that_nobody_scanned_is_asked_for_again(known: Api, shown: Page) -> None:
    expired = structs.replace(PARKED, reason="qr_expired", message="nobody scanned the code")
    becomes(
        known, **SCANNING | {"link": "unknown", "lifecycle": "parked", "conditions": (expired,)}
    )
    await shown.show(VIEW)
    await shown.enter("New code")
    await shown.says("A new code is shown.")
    assert known.sessions.done == ["qr wait=20 refresh=True"]


async def test_a_phone_is_paired_by_its_number(known: Api, shown: Page) -> None:
    becomes(known, **SCANNING)
    await shown.show(VIEW)
    await shown.fill("#pair-phone", "+62 812 3456 7890")
    await shown.enter("Get a code to type")
    await shown.says("ABCD-1234")
    calls = [call for _, call, _ in known.sessions.calls]
    assert calls == [PairingCode(phone="6281234567890")]


# ---- tabs ----


async def test_incidents_are_shown_in_sentences(known: Api, shown: Page) -> None:
    for at, kind in ((1.0, "parked"), (3.5, "left")):
        entry = AuditEntry(session_id=NAME, kind=kind, reason="conflict", at=at)
        await known.store.record(entry)
    sentences = (await known.call("GET", f"/api/sessions/{NAME}/incidents")).json()["incidents"]
    await shown.show(VIEW)
    for text in sentences[0]["sentences"]:
        await shown.says(text)


async def test_the_timeline_has_what_happened_and_who_did_what(known: Api, shown: Page) -> None:
    await known.store.record(AuditEntry(session_id=NAME, kind="parked", reason="conflict", at=1.0))
    await shown.show(f"{VIEW}/why")
    await shown.enter("timeline")
    entries = (await known.call("GET", f"/api/timeline?session_id={NAME}")).json()["entries"]
    await shown.says(entries[0]["text"])


async def test_messages_are_listed_filtered_and_cancelled(known: Api, shown: Page) -> None:
    text = {"session_id": NAME, "recipient_phone": "6281234567890", "message": "secret words"}
    known.sessions.outcomes.append(Uncertain("no answer"))
    assert (await known.call("POST", "/api/messages/send", text)).status == 202
    later = text | {"send_at": time.time() + 3600}
    number = (await known.call("POST", "/api/messages/send", later)).json()["id"]
    await shown.show(f"{VIEW}/messages")
    await shown.says("it may have been sent")
    await shown.enter("Cancel", within="#tab")
    await shown.until("$('#tab .badge.off')?.textContent === 'cancelled'", "it is cancelled")
    found = (await known.call("GET", f"/api/messages/{number}")).json()
    assert found["status"] == State.CANCELLED
    await shown.choose("#message-state", "uncertain")
    await shown.until("document.querySelectorAll('#tab .lines > li').length === 1", "one is left")
    assert "secret words" not in await shown.text()


async def test_a_webhook_of_its_own_is_set_and_removed(known: Api, shown: Page) -> None:
    await shown.show(f"{VIEW}/webhook")
    await shown.says("It has none of its own.")
    await shown.fill("#hook-url", "https://app.example/hook")
    await shown.fill("#hook-secret", "a secret of the session")
    await shown.enter("Save")
    await shown.says("https://app.example/hook, signed.")
    kept = await known.webhooks.endpoints.find(NAME)
    assert kept
    assert (kept.secret, kept.hold) == ("a secret of the session", True)
    await shown.enter("Remove")
    await shown.says("becomes dead letters")
    await shown.confirm(NAME)
    await shown.says("It has none of its own.")
    assert await known.webhooks.endpoints.find(NAME) is None


async def test_what_the_form_does_not_show_of_a_webhook_is_kept(known: Api, shown: Page) -> None:
    before = Endpoint(
        session_id=NAME,
        url="https://app.example/old",
        secret="a secret of the session",
        events=("message_received",),
        fields=MessageFields.ALL,
    )
    await known.webhooks.endpoints.put(before)
    await shown.show(f"{VIEW}/webhook")
    await shown.says("https://app.example/old, signed.")
    await shown.fill("#hook-url", "https://app.example/hook")
    await shown.enter("Save")
    await shown.says("The address or the secret is invalid.")
    await shown.fill("#hook-secret", "another secret of it")
    await shown.enter("Save")
    await shown.says("https://app.example/hook, signed.")
    kept = await known.webhooks.endpoints.find(NAME)
    assert kept
    assert (kept.events, kept.fields) == (("message_received",), MessageFields.ALL)


async def test_a_webhook_that_is_not_known_is_not_overwritten(known: Api, shown: Page) -> None:
    shown.expected = ["status of 503"]
    await shown.answers(
        "/receivers",
        """window.known ? real() : new Response('{"error": "away"}', { status: 503 })""",
    )
    await shown.show(f"{VIEW}/webhook")
    await shown.says("HTTP 503")
    assert not await shown.value("$('#hook-url').checkVisibility()")
    await shown.value(
        "(window.known = true, location.hash = location.hash.replace('webhook', 'why'))"
    )
    await shown.says("Incidents")
    await shown.value("(location.hash = location.hash.replace('why', 'webhook'), 0)")
    await shown.says("It has none of its own.")
    assert await shown.value("$('#hook-url').checkVisibility()")


async def test_what_has_no_answer_may_have_been_done(known: Api, shown: Page) -> None:
    await shown.answers("/stop", "Promise.reject(new TypeError('lost'))")
    await shown.show(VIEW)
    await shown.enter("Stop")
    await shown.says("Whether it was done is unknown: look before you repeat it.")
    assert "tries again" not in await shown.text()


async def test_a_picture_of_its_page_is_taken(known: Api, shown: Page) -> None:
    content = io.BytesIO()
    Image.new("RGB", (90, 60), "red").save(content, "PNG")
    known.sessions.values.append(Value(content=content.getvalue()))
    await shown.show(f"{VIEW}/picture")
    await shown.enter("Take a picture")
    await shown.until("document.querySelector('.picture')?.naturalWidth === 90", "the picture")
    assert [call for _, call, _ in known.sessions.calls] == [Screenshot()]


async def test_a_chosen_tab_keeps_the_keyboard(known: Api, shown: Page) -> None:
    await shown.show(VIEW)
    await shown.enter("messages")
    await shown.until("location.hash.endsWith('/messages')", "another address")
    focused = "document.activeElement.textContent === 'messages'"
    await shown.until(focused, "the keyboard stays at the tab")
    await wait_until(lambda: known.bus._listeners, "the stream is open")


async def test_a_view_that_is_left_follows_nothing(known: Api, shown: Page) -> None:
    becomes(known, **SCANNING)
    await shown.show(VIEW)
    await wait_until(lambda: known.sessions.done, "the code was asked for")
    await shown.value("location.hash = '#/new'")
    await shown.says("Workspace")
    known.sessions.done.clear()
    becomes(known, link="pairing")
    becomes(
        known, connected_at=MOMENT, **{k: v for k, v in SCANNING.items() if k != "connected_at"}
    )
    await shown.until("location.hash === '#/new'", "it stays")
    assert known.sessions.done == []
