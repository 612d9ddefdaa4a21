"""A linking by passkey on the status page: who signs, what is said, what is confirmed."""

from typing import Final

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import a_view
from tests.page.browser import Page
from tests.waiting import wait_until
from waguard.core.passkey_link import PasskeyStage
from waguard.core.replace import replace
from waguard.ports.passkeys import PasskeyView

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

OWN_EXTENSION: Final = "imnpmcelhinkedklilbalckcodlmedlb"
EXTENSION: Final = """void (globalThis.chrome ??= {}, chrome.runtime = { sendMessage: (id, message, reply) => {
  if (message.type === 'waha-passkey-ping') { reply({ ok: true }); return; }
  [window.askedOf, window.asked] = [id, message];
  reply(%s);
} })"""
SECTION: Final = "document.querySelector('#passkeys section')"


@pytest.fixture
def known(api: Api) -> Api:
    api.sessions.known = {
        "shop": a_view(session_id="shop", link="passkey_required", phone_number=None)
    }
    api.passkeys.shown = PasskeyView(
        stage=PasskeyStage.OFFERED, until=2e9, expires_in=600.0, unattended_until=2e9 - 300
    )
    return api


async def test_a_passkey_is_signed_by_the_extension_and_refused_on_its_card(
    known: Api, shown: Page
) -> None:
    known.passkeys.options = {"challenge": "AAAA", "timeout": 900_000}
    await shown.show("#/session/shop")
    await shown.says("Start when its owner is here")
    await shown.until(
        f"/\\b(600|59\\d) s left; within (300|29\\d) s no code/.test({SECTION}.innerText)", "times"
    )

    await shown.enter("Use my passkey")
    await shown.says("waguard passkey shop")
    assert known.passkeys.calls == []

    await shown.value(EXTENSION % '{ok: false, error: "cancelled"}')
    await shown.enter("Use my passkey")
    await shown.says("Nothing was signed: cancelled.")
    assert [call[0] for call in known.passkeys.calls] == ["start", "cancel"]
    assert known.passkeys.calls[1][1] == "r", "the request that it started, and no other"

    await shown.value(EXTENSION % '{ok: true, assertion: {id: "A"}}')
    await shown.enter("Use my passkey")
    await wait_until(lambda: len(known.passkeys.calls) == 4, "it is answered")
    assert known.passkeys.calls[3][:3] == ("answer", "r", {"id": "A"})
    asked = await shown.value("window.asked")
    assert asked.pop("challenge") == {"challenge": "AAAA", "timeout": 600_000}, "what is left of it"
    assert asked == {"type": "waha-passkey-sign", "label": "shop"}
    assert await shown.value("window.askedOf") == OWN_EXTENSION


async def test_a_card_that_nobody_answers_is_waited_for_no_longer_than_its_request(
    known: Api, shown: Page
) -> None:
    known.passkeys.expires_in = 0.0
    await shown.show("#/session/shop")
    await shown.says("Start when its owner is here")
    await shown.value(EXTENSION.replace("reply(%s)", "reply = null"))
    await shown.enter("Use my passkey")
    await shown.says("Nothing was signed: its time is over.")
    assert [call[0] for call in known.passkeys.calls] == ["start"]


async def test_a_code_is_confirmed_by_a_person_who_sees_it(known: Api, shown: Page) -> None:
    known.passkeys.shown = PasskeyView(
        stage=PasskeyStage.CONFIRM, until=2e9, expires_in=120.0, code="ABCD-1234"
    )
    await shown.show("#/session/shop")
    await shown.says("ABCD-1234")
    buttons = await shown.value(
        "[...document.querySelectorAll('#passkeys button')].filter((it) => it.checkVisibility())"
        ".map((it) => it.textContent)"
    )
    assert buttons == ["Both codes are equal"]
    await shown.enter("Both codes are equal")
    await wait_until(lambda: known.passkeys.calls, "it is confirmed")
    assert known.passkeys.calls[0][:2] == ("confirm", "ABCD-1234")

    known.passkeys.shown = PasskeyView(
        stage=PasskeyStage.FAILED, until=2e9, expires_in=60.0, error="timeout"
    )
    await shown.says("It says: timeout.")
    known.passkeys.shown = PasskeyView()
    await shown.until(f"!{SECTION}", "it is over")


async def test_a_click_confirms_the_code_that_its_button_was_shown_with(
    known: Api, shown: Page
) -> None:
    view = PasskeyView(stage=PasskeyStage.CONFIRM, until=2e9, expires_in=120.0, code="ABCD-1234")
    known.passkeys.shown = view
    await shown.show("#/session/shop")
    await shown.says("ABCD-1234")
    find = "[...document.querySelectorAll('#passkeys button')].find((it) => it.innerText === 'Both codes are equal')"
    await shown.value(f"void (window.compared = {find})")
    known.passkeys.shown = replace(view, code="WXYZ-5678")
    await shown.says("WXYZ-5678")
    await shown.value("void compared.click()")
    await wait_until(lambda: known.passkeys.calls, "it is confirmed")
    await shown.enter("Both codes are equal")
    await wait_until(lambda: len(known.passkeys.calls) == 2, "the other one, too")
    assert [it[:2] for it in known.passkeys.calls] == [
        ("confirm", "ABCD-1234"),
        ("confirm", "WXYZ-5678"),
    ]


async def test_a_request_that_is_held_can_be_refused(known: Api, shown: Page) -> None:
    known.passkeys.shown = PasskeyView(stage=PasskeyStage.ASKED, until=2e9, expires_in=60.0)
    await shown.show("#/session/shop")
    await shown.enter("Cancel", within="#passkeys")
    await wait_until(lambda: known.passkeys.calls, "it is refused")
    assert known.passkeys.calls[0][:2] == ("cancel", None)
    await shown.says("The request is refused.")
