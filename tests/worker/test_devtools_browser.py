"""Driving a real Chromium that is for one test alone: identity, storage, limits, windows."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.worker.browser_fixtures import *  # noqa: F403  # fixtures
from tests.worker.browser_fixtures import LONG, Web, both, wait_until
from waguard.worker.browser.chromium import Chromium, Flavour
from waguard.worker.browser.devtools import (
    DevToolsError,
    PageSession,
    flush_storage,
)

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]


async def test_an_answer_that_is_too_long_fails_its_call_only(
    start: Callable[..., Awaitable[Chromium]],
) -> None:
    page = await (await start(message_limit=1 << 20)).devtools.open_page(LONG)
    with pytest.raises(DevToolsError, match="more than the limit"):
        await page.evaluate("'x'.repeat(3 << 20)", timeout=LONG)
    assert len(await page.evaluate("'x'.repeat(1 << 19)", timeout=LONG)) == 1 << 19


async def test_a_message_that_is_too_long_is_not_sent(
    start: Callable[..., Awaitable[Chromium]],
) -> None:
    page = await (await start(message_limit=1 << 20)).devtools.open_page(LONG)
    with pytest.raises(DevToolsError, match="over the limit") as refused:
        await page.evaluate(f"'{'x' * (2 << 20)}'", timeout=LONG)
    assert refused.value.remedy
    await page.ping(LONG)


@both
async def test_no_headless_anywhere(
    flavour: Flavour, chromium: Chromium, page: PageSession, web: Web
) -> None:
    await page.navigate(web.url, timeout=LONG)
    agent, hints = await page.evaluate(
        "(async () => [navigator.userAgent, await navigator.userAgentData.getHighEntropyValues("
        "['architecture', 'bitness', 'uaFullVersion', 'fullVersionList', 'formFactors'])])()",
        timeout=LONG,
    )
    assert agent == chromium.user_agent()
    product = (await chromium.devtools.version(LONG))["product"].split("/")[1]
    assert f"Chrome/{product.split('.')[0]}.0.0.0" in agent
    assert hints["uaFullVersion"] == product
    assert {"brand": "Chromium", "version": product} in hints["fullVersionList"]
    assert hints["bitness"]
    from_worker = await page.evaluate(
        "(async () => { await navigator.serviceWorker.register('/sw.js');"
        "const {active} = await navigator.serviceWorker.ready;"
        "return await new Promise((done) => { navigator.serviceWorker.onmessage = "
        "(e) => done(e.data); active.postMessage('') }) })()",
        timeout=LONG,
    )
    assert from_worker == agent
    assert any(" /from-worker " in request for request in web.requests)
    seen = json.dumps([agent, hints, from_worker, web.requests])
    assert "headless" not in seen.lower()


@both
async def test_flushed_storage_survives_kill_9(
    flavour: Flavour, start: Callable[..., Awaitable[Chromium]], web: Web
) -> None:
    first = await start()
    page = await first.devtools.open_page(LONG)
    await page.navigate(web.url, timeout=LONG)
    await page.evaluate("localStorage.setItem('key', 'secret')", timeout=LONG)
    await flush_storage(first.devtools, page)
    assert page.ended.is_set()
    again = await first.devtools.open_page(LONG)
    assert again.target_id != page.target_id
    await again.navigate(web.url, timeout=LONG)
    assert await again.evaluate("localStorage.getItem('key')", timeout=LONG) == "secret"
    os.killpg(first.pid, signal.SIGKILL)
    await first.close()

    second = await start()
    page = await second.devtools.open_page(LONG)
    await page.navigate(web.url, timeout=LONG)
    assert await page.evaluate("localStorage.getItem('key')", timeout=LONG) == "secret"


async def test_pyppeteers_own_objects_work(chromium: Chromium, web: Web) -> None:
    browser = chromium.devtools.browser
    first = (await browser.pages())[0]
    session = await first.target.createCDPSession()
    assert (await session.send("Runtime.evaluate", {"expression": "1"}))["result"]["value"] == 1
    await session.detach()
    page = await browser.newPage()
    await page.goto(web.url)
    assert await page.title() == "here"
    answer = await page.evaluate(
        "new Promise((done) => { const w = new Worker('/worker.js');"
        "w.onmessage = (e) => done(e.data); w.postMessage(41) })",
        force_expr=True,
    )
    assert answer == 42
    assert len(page.workers) == 1
    await page.close()
    await wait_until(lambda: len(browser.targets()) == 1, "the page is gone")


async def test_what_a_page_opens_is_closed(
    flavour: Flavour, chromium: Chromium, page: PageSession, web: Web
) -> None:
    def pages() -> list[str]:
        targets = chromium.devtools.browser.targets()
        return [target.url for target in targets if target.type == "page"]

    opened: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    chromium.devtools.browser._connection.on("Target.targetCreated", opened.append)
    chromium.devtools.browser._connection.on("Target.targetDestroyed", gone.append)
    await page.navigate(web.url, timeout=LONG)
    for features in ("", "noopener"):
        wanted = f"void window.open('{web.url}popup', '_blank', '{features}')"
        asked = {"expression": wanted, "userGesture": True}
        await page.send("Runtime.evaluate", asked, timeout=LONG)
    await wait_until(lambda: len(gone) == 2, "both are closed")
    assert len(opened) == 2
    assert pages() == [web.url]
    waiting = (
        "Browser._target"  # a task that waits for ever is an error of the loop when it is collected
    )
    await wait_until(lambda: not any(waiting in repr(it) for it in asyncio.all_tasks()), "no task")
    await page.ping(LONG)
    blank = await chromium.devtools.open_page(LONG)  # our own windows stay
    assert blank.target_id == page.target_id
    await chromium.devtools.open_blank(timeout=LONG)
    assert len(pages()) == 2
