"""A real Chromium behind a proxy of its own: nothing goes past it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from tests.proxies import KINDS, FakeProxy
from tests.worker.browser_fixtures import *  # noqa: F403  # fixtures
from tests.worker.browser_fixtures import LONG, both
from waguard.worker.browser.chromium import Chromium
from waguard.worker.browser.forwarder import Forwarder

pytestmark = [pytest.mark.chromium, pytest.mark.long]

# addresses of this host that WebRTC shows
ADDRESSES = """new Promise(async done => {
  const it = new RTCPeerConnection(), found = []
  it.createDataChannel('x')
  it.onicecandidate = e => e.candidate && found.push(e.candidate.candidate)
  it.onicegatheringstatechange = () => it.iceGatheringState === 'complete' && done(found)
  await it.setLocalDescription(await it.createOffer())
})"""
FETCH = "fetch('{}', {{mode: 'no-cors'}}).then(it => 'came', it => 'failed')"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Any server on the Internet."""
    with contextlib.suppress(OSError, EOFError):  # Chromium's own, by TLS
        await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


@both
async def test_no_request_no_name_and_no_address_goes_past_it(
    flavour: str, start: Callable[..., Awaitable[Chromium]]
) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    for kind in KINDS:
        async with FakeProxy(kind, server.sockets[0].getsockname(), login=True) as it:
            door = await Forwarder(it.proxy()).start()
            bypass = ("--proxy-bypass-list=*", "--no-proxy-server")
            chromium = await start(proxy_port=door.port, extra_args=bypass)
            page = await chromium.devtools.open_page(LONG)
            for url in ("http://name.example/", "http://localhost:4711/", "http://127.0.0.1:4711/"):
                assert await page.evaluate(FETCH.format(url), timeout=LONG) == "came"
            assert {*it.asked} >= {"name.example:80", "localhost:4711", "127.0.0.1:4711"}
            assert await page.evaluate(ADDRESSES, timeout=LONG) == []
            await chromium.close()
            await door.close()
    server.close()


async def test_without_one_webrtc_would_show_an_address(chromium: Chromium) -> None:
    page = await chromium.devtools.open_page(LONG)
    assert await page.evaluate(ADDRESSES, timeout=LONG)
