"""The page is told when Chromium gives up its databases; a page that closes them itself is not."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.worker.browser_session import LONG, BrowserSession
from waguard.lab.standin import Policy, StandIn
from waguard.worker.browser.devtools import EvaluationError

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]


@pytest.fixture
async def browser() -> AsyncIterator[BrowserSession]:
    """Not linked."""
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=Policy()) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            yield made
            await made.close()


def closed(browser: BrowserSession) -> set[str]:
    return {data for kind, data in browser.reports if kind == "storage_closed"}


async def close_databases(browser: BrowserSession) -> None:
    """As Chromium does when it cannot write."""
    await browser.session.send(
        "Storage.clearDataForOrigin",
        {"origin": "https://web.whatsapp.com", "storageTypes": "indexeddb"},
        timeout=LONG,
    )


async def test_databases_that_chromium_closes_are_reported(browser: BrowserSession) -> None:
    await close_databases(browser)
    async with asyncio.timeout(LONG):
        while closed(browser) != {"model-storage", "signal-storage"}:
            await asyncio.sleep(0.02)


async def test_a_page_that_goes_or_closes_its_own_says_nothing(browser: BrowserSession) -> None:
    await browser.session.evaluate(
        "new Promise((done) => { const it = indexedDB.open('another');"
        " it.onsuccess = () => { it.result.close(); done(); }; })",
        timeout=LONG,
    )
    await browser.loader.load()
    await browser.reading()
    assert closed(browser) == set()


async def test_a_message_that_cannot_be_searched_is_not_said_to_be_absent(
    browser: BrowserSession,
) -> None:
    await browser.pair("6281180001")
    browser.standin.phone.incoming(from_="62812", body="so that there is a chat")
    async with asyncio.timeout(LONG):
        while not any(kind == "message" for kind, _ in browser.reports):
            await asyncio.sleep(0.02)
    assert await browser.page.ack_of("true_62812@c.us_3EB0", timeout=LONG) is None
    assert await browser.page.ack_of("true_62999@c.us_3EB0", timeout=LONG) is None
    await close_databases(browser)
    with pytest.raises(EvaluationError):
        await browser.page.ack_of("true_62812@c.us_3EB0", timeout=LONG)
