"""A linking that WhatsApp confirms with the account's passkey: the click, the events, what the server takes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from waguard.lab.standin import Policy, StandIn
from waguard.lab.standin.refusal import Refusal

from .chrome import Chrome, Launcher

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

PHONE = "6281180002"
# what a browser does between the request and its person's answer; the test answers with the phone's key
HOLD = """(() => {
  const pack = (b) => btoa(String.fromCharCode(...new Uint8Array(b)))
    .replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=+$/, '');
  const unpack = (t) => Uint8Array.from(atob(t.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0)).buffer;
  window.heard = [];
  const { WAWebLinkDeviceEvents: events } = require('WAWebLinkDeviceEvents');
  for (const name of ['passkey_prologue_request', 'shortcake_prologue_sent', 'shortcake_verification_code_ready',
    'shortcake_error']) events.on(`link_device_events:${name}`, (...said) => window.heard.push([name, ...said]));
  CredentialsContainer.prototype.get = ({ publicKey: key }) => new Promise((resolve, reject) => {
    window.held = JSON.stringify({ ...key, challenge: pack(key.challenge) });
    window.refuse = () => reject(new DOMException('', 'NotAllowedError'));
    window.give = (json) => resolve({ ...json, rawId: unpack(json.rawId), response: Object.fromEntries(
      Object.entries(json.response).map(([name, value]) => [name, unpack(value)])) });
  });
  return true;
})()"""
CONTINUE = "document.querySelector('[data-testid=shortcake_passkey_continue_button]')"
FAILED = "document.querySelector('[role=alert]') !== null"
CONFIRM = "document.querySelector('[data-testid=shortcake_code_confirm_button]')"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome(launcher: Launcher) -> AsyncIterator[Chrome]:
    """A browser; each test links it again."""
    yield await launcher.launch()


async def offered(standin: StandIn, chrome: Chrome, **policy: Any) -> None:
    """A scan, after which WhatsApp asks for the passkey."""
    standin.policy.update({"passkey": True, **policy})
    await chrome.send("Storage.clearDataForOrigin", origin=standin.url, storageTypes="all")
    for device in standin.whatsapp.devices.get(PHONE, []):
        device.is_linked = False
    await chrome.open(standin.url)
    await chrome.js(HOLD)
    standin.phone.scan(await chrome.code(), PHONE)
    await chrome.until_js(f"{CONTINUE} !== null")


async def request(chrome: Chrome) -> dict[str, Any]:
    """Somebody continues, and the page asks its browser."""
    await chrome.js("window.held = null")
    await chrome.js(f"{CONTINUE}.click()")
    options: dict[str, Any] = json.loads(await chrome.until_js("window.held"))
    return options


async def give(chrome: Chrome, answer: dict[str, Any]) -> None:
    """The browser has the answer."""
    await chrome.js(f"window.give({json.dumps(answer)})")


async def heard(chrome: Chrome, *names: str) -> list[list[Any]]:
    """The events, as soon as there are these."""
    wanted = json.dumps(names, separators=(",", ":"))
    await chrome.until_js(f"JSON.stringify(window.heard.map(([name]) => name)) === '{wanted}'")
    found: list[list[Any]] = json.loads(await chrome.js("JSON.stringify(window.heard)"))
    return found


ASKED = "passkey_prologue_request"
SENT = "shortcake_prologue_sent"
CODE = "shortcake_verification_code_ready"
ERROR = "shortcake_error"


async def test_the_browser_is_asked_only_after_a_click_and_the_page_goes_on_by_itself(
    standin: StandIn, chrome: Chrome, policy: Policy
) -> None:
    await offered(standin, chrome)
    assert await heard(chrome, ASKED)
    assert await chrome.js("window.held ?? null") is None
    assert await chrome.js("WPP.conn.isAuthenticated()") is False
    options = await request(chrome)
    assert options.pop("challenge")
    assert options == {
        "timeout": 600_000,
        "rpId": "whatsapp.com",
        "allowCredentials": [],
        "userVerification": "required",
        "extensions": {"uvm": True},
    }
    await give(chrome, standin.phone.passkey(json.loads(await chrome.js("window.held")), PHONE))
    *_, (_, code, unattended) = await heard(chrome, ASKED, SENT, CODE)
    assert (len(code), unattended) == (8, True)
    await chrome.connected()
    assert await chrome.js("document.querySelector('[data-testid^=shortcake_]')") is None


async def test_after_an_error_the_options_are_fresh_and_a_person_compares_the_code(
    standin: StandIn, chrome: Chrome, policy: Policy
) -> None:
    await offered(standin, chrome)
    first = await request(chrome)
    await chrome.js("window.refuse()")
    await chrome.until_js(FAILED)
    assert await heard(chrome, ASKED), "WhatsApp has no event for it"
    second = await request(chrome)
    assert second["challenge"] != first["challenge"]
    await give(chrome, standin.phone.passkey(second, PHONE))
    *_, (_, code, unattended) = await heard(chrome, ASKED, SENT, CODE)
    assert unattended is False
    display = (
        "document.querySelector('[data-testid=shortcake_verification_code_display]').textContent"
    )
    assert await chrome.until_js(display) == f"{code[:4]}-{code[4:]}"
    await chrome.js(f"{CONFIRM}.click()")
    await chrome.connected()


@pytest.mark.parametrize(
    ("policy_of_it", "fault"),
    [
        ({}, {"origin": "https://evil.test"}),
        ({}, {"verified": False}),
        ({}, {"phone": "6281180099"}),  # another account's passkey
        ({"passkey_way": "wrong_account"}, {}),
    ],
)
async def test_the_server_refuses_a_wrong_answer(
    standin: StandIn,
    chrome: Chrome,
    policy: Policy,
    policy_of_it: dict[str, Any],
    fault: dict[str, Any],
) -> None:
    await offered(standin, chrome, **policy_of_it)
    options = await request(chrome)
    await give(chrome, standin.phone.passkey(options, **{"phone": PHONE, **fault}))
    await chrome.until_js(FAILED)
    assert await heard(chrome, ASKED)
    assert await chrome.js("WPP.conn.isAuthenticated()") is False


async def test_an_answer_is_taken_once(standin: StandIn, chrome: Chrome, policy: Policy) -> None:
    await offered(standin, chrome, passkey_way="compare")
    answer = standin.phone.passkey(await request(chrome), PHONE)
    await give(chrome, answer)
    await heard(chrome, ASKED, SENT, CODE)
    ask = "require('WAWebStandinLink').link.request('passkey_answer', {assertion: %s})"
    again = f"{ask % json.dumps(answer)}.catch((error) => error.message)"
    assert await chrome.js(again) == "it answers another request"


async def test_options_are_good_for_their_time(
    standin: StandIn, chrome: Chrome, policy: Policy
) -> None:
    await offered(standin, chrome)
    options = await request(chrome)
    policy.passkey_lifetime = 0.0
    await give(chrome, standin.phone.passkey(options, PHONE))
    await chrome.until_js(FAILED)


async def test_an_answer_after_the_unattended_time_is_to_be_compared(
    standin: StandIn, chrome: Chrome, policy: Policy
) -> None:
    await offered(standin, chrome, passkey_unattended=0.0)
    await give(chrome, standin.phone.passkey(await request(chrome), PHONE))
    *_, (_, _, unattended) = await heard(chrome, ASKED, SENT, CODE)
    assert unattended is False
    assert await chrome.js("WPP.conn.isAuthenticated()") is False


async def test_the_page_does_not_wait_forever_for_a_phone(
    standin: StandIn, chrome: Chrome, policy: Policy
) -> None:
    """One that says nothing (waha#2227)."""
    await offered(standin, chrome, passkey_way="silent", passkey_wait=0.1)
    await give(chrome, standin.phone.passkey(await request(chrome), PHONE))
    assert (await heard(chrome, ASKED, SENT, ERROR))[-1] == [ERROR, "timeout"]
    await chrome.until_js(f"{CONTINUE}?.disabled === false")


async def test_the_page_does_not_wait_forever_for_a_person_who_compares(
    standin: StandIn, chrome: Chrome, policy: Policy
) -> None:
    await offered(standin, chrome, passkey_way="compare")
    shorter = "() => { require('WAWebStandinPasskey').linking.offer.wait = 0.1; }"
    await chrome.js(
        "require('WAWebLinkDeviceEvents').WAWebLinkDeviceEvents"
        f".on('link_device_events:{CODE}', {shorter}) && 0"
    )
    await give(chrome, standin.phone.passkey(await request(chrome), PHONE))
    assert (await heard(chrome, ASKED, SENT, CODE, ERROR))[-1] == [ERROR, "timeout"]


async def test_who_cancels_gets_another_code(
    standin: StandIn, chrome: Chrome, policy: Policy
) -> None:
    await offered(standin, chrome)
    await chrome.js("document.querySelector('[data-testid=shortcake_cancel_button]').click()")
    assert await chrome.code()
    assert await chrome.js("document.querySelector('[data-testid^=shortcake_]')") is None


async def test_options_that_are_none_are_refused(standin: StandIn) -> None:
    with pytest.raises(Refusal, match="the options have no challenge"):
        standin.phone.passkey({"rpId": "whatsapp.com"}, PHONE)
