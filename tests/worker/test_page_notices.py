"""What the page says beside messages, read in a real Chromium: versions, dialogs, its own reloads."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.waiting import wait_until
from tests.worker.browser_session import LONG, BrowserSession
from waguard.core.link import Link, link_of
from waguard.lab.standin import Policy, StandIn
from waguard.wire.calls import Failed, SendMedia, SendText
from waguard.worker.browser.devtools import DevToolsTimeoutError
from waguard.worker.messages import sending
from waguard.worker.page.page_answers import Reading
from waguard.worker.page.page_errors import NotTransmittedError, PageLoadingError
from waguard.worker.timings import TIMINGS

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]
PHONE = "6281180001"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[BrowserSession]:
    """Connected."""
    policy = Policy(sync=0.1, reconnect_delay=0.05)
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=policy) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            await made.pair(PHONE)
            yield made
            await made.close()


async def reads(browser: BrowserSession, **wanted: bool) -> Reading:
    """The first reading of such facts."""
    async with asyncio.timeout(LONG):
        while True:
            reading = await browser.page.read(timeout=LONG)
            if all(getattr(reading.facts, name) == value for name, value in wanted.items()):
                return reading
            await asyncio.sleep(0.02)


async def test_a_newer_version_is_a_fact_and_its_end_too(browser: BrowserSession) -> None:
    browser.standin.phone.needs_update()
    assert link_of((await reads(browser, update_offered=True)).facts) is Link.CONNECTED
    browser.standin.phone.needs_update(over=True)
    await reads(browser, update_offered=False)
    await wait_until(
        lambda: browser.reports.count(("changed", "needs_update")) == 2,
        "wa-js tells it of the change back, too",
        deadline=LONG,
    )


async def test_a_dialog_and_a_reload_of_the_pages_own(browser: BrowserSession) -> None:
    browser.standin.phone.modal()
    await reads(browser, covered=True)
    loads = browser.reports.count(("loaded", None))
    browser.standin.phone.reload()
    await wait_until(
        lambda: browser.reports.count(("loaded", None)) > loads, "it is told", deadline=LONG
    )
    assert await browser.link() is Link.CONNECTED
    assert not (await reads(browser, covered=False)).facts.update_offered


async def test_a_page_that_is_just_loading_is_asked_nothing_and_sends_nothing(
    browser: BrowserSession,
) -> None:
    """Its new document is there, and no load event has told so yet."""
    # a slow machine repeats the injection of the page before
    await wait_until(lambda: not browser.loader._injecting, "nothing is injected any more")
    await browser.session.evaluate("delete window.__waguard, 0", timeout=LONG)
    with pytest.raises(PageLoadingError, match=r"^the page is just being loaded$"):
        await browser.page.chats()
    about: dict[str, Any] = {"chat": "62812@c.us", "message_id": "true_62812@c.us_3EB0LOADS"}
    text = SendText(text="hi", timeout=LONG, **about)
    file = SendMedia(content=b"a", mimetype="text/plain", kind="document", timeout=LONG, **about)
    for call in (text, file):
        said = await sending.send(browser.page, call)
        assert said == Failed(kind="not_ready", error="the page is just being loaded")
    assert not browser.standin.phone.messages(PHONE)
    await browser.loader.load()
    assert await browser.link() is Link.CONNECTED


HUNG = {
    "locked": """
        const { userPrefsIdb } = WPP.loader.moduleRequire('WAWebUserPrefsIndexedDBStorage');
        userPrefsIdb.get = () => new Promise(() => {});""",
    "code": """
        const unlinked = { isAuthenticated: () => false, getAuthCode: () => new Promise(() => {}) };
        const { conn } = WPP;
        for (const [name, value] of Object.entries(unlinked)) Object.defineProperty(conn, name, { value });""",
}


@pytest.mark.parametrize("fact", HUNG)
async def test_a_database_that_hangs_costs_one_fact(browser: BrowserSession, fact: str) -> None:
    await browser.session.evaluate(f"(() => {{ {HUNG[fact]} }})()", timeout=LONG)
    reading = await browser.page.read(timeout=TIMINGS.read)
    assert (reading.facts.mode, reading.facts.socket) == ("MAIN", "CONNECTED")
    assert reading.facts.authenticated is (fact == "locked")
    assert (reading.locked_until, reading.code) == (None, None)
    await browser.loader.load()
    assert await browser.link() is Link.CONNECTED


async def test_a_file_that_went_with_the_page_before_is_not_sent(
    browser: BrowserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is reloaded, and ready again, between the transfer and the send."""

    async def lost(name: str, text: str, *, timeout: float) -> None:
        pass

    monkeypatch.setattr(browser.session, "put_large", lost)
    about: dict[str, Any] = {"chat": "62812@c.us", "message_id": "true_62812@c.us_3EB0LOST"}
    file = SendMedia(content=b"a", mimetype="text/plain", kind="document", timeout=LONG, **about)
    said = await sending.send(browser.page, file)
    assert said == Failed(kind="not_ready", error="the page is just being loaded")


@pytest.mark.parametrize("step", [".push(", ".join("])
@pytest.mark.parametrize("cut", [DevToolsTimeoutError, asyncio.CancelledError])
async def test_a_file_whose_transfer_was_cut_off_leaves_nothing_in_the_page(
    browser: BrowserSession, monkeypatch: pytest.MonkeyPatch, step: str, cut: type[BaseException]
) -> None:
    evaluate = browser.session.evaluate

    async def cut_off(expression: str, **more: Any) -> Any:
        """The page does it, and nobody hears of it."""
        await evaluate(expression, **more)
        if step in expression:
            raise cut("cut off")

    monkeypatch.setattr(browser.session, "evaluate", cut_off)
    about = {"messageId": "true_62812@c.us_3EB0CUT", "mimetype": "text/plain"}
    with pytest.raises((NotTransmittedError, asyncio.CancelledError)):
        await browser.page.send_file("62812@c.us", b"a", about, timeout=LONG)
    names = "Object.keys(globalThis).filter((it) => /_(parts|file)_/.test(it))"
    assert await evaluate(names, timeout=LONG) == []


async def test_a_ghost_socket_raises_nothing_and_is_seen(browser: BrowserSession) -> None:
    message = browser.standin.phone.incoming(from_="62812", body="last")["id"]
    await wait_until(
        lambda: any(kind == "message" and data["id"] == message for kind, data in browser.reports),
        "all that the page did at its start is told",
        deadline=LONG,
    )
    before = len([kind for kind, _ in browser.reports if kind == "changed"])
    browser.standin.phone.ghost()
    async with asyncio.timeout(LONG):
        while link_of((reading := await browser.page.read(timeout=LONG)).facts) is not Link.OFFLINE:
            await asyncio.sleep(0.02)
    assert (reading.facts.socket, reading.facts.authenticated) == ("OPENING", True)
    assert len([kind for kind, _ in browser.reports if kind == "changed"]) == before
    await browser.loader.load()
    assert await browser.link() is Link.CONNECTED
