"""A linking by passkey, seen in a real Chromium on the stand-in: by WhatsApp's events, and by its screen alone."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.waiting import wait_until
from tests.worker.browser_session import LONG, BrowserSession
from waguard.core.passkey_link import PasskeyEvent, PasskeyStep
from waguard.lab.standin import Policy, StandIn

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]
PHONE = "6281180001"
# what the browser does between request and answer: the test decides
HOLD = """CredentialsContainer.prototype.get = () => new Promise((resolve, reject) => {
  const bytes = new Uint8Array(40).buffer;
  const response = { clientDataJSON: bytes, authenticatorData: bytes, signature: bytes, userHandle: null };
  window.give = () => resolve({ id: 'a', rawId: bytes, type: 'public-key', response });
  window.refuse = () => reject(new DOMException('', 'NotAllowedError'));
}); 0"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[BrowserSession]:
    """On the QR screen."""
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=Policy(reconnect_delay=0.05, passkey=True)) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            yield made
            await made.close()


async def evaluate(browser: BrowserSession, script: str) -> Any:
    return await browser.session.evaluate(script, timeout=LONG)


async def scanned(browser: BrowserSession) -> None:
    """A fresh page whose code was scanned."""
    await browser.loader.load()
    browser.reports.clear()
    await evaluate(browser, HOLD)
    code = None
    while code is None:
        code = (await browser.page.read(timeout=LONG)).code
    browser.standin.phone.scan(code, PHONE)


async def shows(browser: BrowserSession, event: str) -> PasskeyStep:
    """The first reading of the screen with this."""
    async with asyncio.timeout(LONG):
        while True:
            step = (await browser.page.read(timeout=LONG)).passkey
            if step is not None and step.event is PasskeyEvent(event):
                return step
            await asyncio.sleep(0.02)


def passkeys(browser: BrowserSession) -> list[Any]:
    return [data for kind, data in browser.reports if kind == "passkey"]


async def click(browser: BrowserSession, name: str) -> None:
    await evaluate(browser, f"document.querySelector('[data-testid=shortcake_{name}]').click()")


async def test_each_step_is_reported_and_shown(browser: BrowserSession) -> None:
    assert (await browser.page.read(timeout=LONG)).passkey is None
    await scanned(browser)
    await shows(browser, "offered")
    await click(browser, "passkey_continue_button")
    await shows(browser, "asked")
    stanza = "window.require('WAWebStandinLink').link.request = async () => ({}); window.give()"
    await evaluate(browser, stanza)
    await shows(browser, "sent")
    code = "window.require('WAWebStandinPasskey').handlers.passkey_code({code: 'ABCDEFGH', compare: true})"
    await evaluate(browser, code)
    shown = await shows(browser, "code")
    assert (shown.code, shown.unattended) == ("ABCD-EFGH", False)
    await evaluate(browser, "window.require('WAWebStandinPasskey').linking.fail('timeout')")
    await shows(browser, "error")
    await wait_until(lambda: len(passkeys(browser)) == 4, "each step is reported", deadline=LONG)
    assert passkeys(browser) == [
        {"event": "offered"},
        {"event": "sent"},
        {"event": "code", "code": "ABCD-EFGH", "unattended": False},
        {"event": "error", "error": "timeout"},
    ]


async def test_a_request_that_fails_in_the_browser_is_seen_on_the_screen_alone(
    browser: BrowserSession,
) -> None:
    await scanned(browser)
    await shows(browser, "offered")
    await click(browser, "passkey_continue_button")
    await shows(browser, "asked")
    await evaluate(browser, "window.refuse()")
    await shows(browser, "error")
    assert passkeys(browser) == [{"event": "offered"}]


async def test_an_alert_that_stays_during_a_retry_is_no_failure(browser: BrowserSession) -> None:
    await scanned(browser)
    await shows(browser, "offered")
    await click(browser, "passkey_continue_button")
    await shows(browser, "asked")
    await evaluate(
        browser, "window.require('WAWebStandinPasskey').linking.prompt(true, 'It failed.')"
    )
    assert await shown_now(browser) == ("asked", False)


async def test_a_code_without_a_button_is_none_to_confirm(browser: BrowserSession) -> None:
    await scanned(browser)
    await shows(browser, "offered")
    code = "window.require('WAWebStandinPasskey').handlers.passkey_code({code: 'ABCDEFGH', compare: true})"
    await evaluate(browser, code)
    assert await shown_now(browser) == ("code", False)
    button = "document.querySelector('[data-testid=shortcake_code_confirm_button]')"
    await evaluate(browser, f"{button}.disabled = true")
    assert await shown_now(browser) == ("code", True)
    await evaluate(browser, f"{button}.remove()")
    assert await shown_now(browser) == ("code", True)


async def shown_now(browser: BrowserSession) -> tuple[str, bool]:
    step = (await browser.page.read(timeout=LONG)).passkey
    assert step
    return str(step.event), step.unattended


async def test_whatever_the_module_is_called_the_prompt_is_seen(browser: BrowserSession) -> None:
    """The name of WhatsApp's module is another one: no event is heard."""
    browser.standin.policy.factories = {"WAWebLinkDeviceEvents": -1.0}
    await scanned(browser)
    await shows(browser, "offered")
    await click(browser, "passkey_continue_button")
    await shows(browser, "asked")
    assert passkeys(browser) == []
    browser.standin.policy.factories = {}


async def test_another_code_closes_the_prompt(browser: BrowserSession) -> None:
    await scanned(browser)
    await shows(browser, "offered")
    await browser.page.refresh_qr()
    reading = await browser.page.read(timeout=LONG)
    while reading.code is None:
        reading = await browser.page.read(timeout=LONG)
    assert reading.passkey is None
