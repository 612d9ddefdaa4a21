"""The page of the API's reference, in a real browser: nothing from elsewhere, and calls can be tried."""

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.api.conftest import KEY, Api
from tests.page.browser import Page
from tests.waiting import wait_until
from tests.worker.browser_fixtures import (  # noqa: F401 - fixtures
    LONG,
    chromium,
    page,
    spec,
    start,
    tmpdir_short,
)
from waguard.api.reference import AT_ONCE, DOCUMENT, READERS
from waguard.api.timings import Timings
from waguard.worker.browser.devtools import PageSession

LARGE = 32 << 20  # bytes


async def test_its_files_have_the_policy_of_the_status_page_but_for_trusted_types(api: Api) -> None:
    whole = (await api.call("GET", "/", key=None)).headers["Content-Security-Policy"]
    policy = whole.partition("; require-trusted-types-for")[0]  # swagger-ui makes HTML of texts
    for path in ("", "/reference.js", "/swagger-ui-bundle.js", "/swagger-ui.css"):
        answer = await api.call("GET", f"/docs{path}", key=None)
        assert answer.status == 200
        assert answer.headers["Content-Security-Policy"] == policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def ask_and_do_not_read(api: Api) -> socket.socket:
    """A client that takes the beginning of the document, and no more. It is larger than what kernels buffer."""
    api.app[DOCUMENT][:] = [b" " * LARGE]
    loop = asyncio.get_running_loop()
    host, port = api.base.removeprefix("http://").split(":")
    mute = socket.socket()
    mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    mute.setblocking(False)  # noqa: FBT003 - socket's own
    await loop.sock_connect(mute, (host, int(port)))
    await loop.sock_sendall(mute, b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await loop.sock_recv(mute, 12) == b"HTTP/1.1 200"
    return mute


async def test_who_does_not_read_keeps_few_places(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = [await ask_and_do_not_read(api) for _ in range(AT_ONCE)]
    try:
        assert api.app[READERS].requests == AT_ONCE
        with monkeypatch.context() as patched:
            read = Mock(side_effect=OSError)
            patched.setattr(Path, "read_bytes", read)
            answer = await api.call("GET", "/docs/swagger-ui.css", key=None)
        assert not read.called  # nothing is kept for whom there is no place
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)
        assert (await api.call("GET", "/api/sessions")).status == 200
    finally:
        for one in mute:
            one.close()
    await wait_until(lambda: not api.app[READERS].requests, "they left")


@pytest.mark.parametrize("timings", [Timings(request=0.1)])
async def test_who_does_not_read_is_disconnected(api: Api) -> None:
    with contextlib.closing(await ask_and_do_not_read(api)) as mute:
        await wait_until(lambda: not api.app[READERS].requests, "the time is over")
        count, loop = 0, asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while piece := await loop.sock_recv(mute, 1 << 20):
                count += len(piece)
        assert count < LARGE


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
    shown = Page(page, api.base)
    await shown.until("$('#operations-tag-sessions')", "the groups are shown")
    await shown.value("$('#operations-tag-sessions').click()")
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
