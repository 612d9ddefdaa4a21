"""The window of `waguard passkey` in a real Chromium: what it shows, what it gives, and that nothing of it stays."""

import asyncio
import base64
import contextlib
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from tests.desk import CANCEL, LONG, SIGN, WHATSAPP, card, eventually, plug_in, press
from tests.worker.browser_fixtures import live_processes
from waguard.cli import passkey_desk
from waguard.cli.context import Desk
from waguard.cli.passkey_desk import NotSignedError, Window
from waguard.core.replace import replace
from waguard.lab.standin.certificate import make_certificate
from waguard.lab.standin.passkeys import Credential
from waguard.worker.browser.chromium import Chromium
from waguard.worker.browser.errors import DevToolsError
from waguard.worker.browser.page import PageSession

pytestmark = [pytest.mark.chromium, pytest.mark.long]

CHALLENGE: Final = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
OPTIONS: Final = {
    "challenge": CHALLENGE,
    "timeout": 600_000,
    "rpId": "whatsapp.com",
    "allowCredentials": [],
    "userVerification": "required",
    "extensions": {"uvm": True},
}
Opened = Callable[[Chromium, PageSession], Awaitable[None]]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """A Chrome for which this machine is WhatsApp."""
    context, spki = make_certificate("web.whatsapp.com")
    runner = web.AppRunner(web.Application(), access_log=None)  # no path has a page
    await runner.setup()
    await _listen(runner, context)
    rules = f"MAP web.whatsapp.com:443 127.0.0.1:{runner.addresses[0][1]}, MAP * ~NOTFOUND"
    arguments = (
        f"--host-resolver-rules={rules}, EXCLUDE 127.0.0.1",
        f"--ignore-certificate-errors-spki-list={spki}",
    )
    yield Desk(arguments=arguments, visible=False, sandbox=os.geteuid() != 0)
    await runner.cleanup()


async def _listen(runner: web.AppRunner, context: ssl.SSLContext) -> None:
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()


async def asked(desk: Desk, opened: Opened, **changes: Any) -> Any:
    """What the window gives; it leaves nothing."""
    profiles: list[Path] = []

    async def open_it(chromium: Chromium, page: PageSession) -> None:
        profiles.append(chromium._spec.profile)
        await opened(chromium, page)

    try:
        async with passkey_desk.window(None, replace(desk, opened=open_it)) as window:
            return await _ask(window, **changes)
    finally:
        for profile in profiles:
            assert live_processes(profile, profile.parent / "t") == []
            assert not profile.parent.exists()


async def _ask(window: Window, *, within: float = 600.0, **changes: Any) -> Any:
    origin = "waguard on desk"
    return await window.ask(OPTIONS | changes, origin=origin, session="sales", within=within)


async def test_the_persons_click_signs(desk: Desk) -> None:
    seen: list[str] = []
    hand: list[asyncio.Task[None]] = []

    async def opened(_: Chromium, page: PageSession) -> None:
        await plug_in(page, Credential().to_json())
        hand.append(asyncio.create_task(use(page)))

    async def use(page: PageSession) -> None:
        async def shown() -> str:
            return await card(page)

        seen.append(await eventually(shown, "the card"))
        assert await page.evaluate("typeof waguardCard", timeout=60) == "undefined"
        await press(page, SIGN)

    made = await asked(desk, opened)
    await hand[0]
    assert 'waguard on desk asks for your passkey to link its session "sales".' in seen[0]
    signed = json.loads(base64.urlsafe_b64decode(made["response"]["clientDataJSON"] + "=="))
    assert (signed["type"], signed["challenge"]) == ("webauthn.get", CHALLENGE)
    assert signed["origin"] == WHATSAPP


async def _cancels(_: Chromium, page: PageSession) -> None:
    await press(page, CANCEL)


async def _closes(chromium: Chromium, page: PageSession) -> None:
    async def shown() -> str:
        return await card(page)

    await eventually(shown, "the card")
    await chromium.devtools.close_browser()


async def _leaves(_: Chromium, page: PageSession) -> None:
    async def shown() -> str:
        return await card(page)

    await eventually(shown, "the card")
    with contextlib.suppress(DevToolsError):  # the window is closed at once
        await page.navigate(f"{passkey_desk.PLACE}?elsewhere", timeout=LONG)


async def _does_nothing(_: Chromium, __: PageSession) -> None:
    pass


@pytest.mark.parametrize(
    ("hand", "within", "changes", "why"),
    [
        (_cancels, 600.0, {}, "nothing was signed: cancelled"),
        (_closes, 600.0, {}, "nothing was signed: the window was closed"),
        (_leaves, 600.0, {}, "nothing was signed: the card's page was left"),
        (_does_nothing, 0.1, {}, "nothing was signed: nobody used a passkey within 0 s"),
        (_does_nothing, 600.0, {"rpId": "example.org"}, "only a request for whatsapp.com"),
    ],
)
async def test_without_a_passkey_nothing_is_signed(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    hand: Opened,
    within: float,
    changes: dict[str, Any],
    why: str,
) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def opened(chromium: Chromium, page: PageSession) -> None:
        tasks.append(asyncio.ensure_future(hand(chromium, page)))

    with pytest.raises(NotSignedError) as refused:
        await asked(desk, opened, within=within, **changes)
    await asyncio.gather(*tasks)
    assert why in str(refused.value)
    assert refused.value.remedy


async def test_a_site_that_is_not_there_is_said(desk: Desk) -> None:
    away = replace(desk, arguments=("--host-resolver-rules=MAP * ~NOTFOUND",))
    with pytest.raises(NotSignedError, match="Chrome does not reach"):
        await asked(away, _does_nothing)
