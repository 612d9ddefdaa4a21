"""The table of faults that a browser outlives: what hangs, fails or is cancelled."""

import asyncio
import os
import signal

import pytest

from tests.worker.browser_fixtures import LONG, SHORT, Web
from tests.worker.shared_browser import *  # noqa: F403  # fixtures
from waguard.worker.browser.chromium import Chromium
from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    DevToolsError,
    DevToolsTimeoutError,
    EvaluationError,
    NavigationError,
    PageSession,
)

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

NEVER = "new Promise(() => {})"


async def test_sigstop_of_the_browser_shows_in_the_browsers_heartbeat(
    chromium: Chromium, page: PageSession
) -> None:
    assert not chromium.stopped
    os.kill(chromium.pid, signal.SIGSTOP)
    with pytest.raises(DevToolsTimeoutError) as silent:
        await chromium.devtools.version(SHORT)
    assert silent.value.method == "Browser.getVersion"
    assert chromium.stopped
    assert not chromium.devtools.closed.is_set()
    os.kill(chromium.pid, signal.SIGCONT)
    await chromium.devtools.version(LONG)
    await page.ping(LONG)


async def test_page_in_an_endless_loop_is_freed_by_terminate_execution(
    chromium: Chromium, page: PageSession
) -> None:
    looping = asyncio.create_task(page.evaluate("for(;;);", timeout=LONG))
    await asyncio.sleep(0)  # so that it is sent first
    with pytest.raises(DevToolsTimeoutError):
        await page.ping(SHORT)
    await chromium.devtools.version(LONG)
    await page.terminate_execution()
    with pytest.raises((DevToolsError, EvaluationError)):
        await looping
    await page.ping(LONG)


async def test_server_that_never_answers(page: PageSession, web: Web) -> None:
    with pytest.raises(DevToolsTimeoutError):
        await page.navigate(web.url + "silent", timeout=SHORT)
    await page.navigate(web.url, timeout=LONG)


async def test_a_server_that_is_gone_fails_the_navigation_alone(
    page: PageSession, web: Web
) -> None:
    with pytest.raises(NavigationError) as dead:
        await page.navigate("http://127.0.0.1:9/", timeout=LONG)  # discard: nobody is there
    assert dead.value.value == "http://127.0.0.1:9/"
    assert dead.value.reason.startswith("net::ERR_")
    await page.navigate(web.url, timeout=LONG)


async def test_redirect_to_another_origin_is_no_success(page: PageSession, web: Web) -> None:
    with pytest.raises(NavigationError, match=f"shows http://localhost:{web.port}"):
        await page.navigate(web.url + "away", timeout=LONG)


async def test_cancelled_call_and_a_late_error(page: PageSession, web: Web) -> None:
    call = asyncio.create_task(page.evaluate(NEVER, timeout=LONG))
    await page.ping(LONG)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await page.navigate(web.url, timeout=LONG)  # now Chromium refuses it: the page is another
    assert await page.evaluate("6 * 7", timeout=LONG) == 42


async def test_cancelled_call_and_a_late_answer(page: PageSession) -> None:
    call = asyncio.create_task(
        page.evaluate("new Promise((done) => globalThis.finish = done)", timeout=LONG)
    )
    await page.ping(LONG)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await page.evaluate("finish(1)", timeout=LONG)
    assert await page.evaluate("6 * 7", timeout=LONG) == 42


async def test_closed_page_fails_its_calls_only(chromium: Chromium, page: PageSession) -> None:
    call = asyncio.create_task(page.evaluate(NEVER, timeout=LONG))
    await page.ping(LONG)
    await chromium.devtools.open_blank()
    await chromium.devtools.close_page(page)
    with pytest.raises(DevToolsClosedError, match="page was closed"):
        await call
    await chromium.devtools.version(LONG)
