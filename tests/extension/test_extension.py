"""The extension in a real Chromium: who may ask, what the card says, who signs, and who gets nothing."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from extension.build import build
from tests.desk import (
    CANCEL,
    LONG,
    SIGN,
    WHATSAPP,
    card,
    eventually,
    operators_chromium,
    plug_in,
    press,
    signing_tab,
)
from waguard.lab.standin.certificate import make_certificate
from waguard.lab.standin.passkeys import Credential
from waguard.worker.browser.chromium import Chromium
from waguard.worker.browser.errors import DevToolsError
from waguard.worker.browser.page import PageSession

pytestmark = [pytest.mark.chromium, pytest.mark.long]

CONSOLE: Final = "https://console.test"
CHALLENGE: Final = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
OPTIONS: Final = {
    "challenge": CHALLENGE,
    "timeout": 600_000,
    "rpId": "whatsapp.com",
    "allowCredentials": [],
    "userVerification": "required",
    "extensions": {"uvm": True},
}
NOBODY: Final = "nobody there"
SEND: Final = (
    "new Promise((done) => { if (!globalThis.chrome?.runtime?.sendMessage) return done('nobody there');"
    " chrome.runtime.sendMessage(%s, %s, (it) => done(chrome.runtime.lastError ? 'nobody there' : it)); })"
)


@dataclass
class World:
    """The operator's Chromium with the extension, and pages of several origins."""

    chromium: Chromium
    page: PageSession
    id: str
    plain: int
    other: int

    async def say(self, message: dict[str, Any], page: PageSession | None = None) -> Any:
        """What the extension answers the page."""
        return await (page or self.page).evaluate(
            SEND % (json.dumps(self.id), json.dumps(message)), timeout=LONG
        )

    async def ping(self) -> Any:
        return await self.say({"type": "waha-passkey-ping"})

    def sign(
        self, label: Any = "sales", page: PageSession | None = None, **changes: Any
    ) -> "asyncio.Task[Any]":
        message = {"type": "waha-passkey-sign", "challenge": OPTIONS | changes, "label": label}
        return asyncio.create_task(self.say(message, page))

    async def tabs(self) -> int:
        found = await self.chromium.devtools.send("Target.getTargets", {}, timeout=LONG)
        return sum(it["type"] == "page" for it in found["targetInfos"])


async def _page(request: web.Request) -> web.Response:
    inner = request.query.get("frame")
    frame = f"<iframe src='{inner}'></iframe>" if inner else ""
    return web.Response(text=f"<title>a page</title>text{frame}", content_type="text/html")


@contextlib.asynccontextmanager
async def served(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    app = web.Application()
    app.add_routes([web.get("/", _page), web.get("/robots.txt", _robots)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _robots(_: web.Request) -> web.Response:
    return web.Response(text="User-agent: *\nDisallow: /\n")


@pytest.fixture
async def world(tmp_path: Path, short_path: Path) -> AsyncIterator[World]:
    hosts = ("web.whatsapp.com", "console.test", "evil.test")
    context, spki = make_certificate(*hosts)
    async with served(context) as tls, served(None) as plain, served(None) as other:
        made = build([CONSOLE, f"http://127.0.0.1:{plain}"], tmp_path / "extension")
        rules = ", ".join(f"MAP {host}:443 127.0.0.1:{tls}" for host in hosts)
        switches = [
            f"--host-resolver-rules={rules}, MAP console.test:8443 127.0.0.1:{tls}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--ignore-certificate-errors-spki-list={spki}",
        ]
        extensions = [tmp_path / "extension"]
        async with operators_chromium(short_path, switches, extensions=extensions) as chromium:
            page = await chromium.devtools.open_page(LONG)
            yield World(chromium, page, made, plain, other)


async def test_only_pages_of_the_listed_origins_are_heard(world: World) -> None:
    for origin in (CONSOLE, f"http://127.0.0.1:{world.plain}"):
        await world.page.navigate(origin, timeout=LONG)
        answer = await world.ping()
        assert answer == {"ok": True, "type": "waha-passkey-pong", "version": "1"}, origin
        assert await world.say({"type": "anything else"}) == NOBODY
    for origin in (
        "https://evil.test",
        "https://console.test:8443",
        f"http://127.0.0.1:{world.other}",
        WHATSAPP,
    ):
        await world.page.navigate(origin, timeout=LONG)
        assert await world.ping() == NOBODY, origin
        assert await world.sign() == NOBODY, origin
    # a listed page within another one's frame
    await world.page.navigate(f"https://evil.test/?frame={CONSOLE}/", timeout=LONG)
    assert await _from_the_frame(world) == NOBODY
    assert await world.tabs() == 1, "no card was shown"


async def _from_the_frame(world: World) -> Any:
    async def find() -> dict[str, Any] | None:
        targets = await world.chromium.devtools.send("Target.getTargets", {}, timeout=LONG)
        return next((it for it in targets["targetInfos"] if it["type"] == "iframe"), None)

    target = await eventually(find, "the frame")
    session = await world.chromium.devtools.browser._connection.createSession(target)
    frame = PageSession(session, target["targetId"])

    async def loaded() -> bool:
        return bool(
            await frame.evaluate(
                "document.readyState === 'complete' && location.origin === 'https://console.test'",
                timeout=LONG,
            )
        )

    await eventually(loaded, "the frame's page")
    message = {"type": "waha-passkey-sign", "challenge": OPTIONS, "label": "sales"}
    return await frame.evaluate(SEND % (json.dumps(world.id), json.dumps(message)), timeout=LONG)


async def test_a_persons_click_signs_and_nothing_else_does(world: World) -> None:
    await world.page.navigate(CONSOLE, timeout=LONG)
    asked = world.sign()
    tab = await signing_tab(world.chromium)

    async def shown() -> str:
        return await card(tab)

    text = await eventually(shown, "the card")
    assert f'{CONSOLE} asks for your passkey to link its session "sales".' in text
    assert "will read and send your messages" in text
    other = await _another_tab(world)
    assert await world.sign(page=other) == {"ok": False, "error": "another request is being shown"}
    await _close(world, other)
    # a script of the page at WhatsApp's origin: it sees no button, and its clicks are none
    reached = "document.querySelector('#waguard-passkey').shadowRoot"
    assert await tab.evaluate(reached, timeout=LONG) is None
    assert await tab.evaluate("typeof waguardCard", timeout=LONG) == "undefined"
    await plug_in(tab, Credential().to_json())
    await press(tab, SIGN)
    answer = await asked
    assert answer["ok"] is True
    signed = json.loads(
        base64.urlsafe_b64decode(_padded(answer["assertion"]["response"]["clientDataJSON"]))
    )
    assert (signed["type"], signed["challenge"]) == ("webauthn.get", CHALLENGE)
    assert (signed["origin"], signed["crossOrigin"]) == (WHATSAPP, False)
    await _closed(world)


async def _closed(world: World) -> None:
    async def closed() -> bool:
        return await world.tabs() == 1

    await eventually(closed, "the card's tab is closed")


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


async def _another_tab(world: World) -> PageSession:
    devtools = world.chromium.devtools
    made = await devtools.send("Target.createTarget", {"url": "about:blank"}, timeout=LONG)
    targets = (await devtools.send("Target.getTargets", {}, timeout=LONG))["targetInfos"]
    (found,) = (it for it in targets if it["targetId"] == made["targetId"])
    session = await devtools.browser._connection.createSession(found)
    page = PageSession(session, found["targetId"])
    await page.navigate(CONSOLE, timeout=LONG)
    return page


async def _close(world: World, page: PageSession) -> None:
    await world.chromium.devtools.send(
        "Target.closeTarget", {"targetId": page.target_id}, timeout=LONG
    )


async def test_who_cancels_signs_nothing_and_may_be_asked_again(world: World) -> None:
    await world.page.navigate(CONSOLE, timeout=LONG)
    asked = world.sign()
    tab = await signing_tab(world.chromium)
    await press(tab, CANCEL)
    assert await asked == {"ok": False, "error": "cancelled"}
    await _closed(world)
    asked = world.sign("Nothing will happen. This is safe.")  # no name of a session
    tab = await signing_tab(world.chromium)

    async def shown() -> str:
        return await card(tab)

    text = await eventually(shown, "the card")
    assert f"{CONSOLE} asks for your passkey." in text
    assert "safe" not in text
    # the person closes the tab
    await _close(world, tab)
    assert await asked == {"ok": False, "error": "the card was closed"}


async def test_a_card_whose_page_is_left_is_waited_for_no_longer(world: World) -> None:
    await world.page.navigate(CONSOLE, timeout=LONG)
    asked = world.sign()
    tab = await signing_tab(world.chromium)

    async def shown() -> str:
        return await card(tab)

    await eventually(shown, "the card")
    with contextlib.suppress(DevToolsError):  # the tab is closed at once
        await tab.navigate(f"{WHATSAPP}/robots.txt?elsewhere", timeout=LONG)
    assert await asked == {"ok": False, "error": "the card was closed"}
    await _closed(world)


async def test_a_card_ends_with_the_time_of_its_request(world: World) -> None:
    await world.page.navigate(CONSOLE, timeout=LONG)
    assert await world.sign(timeout=1000) == {"ok": False, "error": "its time is over"}
    await _closed(world)
    asked = world.sign()
    await press(await signing_tab(world.chromium), CANCEL)
    assert await asked == {"ok": False, "error": "cancelled"}


@pytest.mark.parametrize("leave", ["close", "again"])
async def test_a_card_ends_with_the_page_that_asked(world: World, leave: str) -> None:
    await world.page.navigate(CONSOLE, timeout=LONG)
    other = await _another_tab(world)
    gone = world.sign(page=other)
    tab = await signing_tab(world.chromium)

    async def shown() -> str:
        return await card(tab)

    await eventually(shown, "the card")
    await other.evaluate("location.hash = '#/session/sales'", timeout=LONG)
    busy = {"ok": False, "error": "another request is being shown"}
    assert await world.sign() == busy, "a page that stays is waited for"
    if leave == "again":
        first, gone = gone, world.sign("second", page=other)
        assert await first == {"ok": False, "error": "the page asked again"}
        await eventually(lambda: _says(world, "second"), "the second card")
    await _close(world, other)
    with pytest.raises(DevToolsError):
        await gone
    await _closed(world)
    asked = world.sign()
    await press(await signing_tab(world.chromium), CANCEL)
    assert await asked == {"ok": False, "error": "cancelled"}


async def _says(world: World, words: str) -> bool:
    with contextlib.suppress(DevToolsError):  # the first one's tab is being closed
        return words in await card(await signing_tab(world.chromium))
    return False


async def test_a_passkey_that_does_not_verify_its_person_may_be_tried_again(world: World) -> None:
    await world.page.navigate(CONSOLE, timeout=LONG)
    asked = world.sign()
    tab = await signing_tab(world.chromium)
    await plug_in(tab, Credential().to_json(), isUserVerified=False)
    await press(tab, SIGN)

    async def problem() -> bool:
        return "The browser says: " in await card(tab)

    await eventually(problem, "the card says what is wrong")
    assert not asked.done()
    await tab.send("WebAuthn.disable", {}, timeout=LONG)
    await plug_in(tab, Credential().to_json())
    await press(tab, SIGN)
    assert (await asked)["ok"] is True


@pytest.mark.parametrize(
    "changes",
    [{"rpId": "example.org"}, {"userVerification": "discouraged"}, {"challenge": None}],
)
async def test_what_whatsapp_would_not_ask_is_not_signed(
    world: World, changes: dict[str, Any]
) -> None:
    await world.page.navigate(CONSOLE, timeout=LONG)
    answer = await world.sign(**changes)
    why = "only a request for whatsapp.com that requires user verification is signed"
    assert answer == {"ok": False, "error": why}
    await _closed(world)
