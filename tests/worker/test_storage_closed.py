"""The page is told when Chromium gives up its databases; a page that closes them itself is not."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.worker.browser_session import LONG, BrowserSession
from waguard.standin import Policy, StandIn

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(120)]


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
    return {data for kind, data in browser.told if kind == "storage_closed"}


async def test_databases_that_chromium_closes_are_told(browser: BrowserSession) -> None:
    await browser.session.send(
        "Storage.clearDataForOrigin",
        {"origin": "https://web.whatsapp.com", "storageTypes": "indexeddb"},
        timeout=LONG,
    )
    async with asyncio.timeout(LONG):
        while closed(browser) != {"model-storage", "signal-storage"}:
            await asyncio.sleep(0.02)


async def test_a_page_that_goes_or_closes_its_own_tells_nothing(browser: BrowserSession) -> None:
    await browser.session.evaluate(
        "new Promise((done) => { const it = indexedDB.open('another');"
        " it.onsuccess = () => { it.result.close(); done(); }; })",
        timeout=LONG,
    )
    await browser.page.load()
    await browser.reading()
    assert closed(browser) == set()
