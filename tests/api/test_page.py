"""The status page: its headers, and what a person sees in a real browser."""

import asyncio
import contextlib
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import HEALTHY, RAW, a_view
from tests.waiting import wait_until
from tests.worker.browser_fixtures import (  # noqa: F401 - fixtures
    LONG,
    chromium,
    page,
    spec,
    start,
    tmpdir_short,
)
from waguard.core import remedies
from waguard.core.blame import Blame, Condition
from waguard.core.page_care import Kind
from waguard.core.passkey_link import PasskeyStage
from waguard.ports.passkeys import PasskeyView
from waguard.wire.reports import PageVersion
from waguard.worker.browser.devtools import PageSession

ADVICE = remedies.text(remedies.PAGE[Kind.ACKS_IN_VAIN], "shop_bandung")
OWN_EXTENSION = "imnpmcelhinkedklilbalckcodlmedlb"
EXTENSION = """void (globalThis.chrome ??= {}, chrome.runtime = { sendMessage: (id, message, reply) => {
  if (message.type === 'waha-passkey-ping') { reply({ ok: true }); return; }
  [window.askedOf, window.asked] = [id, message];
  reply(%s);
} })"""
CONDITIONS = (
    Condition(
        type="webhooks_down",
        blame=Blame.OPERATOR,
        reason="webhooks_down",
        message="the receiver accepts no webhooks",
        since=0.0,
        remedy="Repair it.",
    ),
    Condition(
        session="shop_bandung",
        type="acks_in_vain",
        blame=Blame.WHATSAPP,
        reason="acks_in_vain",
        message="2 messages wait for acks",
        since=0.0,
        remedy=ADVICE,
    ),
    Condition(
        session="shop_medan",
        type="parked",
        blame=Blame.WHATSAPP,
        reason="blocked",
        message="WhatsApp blocked the number <b>for 24 h</b>",
        since=0.0,
        remedy="Look at the phone.",
    ),
)


async def test_nothing_comes_from_elsewhere(api: Api) -> None:
    answer = await api.call("GET", "/", key=None)
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    scripts = [("/page.js", "javascript"), ("/passkey.js", "javascript")]
    for path, kind in (("/", "html"), *scripts, ("/page.css", "css")):
        answer = await api.call("GET", path, key=None)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == f"text/{kind}; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"https?://|innerHTML\s*=|style=|onclick", answer.content.decode())


async def test_the_page_names_the_extension_that_is_configured(api: Api) -> None:
    line = '<meta name="passkey-extension" content="%s">'
    for configured in ("", "abcdefghijklmnopabcdefghijklmnop"):
        api.configure("whatsapp", passkey_extension=configured)
        answer = await api.call("GET", "/", key=None)
        assert answer.content.decode().count(line % configured) == 1


@pytest.mark.chromium
class TestInBrowser:
    @pytest.fixture
    async def shown(
        self,
        api: Api,
        page: PageSession,  # noqa: F811 - the fixture
    ) -> AsyncIterator["Page"]:
        api.sessions.known = {
            "shop_bandung": a_view(
                session_id="shop_bandung",
                undecryptable=3,
                undecryptable_since=0.0,
                conditions=CONDITIONS[1:2],
                version=PageVersion(page=1042999, served_by="store"),
            ),
            "shop_jakarta": a_view(
                session_id="shop_jakarta",
                status="qr_scanning",
                link="qr_pending",
                phone_number=None,
                restarts=0,
            ),
            "shop_medan": a_view(
                session_id="shop_medan",
                status="failed",
                link="blocked",
                lifecycle="parked",
                disconnect_reason="error",
                disconnect_details="WhatsApp blocked the number <b>for 24 h</b>",
            ),
        }
        api.sessions.status = replace(HEALTHY, total=3, disconnected=2, conditions=CONDITIONS)
        reported: list[dict[str, Any]] = []
        page.on("Runtime.exceptionThrown", reported.append)
        page.on("Log.entryAdded", reported.append)
        await page.send("Log.enable", timeout=LONG)
        await page.navigate(api.base + "/", timeout=LONG)
        yield Page(page)
        # a refused key is meant to be refused, and advice is no error
        expected = ("status of 401", '"source": "recommendation"')
        lines = [json.dumps(entry) for entry in reported]
        assert not [line for line in lines if not any(part in line for part in expected)]

    async def test_asks_for_the_key_and_then_shows_everything_live(
        self, api: Api, shown: "Page", tmp_path: Path
    ) -> None:
        await shown.until("!$('login').hidden", "it asks for the key")
        await shown.log_in("a wrong key, but a long one")
        await shown.until("document.body.innerText.includes('not accepted')", "it says so")
        await shown.picture(tmp_path / "login.png")
        await shown.log_in(KEY)
        await shown.until(
            "$('rows').children.length === 3 && $('login').hidden", "the sessions are shown"
        )
        text = await shown.text()
        assert "1 of 3 connected" in text
        shown_conditions = await shown.value(
            "[...$('problems').children].map((it) => [it.dataset.type, it.dataset.session ?? null])"
        )
        assert shown_conditions == [[it.type, it.session] for it in CONDITIONS]
        assert "the receiver accepts no webhooks. Repair it." in text
        assert "error: WhatsApp blocked the number <b>for 24 h</b>" in text  # as text
        assert "172" in text, "what a session takes"
        assert "1042999 (store)" in text, "what its page is"
        assert "2 messages wait for acks" in text
        assert "messages that cannot be decrypted yet: 3" in text
        assert ADVICE.replace("`", "") in text, "commands are set as code"
        api.bus.publish(
            "incident", "shop_medan", 1, {"kind": "parked", "before": None, "reason": "blocked"}
        )
        await shown.until(
            "document.body.innerText.includes('incident parked: blocked')", "the incident is told"
        )
        assert await shown.value("sessionStorage.getItem('waguard-key')") == KEY
        assert await shown.value("document.cookie + location.search") == ""

        await shown.until("$('codes').querySelector('img')?.complete", "the code is shown")
        await shown.size(1100, 760)
        for scheme in ("dark", "light"):
            await shown.scheme(scheme)
            await shown.picture(tmp_path / f"{scheme}.png")
            read = zxingcpp.read_barcodes(Image.open(tmp_path / f"{scheme}.png"))
            assert [code.text for code in read] == [RAW]

        api.sessions.known["shop_jakarta"] = a_view(session_id="shop_jakarta")
        api.bus.publish("session_ready", "shop_jakarta", 1, {"status": "connected"})
        await shown.until("$('codes').children.length === 0", "the code is gone")
        assert "shop_jakarta session_ready connected" in await shown.text()

    async def test_comes_back_when_the_stream_ends(self, api: Api, shown: "Page") -> None:
        await shown.log_in(KEY)
        await wait_until(lambda: api.bus._listeners, "the page listens")
        api.bus.publish("link", "shop_medan", 1, {"from": "a", "to": "b"})
        await shown.until("$('events').children.length === 1", "the event is shown")
        for listener in list(api.bus._listeners):
            api.bus._end(listener)
        api.bus.publish("link", "shop_medan", 1, {"from": "b", "to": "c"})  # nobody listens
        await shown.until("$('events').children.length === 2", "it was replayed")
        assert "b → c" in await shown.text()

    async def test_a_passkey_is_signed_by_the_extension_and_refused_on_its_card(
        self, api: Api, shown: "Page"
    ) -> None:
        api.sessions.known = {"shop": a_view(session_id="shop", link="passkey_required")}
        api.passkeys.shown = PasskeyView(
            stage=PasskeyStage.OFFERED, until=2e9, expires_in=600.0, unattended_until=2e9 - 300
        )
        api.passkeys.options = {"challenge": "AAAA"}
        await shown.log_in(KEY)
        await shown.until("$('passkeys').firstChild", "the linking is shown")
        text = await shown.text()
        assert "Start when its owner is here" in text
        assert re.search(r"\b(600|59\d) s left; within (300|29\d) s no code", text)

        await shown.press("Use my passkey")
        await shown.until(
            "document.body.innerText.includes('waguard passkey shop')", "what to do is said"
        )
        assert api.passkeys.calls == []

        await shown.value(EXTENSION % '{ok: false, error: "cancelled"}')
        await shown.press("Use my passkey")
        await shown.until(
            "document.body.innerText.includes('Nothing was signed: cancelled.')", "it is said"
        )
        assert [call[0] for call in api.passkeys.calls] == ["start", "cancel"]
        assert api.passkeys.calls[1][1] == "r", "the request that it started, and no other"

        await shown.value(EXTENSION % '{ok: true, assertion: {id: "A"}}')
        await shown.press("Use my passkey")
        await wait_until(lambda: len(api.passkeys.calls) == 4, "it is answered")
        assert api.passkeys.calls[3][:3] == ("answer", "r", {"id": "A"})
        asked = {"type": "waha-passkey-sign", "challenge": {"challenge": "AAAA"}, "label": "shop"}
        assert await shown.value("window.asked") == asked
        assert await shown.value("window.askedOf") == OWN_EXTENSION

    async def test_a_card_that_nobody_answers_is_waited_for_no_longer_than_its_request(
        self, api: Api, shown: "Page"
    ) -> None:
        api.sessions.known = {"shop": a_view(session_id="shop", link="passkey_required")}
        api.passkeys.shown = PasskeyView(stage=PasskeyStage.OFFERED, until=2e9, expires_in=600.0)
        api.passkeys.expires_in = 0.0
        await shown.log_in(KEY)
        await shown.until("$('passkeys').firstChild", "the linking is shown")
        await shown.value(EXTENSION.replace("reply(%s)", "reply = null"))
        await shown.press("Use my passkey")
        await shown.until(
            "document.body.innerText.includes('Nothing was signed: its time is over.')",
            "it is said",
        )
        assert [call[0] for call in api.passkeys.calls] == ["start"]

    async def test_a_code_is_confirmed_by_a_person_who_sees_it(
        self, api: Api, shown: "Page"
    ) -> None:
        api.sessions.known = {"shop": a_view(session_id="shop", link="passkey_required")}
        api.passkeys.shown = PasskeyView(
            stage=PasskeyStage.CONFIRM, until=2e9, expires_in=120.0, code="ABCD-1234"
        )
        await shown.log_in(KEY)
        await shown.until("$('passkeys').innerText.includes('ABCD-1234')", "the code is shown")
        buttons = "[...document.querySelectorAll('#passkeys button:not([hidden])')]"
        assert await shown.value(f"{buttons}.map((it) => it.textContent)") == [
            "Both codes are equal"
        ]
        await shown.press("Both codes are equal")
        await wait_until(lambda: api.passkeys.calls, "it is confirmed")
        assert api.passkeys.calls[0][:2] == ("confirm", "ABCD-1234")

        api.passkeys.shown = PasskeyView(stage=PasskeyStage.FAILED, until=2e9, error="timeout")
        api.bus.publish("link", "shop", 1, {"from": "a", "to": "b"})
        await shown.until("$('passkeys').innerText.includes('timeout')", "why it failed is shown")
        api.passkeys.shown = PasskeyView()
        api.bus.publish("link", "shop", 1, {"from": "b", "to": "c"})
        await shown.until("!$('passkeys').firstChild", "it is over")

    async def test_is_usable_without_eyes_and_on_a_phone(
        self, shown: "Page", tmp_path: Path
    ) -> None:
        await shown.log_in(KEY)
        await shown.until(
            "$('rows').children.length === 3 && $('codes').firstChild", "all is shown"
        )
        assert await shown.value("document.documentElement.lang") == "en"
        assert await shown.value("document.querySelectorAll('img:not([alt])').length") == 0
        assert await shown.value("document.querySelectorAll('th:not([scope])').length") == 0
        assert await shown.value("document.querySelector('label').control.id") == "key"
        await shown.size(360, 740)
        assert await shown.value("document.documentElement.scrollWidth") <= 360
        await shown.picture(tmp_path / "phone.png")


class Page:
    """What a person does with it, and sees."""

    def __init__(self, session: PageSession) -> None:
        self._session = session

    async def value(self, expression: str) -> Any:
        return await self._session.evaluate(expression, timeout=LONG)

    async def text(self) -> str:
        return str(await self.value("document.body.innerText"))

    async def until(self, condition: str, what: str) -> None:
        """``$`` is the page's own way to its elements."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONG):
                while not await self.value(f"typeof $ === 'function' && Boolean({condition})"):
                    await asyncio.sleep(0.02)
                return
        pytest.fail(f"never: {what}; the page says:\n{await self.text()}")

    async def press(self, words: str) -> None:
        button = f"[...document.querySelectorAll('button')].find((it) => it.textContent === {json.dumps(words)} && !it.disabled)"
        await self.until(button, f"a button {words!r}")
        await self.value(f"{button}.click()")

    async def log_in(self, key: str) -> None:
        await self.until("!$('login').hidden", "it asks for the key")
        await self.value(f"$('key').value = {json.dumps(key)}; $('login').requestSubmit()")

    async def scheme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        await self._session.send("Emulation.setEmulatedMedia", {"features": features}, timeout=LONG)

    async def size(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        await self._session.send("Emulation.setDeviceMetricsOverride", size, timeout=LONG)

    async def picture(self, path: Path) -> None:
        content = await self._session.screenshot(LONG)
        Image.open(io.BytesIO(content)).save(path)
