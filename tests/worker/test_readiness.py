"""A page is ready when wa-js finds in it what waguard uses, not when its modules are listed."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.worker.browser_session import LONG, BrowserSession
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.lab.standin import Policy, StandIn
from waguard.worker.page.page_errors import ExportsMissingError, PageNotReadyError
from waguard.worker.timings import LoadTimings

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(120)]
PHONE, CHAT = "6281180001", "6281180002@c.us"
LATE = 3.0  # s; wa-js has looked for it before
SENDS, STREAM, FILES = "WAWebSendMsgChatAction", "WAWebStreamModel", "WAWebPrepRawMedia"


QUICK = LoadTimings(resolve=6.0, injection_pauses=(0.25,))
IMPATIENT = replace(QUICK, resolve=0.5, loads=1)  # where it is in vain


@pytest.fixture
def timings() -> LoadTimings:
    return QUICK


@pytest.fixture
async def browser(timings: LoadTimings) -> AsyncIterator[BrowserSession]:
    """Not opened yet."""
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=Policy(sync=0.1)) as standin:
            yield BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t", timings=timings)


async def sends(browser: BrowserSession, number: int) -> bool:
    options = {"messageId": f"true_{CHAT}_3EB0{number:04}"}
    outcome = await browser.page.send("sendText", CHAT, "hi", options, timeout=LONG)
    return outcome.ack == 1


async def injections(browser: BrowserSession) -> int:
    return browser.reports.count(("settling", None))


@pytest.mark.long
async def test_factories_that_run_late_are_waited_for(browser: BrowserSession) -> None:
    browser.standin.policy.factories = {STREAM: LATE}
    await browser.open()
    try:
        assert await injections(browser) > 1
        await browser.pair(PHONE)
        browser.standin.policy.factories = {SENDS: LATE}
        await browser.loader.load()
        assert await browser.link() is Link.CONNECTED
        assert await sends(browser, 1)
    finally:
        await browser.close()


@pytest.mark.parametrize("timings", [IMPATIENT])
@pytest.mark.long
async def test_what_never_resolves_is_named(browser: BrowserSession) -> None:
    browser.standin.policy.factories = {STREAM: -1}
    try:
        with pytest.raises(PageNotReadyError, match=r"cannot resolve Stream in this version"):
            await browser.open()
    finally:
        await browser.close()


@pytest.mark.parametrize("timings", [IMPATIENT])
async def test_on_the_qr_screen_only_linking_is_needed(browser: BrowserSession) -> None:
    browser.standin.policy.factories = {SENDS: -1}
    await browser.open()
    try:
        assert await injections(browser) == 1
        await browser.pair(PHONE)
        with pytest.raises(ExportsMissingError) as error:
            await browser.loader.load()
        assert "functions.addAndSendMsgToChat" in error.value.message
        assert "whatsapp.wajs" in str(error.value.remedy)
    finally:
        await browser.close()


async def test_a_session_works_without_files(browser: BrowserSession) -> None:
    browser.standin.policy.factories = {FILES: -1}
    await browser.open()
    try:
        await browser.pair(PHONE)
        assert await sends(browser, 1)
    finally:
        await browser.close()


@pytest.mark.long
@pytest.mark.parametrize("timings", [IMPATIENT])
async def test_a_page_that_loads_itself_again_and_is_of_no_use_is_reported(
    browser: BrowserSession,
) -> None:
    await browser.open()
    try:
        await browser.pair(PHONE)
        browser.standin.policy.factories = {STREAM: -1}
        browser.reports.clear()
        browser.standin.phone.reload(PHONE)
        while not [data for kind, data in browser.reports if kind == "unusable"]:
            browser._changed.clear()
            await browser._changed.wait()
        (reported,) = [data for kind, data in browser.reports if kind == "unusable"]
        assert "cannot resolve Stream" in reported
    finally:
        await browser.close()


def test_a_message_names_ten_at_most() -> None:
    reported = str(ExportsMissingError([f"e{number}" for number in range(12)]))
    assert "e9 and 2 more" in reported
    assert "e10" not in reported
