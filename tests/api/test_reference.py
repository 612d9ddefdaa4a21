"""The page of the API's reference, in a real browser: nothing from elsewhere, and calls can be tried."""

import json
from typing import Any

import pytest

from tests.api.conftest import KEY, Api
from tests.api.test_page import Page
from tests.worker.browser_fixtures import (  # noqa: F401 - fixtures
    LONG,
    chromium,
    page,
    spec,
    start,
    tmpdir_short,
)
from waguard.worker.browser.devtools import PageSession


async def test_its_files_have_the_policy_of_the_status_page(api: Api) -> None:
    policy = (await api.call("GET", "/", key=None)).headers["Content-Security-Policy"]
    for path in ("", "/reference.js", "/swagger-ui-bundle.js", "/swagger-ui.css"):
        answer = await api.call("GET", f"/docs{path}", key=None)
        assert answer.status == 200
        assert answer.headers["Content-Security-Policy"] == policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.chromium
async def test_a_call_is_tried_with_a_key_under_the_strict_policy(
    api: Api,
    page: PageSession,  # noqa: F811 - the fixture
) -> None:
    reported: list[dict[str, Any]] = []
    asked: list[str] = []
    page.on("Runtime.exceptionThrown", reported.append)
    page.on("Log.entryAdded", reported.append)
    page.on("Network.requestWillBeSent", lambda it: asked.append(it["request"]["url"]))
    await page.send("Log.enable", timeout=LONG)
    await page.send("Network.enable", timeout=LONG)
    await page.navigate(api.base + "/docs", timeout=LONG)
    shown = Page(page)
    await shown.value("globalThis.$ = (it) => document.querySelector(it)")
    await shown.until("$('#operations-sessions-sessions_listing')", "the routes are shown")
    await shown.value(f"ui.preauthorizeApiKey('key', {json.dumps(KEY)})")
    await shown.value("$('#operations-sessions-sessions_listing .opblock-summary-control').click()")
    await shown.until("$('.try-out__btn')", "the route is open")
    await shown.value("$('.try-out__btn').click()")
    await shown.until("$('.execute')", "it can be tried")
    await shown.value("$('.execute').click()")
    await shown.until("$('.live-responses-table tbody .response-col_status')", "it is answered")
    assert "200" in await shown.value(
        "$('.live-responses-table tbody .response-col_status').innerText"
    )
    assert [it for it in asked if not it.startswith((api.base, "data:"))] == []
    advice = [json.dumps(it) for it in reported if '"recommendation"' not in json.dumps(it)]
    assert advice == []
