"""The table of faults: what the driver tells when a layer of a real Chromium dies or hangs."""

import asyncio
import os
import signal

import pytest

from tests.worker.browser_fixtures import *  # noqa: F403  # fixtures
from tests.worker.browser_fixtures import LONG, SHORT, Web, renderers, wait_until
from waguard.worker.browser.chromium import Chromium, Flavour
from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    DevToolsError,
    DevToolsTimeoutError,
    EvaluationError,
    NavigationError,
    PageSession,
    TargetCrashedError,
)

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]

NEVER = "new Promise(() => {})"


async def test_kill_9_browser(flavour: Flavour, chromium: Chromium, page: PageSession) -> None:
    pending = [asyncio.create_task(page.evaluate(NEVER, timeout=LONG)) for _ in range(3)]
    await page.ping(LONG)
    os.kill(chromium.pid, signal.SIGKILL)
    async with asyncio.timeout(LONG):
        await chromium.devtools.closed.wait()
        results = await asyncio.gather(*pending, return_exceptions=True)
        assert await chromium.exited == -signal.SIGKILL
    assert [type(result) for result in results] == [DevToolsClosedError] * 3
    assert page.ended.is_set()
    for call in (page.ping(LONG), chromium.devtools.version(LONG)):
        with pytest.raises(DevToolsClosedError):
            await call


async def test_kill_9_renderer(flavour: Flavour, chromium: Chromium, page: PageSession) -> None:
    pending = [asyncio.create_task(page.evaluate(NEVER, timeout=LONG)) for _ in range(3)]
    await page.ping(LONG)
    for pid in renderers(chromium):
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(LONG):
        await page.crashed.wait()
        results = await asyncio.gather(*pending, return_exceptions=True)
    assert [type(result) for result in results] == [TargetCrashedError] * 3
    with pytest.raises(TargetCrashedError):
        await page.ping(LONG)
    await chromium.devtools.version(LONG)
    assert not chromium.devtools.closed.is_set()


async def test_a_crashed_page_comes_back_by_navigating(
    chromium: Chromium, page: PageSession, web: Web
) -> None:
    for pid in renderers(chromium):
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(LONG):
        await page.crashed.wait()
    await page.navigate(web.url, timeout=LONG)
    assert not page.crashed.is_set()
    await page.ping(LONG)


async def test_sigstop_of_the_browser_shows_in_the_browsers_heartbeat(
    flavour: Flavour, chromium: Chromium, page: PageSession
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


async def test_sigstop_of_the_renderer_shows_in_the_pages_heartbeat_only(
    flavour: Flavour, chromium: Chromium, page: PageSession
) -> None:
    stopped = renderers(chromium)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(DevToolsTimeoutError) as silent:
        await page.ping(SHORT)
    assert silent.value.method == "Runtime.evaluate"
    await chromium.devtools.version(LONG)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    await page.ping(LONG)


async def test_page_in_an_endless_loop_is_freed_by_terminate_execution(
    flavour: Flavour, chromium: Chromium, page: PageSession
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
    flavour: Flavour, page: PageSession, web: Web
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


async def test_cancelled_call_then_killed_browser(
    flavour: Flavour, chromium: Chromium, page: PageSession
) -> None:
    cancelled, waiting = (asyncio.create_task(page.evaluate(NEVER, timeout=LONG)) for _ in range(2))
    await page.ping(LONG)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    os.kill(chromium.pid, signal.SIGKILL)
    async with asyncio.timeout(LONG):
        with pytest.raises(DevToolsClosedError):
            await waiting
        await chromium.devtools.closed.wait()


async def test_closed_page_fails_its_calls_only(chromium: Chromium, page: PageSession) -> None:
    call = asyncio.create_task(page.evaluate(NEVER, timeout=LONG))
    await page.ping(LONG)
    await chromium.devtools.open_blank()
    await chromium.devtools.close_page(page)
    with pytest.raises(DevToolsClosedError, match="page was closed"):
        await call
    await chromium.devtools.version(LONG)


async def test_killed_group_shows_in_both(chromium: Chromium, page: PageSession) -> None:
    os.killpg(chromium.pid, signal.SIGKILL)
    async with asyncio.timeout(LONG):
        await chromium.devtools.closed.wait()
    await wait_until(chromium.exited.done, "the exit is seen")
    assert page.ended.is_set()
