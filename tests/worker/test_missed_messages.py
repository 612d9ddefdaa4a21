"""Messages that raised no event, read back from their chats by the real wa-js."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.worker.browser_session import LONG, BrowserSession
from waguard.standin import Policy, StandIn

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(120)]
PHONE = "6281180001"
FRIENDS = ("62812", "62813")


@pytest.fixture
async def browser() -> AsyncIterator[BrowserSession]:
    """Connected; three messages have come in, and the page is loaded anew."""
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=Policy(sync=0.1, reconnect_delay=0.05)) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            await made.pair(PHONE)
            for number, friend in enumerate((*FRIENDS, FRIENDS[0])):
                standin.phone.incoming(from_=friend, body=f"{number}", timestamp=1_000 + number)
            async with asyncio.timeout(LONG):
                while len(bodies(made)) < 3:
                    await asyncio.sleep(0.02)
            await made.page.load()
            await made.link()
            made.told.clear()
            yield made
            await made.close()


def bodies(browser: BrowserSession) -> list[str]:
    return [data["body"] for kind, data in browser.told if kind == "message"]


async def test_all_that_came_since_is_told_in_the_order_of_its_chat(
    browser: BrowserSession,
) -> None:
    assert await browser.page.missed({}, 0) == 3
    assert sorted(bodies(browser)) == ["0", "1", "2"]
    assert bodies(browser).index("0") < bodies(browser).index("2")
    assert all(data["backfilled"] for kind, data in browser.told if kind == "message")


async def test_chats_that_are_left_out_are_not_read(browser: BrowserSession) -> None:
    """None of theirs is ever stored, so all of a week would be read after each load."""
    assert await browser.page.missed({}, 0, (f"{FRIENDS[0]}@c.us", "@g.us")) == 1
    assert bodies(browser) == ["1"]


async def test_each_chat_has_its_own_beginning(browser: BrowserSession) -> None:
    assert await browser.page.missed({f"{FRIENDS[0]}@c.us": 1_002}, 2_000) == 1
    assert bodies(browser) == ["2"]


async def test_a_long_chat_is_read_page_by_page_up_to_the_limit(
    browser: BrowserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(browser.told)
    for number in range(120):
        browser.standin.phone.incoming(
            from_="62814", body=f"long {number}", timestamp=3_000 + number
        )
    async with asyncio.timeout(LONG):
        while len(browser.told) - before < 120:
            await asyncio.sleep(0.02)
    browser.told.clear()
    assert await browser.page.missed({}, 3_000) == 120
    assert bodies(browser) == [f"long {number}" for number in range(120)]
    monkeypatch.setattr("waguard.worker.page.MISSED_LIMIT", 60)
    browser.told.clear()
    assert 60 <= await browser.page.missed({}, 3_000) < 120
    assert bodies(browser)[-1] == "long 119"
