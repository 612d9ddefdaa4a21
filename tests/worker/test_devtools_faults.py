"""The table of faults: what the driver tells when a layer of a real Chromium dies or is stopped."""

import asyncio
import os
import signal

import pytest

from tests.worker.browser_fixtures import *  # noqa: F403  # fixtures
from tests.worker.browser_fixtures import LONG, SHORT, Web, renderers, wait_until
from waguard.worker.browser.chromium import Chromium, Flavour
from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    DevToolsTimeoutError,
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


async def test_killed_group_shows_in_both(chromium: Chromium, page: PageSession) -> None:
    os.killpg(chromium.pid, signal.SIGKILL)
    async with asyncio.timeout(LONG):
        await chromium.devtools.closed.wait()
    await wait_until(chromium.exited.done, "the exit is seen")
    assert page.ended.is_set()
