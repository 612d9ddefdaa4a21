"""Driving a page of a real Chromium: values, events, transfers, identity, storage."""

import asyncio
import json
import math
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.worker.browser_fixtures import *  # noqa: F403  # fixtures
from tests.worker.browser_fixtures import LONG, SHORT, Web, both, wait_until
from waguard.worker.browser.chromium import Chromium, Flavour
from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    DevToolsError,
    DevToolsTimeoutError,
    EvaluationError,
    PageSession,
    flush_storage,
)

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]


async def test_values_come_as_they_are(page: PageSession) -> None:
    for expression, value in (
        ("(async () => ({a: [1, 'é\\u{1F600}', null]}))()", {"a": [1, "é😀", None]}),
        ("undefined", None),
        ("1/0", math.inf),
        ("12345678901234567890n", 12345678901234567890),
        ("'x => function'", "x => function"),
    ):
        assert await page.evaluate(expression, timeout=LONG) == value
    assert await page.evaluate("Promise.resolve(1)", timeout=LONG, await_promise=False) == {}


async def test_what_the_page_throws_is_reported(
    page: PageSession, subtests: pytest.Subtests
) -> None:
    for expression, text in (
        ("(() => { throw new TypeError('why') })()", "TypeError: why"),
        ("Promise.reject('a string')", "a string"),
        ("no such syntax", "SyntaxError"),
        ("10n ** 5000n", "a number that is too long"),
    ):
        with subtests.test(text):
            with pytest.raises(EvaluationError, match=text) as thrown:
                await page.evaluate(expression, timeout=LONG)
            assert thrown.value.text.startswith(text)


async def test_every_call_has_its_own_deadline(page: PageSession) -> None:
    with pytest.raises(DevToolsTimeoutError):
        await page.evaluate("new Promise(() => {})", timeout=SHORT)
    await page.ping(LONG)


async def test_a_refused_call_names_its_method(page: PageSession) -> None:
    with pytest.raises(DevToolsError, match=r"No\.such was refused") as refused:
        await page.send("No.such", timeout=LONG)
    assert refused.value.method == "No.such"


async def test_a_call_whose_document_goes_away_has_lost_its_page(
    page: PageSession, web: Web
) -> None:
    waiting = asyncio.create_task(page.evaluate("new Promise(() => {})", timeout=LONG))
    await page.ping(LONG)
    await page.navigate(web.url, timeout=LONG)
    with pytest.raises(DevToolsClosedError, match="navigated or closed"):
        await waiting


async def test_a_binding_survives_navigations(
    flavour: Flavour, page: PageSession, web: Web
) -> None:
    reported: list[str] = []
    await page.add_binding("tell", reported.append)
    await page.on_new_document("tell('start')")
    await page.evaluate("tell('before')", timeout=LONG)
    await page.navigate(web.url, timeout=LONG)
    await page.evaluate("tell('after')", timeout=LONG)
    assert reported == ["before", "start", "after"]


async def test_events_reach_their_listener(page: PageSession, web: Web) -> None:
    loaded = asyncio.Event()

    def record(_: dict[str, Any]) -> None:
        loaded.set()

    page.on("Page.loadEventFired", record)
    await page.navigate(web.url, timeout=LONG)
    async with asyncio.timeout(LONG):
        await loaded.wait()
    page.off("Page.loadEventFired", record)


async def test_a_listener_that_raises_is_reported_and_nothing_else(
    page: PageSession, reports: list[dict[str, Any]]
) -> None:
    heard: list[str] = []

    def broken(text: str) -> None:
        heard.append(text)
        raise LookupError(text)

    await page.add_binding("tell", broken)
    await page.evaluate("tell('one'), tell('two')", timeout=LONG)
    assert heard == ["one", "two"]
    assert [str(report["exception"]) for report in reports] == ["one", "two"]
    reports.clear()
    await page.ping(LONG)


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


async def test_a_large_text_arrives_whole(page: PageSession) -> None:
    text = 'é"\\\n\u2028😀' * 500_000
    await page.put_large("large", text, timeout=LONG)
    assert await page.evaluate("large.length", timeout=LONG) == len(text.encode("utf-16-le")) // 2
    assert await page.evaluate("large.slice(0, 7) + large.slice(-7)", timeout=LONG) == text[:6] * 2
    assert (
        await page.evaluate("Object.keys(globalThis).filter(k => /parts/.test(k))", timeout=LONG)
        == []
    )


async def test_what_the_page_logs_is_not_kept_for_ever(chromium: Chromium) -> None:
    page = await chromium.devtools.open_page(LONG, console_limit=10)
    seen: list[dict[str, Any]] = []
    page.on("Runtime.consoleAPICalled", seen.append)
    await page.evaluate("for (let i = 0; i < 25; i++) console.log({i})", timeout=LONG)
    await page.ping(LONG)
    ids = [event["args"][0]["objectId"] for event in seen]
    with pytest.raises(DevToolsError):
        await page.send("Runtime.getProperties", {"objectId": ids[0]}, timeout=LONG)


async def test_a_screenshot_is_a_png(flavour: Flavour, page: PageSession, web: Web) -> None:
    await page.navigate(web.url, timeout=LONG)
    assert (await page.screenshot(LONG)).startswith(b"\x89PNG\r\n")


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


# ---- what a page does to whoever looks at it, and nobody does ----


async def test_dialogs_are_closed_and_the_page_goes_on(flavour: Flavour, page: PageSession) -> None:
    asked = "[alert('a'), confirm('b'), prompt('c', 'd')]"
    assert await page.evaluate(asked, timeout=LONG) == [None, False, None]


async def test_a_page_that_asks_to_be_kept_is_left(page: PageSession, web: Web) -> None:
    await page.navigate(web.url, timeout=LONG)
    stay = "void (onbeforeunload = (event) => { event.preventDefault(); return 'stay'; })"
    await page.send("Runtime.evaluate", {"expression": stay, "userGesture": True}, timeout=LONG)
    await page.navigate(f"{web.url}?2", timeout=LONG)
    assert await page.evaluate("location.search", timeout=LONG) == "?2"


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


async def test_nothing_is_downloaded(
    flavour: Flavour, chromium: Chromium, page: PageSession, web: Web
) -> None:
    states: list[str] = []
    page.on("Page.downloadProgress", lambda reported: states.append(reported["state"]))
    await page.navigate(web.url, timeout=LONG)
    link = "const it = document.createElement('a'); it.download = 'x.txt';"
    content = "it.href = URL.createObjectURL(new Blob(['content'])); it.click();"
    await page.evaluate(f"(() => {{ {link} {content} }})()", timeout=LONG)
    await wait_until(lambda: "canceled" in states, "it was refused")
    assert "completed" not in states
