"""Who says when a page that WhatsApp refused is asked for again: the daemon, and the worker only alone."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from tests.host.processes import worker_spec
from tests.waiting import DEADLINE, wait_until
from waguard.core.link import Link
from waguard.core.session.page_load import MOST, Refusal
from waguard.profile.lock import ProfileLock
from waguard.wire.calls import Reload
from waguard.wire.channel import Channel
from waguard.wire.protocol import PROTOCOL, FromWorker, Hello, Reply, Request
from waguard.wire.reports import PageVersion, Report
from waguard.worker import page_host as under_test
from waguard.worker.browser.devtools import DevTools, PageSession
from waguard.worker.call_handler import CallHandler, PageCalls
from waguard.worker.link_reader import LinkReader
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_errors import PageUnreachableError
from waguard.worker.page.page_loader import PageLoader
from waguard.worker.page_events import PageEvents
from waguard.worker.page_host import OpenPage, PageHost
from waguard.worker.profile_care import ProfileCare
from waguard.worker.running_backfill import RunningBackfill
from waguard.worker.worker_context import WorkerContext

PAUSE = 0.05  # s
WHY = "WhatsApp answers with HTTP status 429"


class Page:
    """WhatsApp refuses it so often."""

    def __init__(self, refusals: int, retry_after: float | None = None) -> None:
        self.left = refusals
        self.retry_after = retry_after
        self.loads = 0

    async def listen(self) -> None:
        """Nothing is reported."""

    async def open(self) -> None:
        await self.load()

    async def load(self) -> None:
        self.loads += 1
        self.left -= 1
        if self.left >= 0:
            raise PageUnreachableError(WHY, Refusal(WHY, self.retry_after))


class Bench:
    """A worker whose page is refused, and its daemon."""

    def __init__(self, folder: Path) -> None:
        self.spec = worker_spec(folder)
        self.ctx = WorkerContext.of(self.spec)
        self.care = ProfileCare(self.spec, ProfileLock(folder / "profile"), self.ctx.daemon.event)
        self.backfill = RunningBackfill(self.ctx)
        self.events = PageEvents(self.ctx, self.care, self.backfill)
        self._calls = CallHandler(self.ctx.reporter)
        self.reports: list[Report] = []
        self.replies: list[Reply] = []
        self._channels: list[Channel[FromWorker]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, page: Page) -> asyncio.Task[None]:
        """Load it."""
        first = OpenPage(
            cast("PageSession", None), cast("WhatsAppPage", page), cast("PageLoader", page)
        )
        self.host = host = PageHost(self.ctx, cast("DevTools", None), self.events, first)
        reader = LinkReader(self.ctx, self.care, host, self.events.changed)
        self._calls.serve(PageCalls(self.ctx, host, reader, self.backfill))
        task = asyncio.create_task(host.open())
        self._tasks.append(task)
        await wait_until(lambda: page.loads == 1, "it was refused")
        return task

    async def greet(self) -> Channel[FromWorker]:
        """A daemon comes."""
        self._server = await self.ctx.daemon.listen(Path(self.spec.socket), self._calls.answer)
        reader, writer = await asyncio.open_unix_connection(self.spec.socket)
        channel: Channel[FromWorker] = Channel(reader, writer, FromWorker)
        spec = self.spec
        self._channels.append(channel)
        channel.post(
            Hello(
                protocol=PROTOCOL,
                instance=spec.instance,
                session=spec.session,
                generation=spec.generation,
            )
        )
        self._tasks.append(asyncio.create_task(self._listen(channel)))
        await self.ctx.daemon.greeted.wait()
        return channel

    async def _listen(self, channel: Channel[FromWorker]) -> None:
        while True:
            match await channel.receive():
                case Report() as report:
                    self.reports.append(report)
                case Reply() as reply:
                    self.replies.append(reply)
                case _:
                    pass

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            channel.close()
        if self._channels:
            self._server.close()
        await self.ctx.daemon.close()


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(under_test, "pause", lambda *_, **__: PAUSE)
    folder = Path(tempfile.mkdtemp(prefix="wg-"))
    made = Bench(folder)
    yield made
    await made.end()
    shutil.rmtree(folder)


async def test_a_reload_in_the_pause_asks_at_once_and_nothing_else_does(bench: Bench) -> None:
    daemon = await bench.greet()
    page = Page(refusals=2)
    reaching = await bench.begin(page)
    done, _ = await asyncio.wait([reaching], timeout=10 * PAUSE)
    assert (done, page.loads) == (set(), 1)
    daemon.post(Request(id=1, call=Reload()))
    await wait_until(lambda: page.loads == 2, "the page is asked for")
    await wait_until(lambda: bench.replies != [], "the daemon has its answer")
    done, _ = await asyncio.wait([reaching], timeout=10 * PAUSE)
    assert (done, page.loads) == (set(), 2)
    daemon.post(Request(id=2, call=Reload()))
    async with asyncio.timeout(DEADLINE):
        await reaching
    assert page.loads == 3


async def test_what_was_asked_for_while_it_was_loaded_is_answered_by_that(bench: Bench) -> None:
    await bench.greet()
    bench.events.to_reload.set()
    page = Page(refusals=1)
    reaching = await bench.begin(page)
    done, _ = await asyncio.wait([reaching], timeout=10 * PAUSE)
    assert (done, page.loads) == (set(), 1)


async def test_what_stands_there_in_the_pause_is_no_reason_to_ask(bench: Bench) -> None:
    """The page of a refusal without a body is Chromium's own, and it is read at each heartbeat."""
    await bench.greet()
    page = Page(refusals=1)
    reaching = await bench.begin(page)
    assert bench.host.is_loading
    bench.host.ensure_loading()
    done, _ = await asyncio.wait([reaching], timeout=10 * PAUSE)
    assert (done, page.loads) == (set(), 1)
    bench.host.ask_to_reload()
    async with asyncio.timeout(DEADLINE):
        await reaching
    assert not bench.host.is_loading
    bench.host.ensure_loading()
    assert bench.events.to_reload.is_set(), "nobody loads it"


async def test_each_refusal_is_reported(bench: Bench) -> None:
    daemon = await bench.greet()
    page = Page(refusals=9, retry_after=1e9)
    await bench.begin(page)
    for number in (1, 2):
        await wait_until(
            lambda wanted=number: any(it.refusals == wanted for it in bench.reports),  # type: ignore[misc]
            f"refusal {number} is reported",
        )
        last = bench.reports[-1]
        assert (last.link, last.refused, last.details) == (Link.OFFLINE, True, WHY)
        assert last.retry_after == MOST
        daemon.post(Request(id=number, call=Reload()))


async def test_a_worker_without_a_daemon_asks_by_itself(bench: Bench) -> None:
    page = Page(refusals=3)
    reaching = await bench.begin(page)
    async with asyncio.timeout(DEADLINE):
        await reaching
    assert page.loads == 4


async def test_a_worker_whose_daemon_goes_waits_its_whole_pause(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "pause", lambda *_, **__: 1.0)
    daemon = await bench.greet()
    page = Page(refusals=1)
    reaching = await bench.begin(page)
    await asyncio.wait([reaching], timeout=1.2)  # beyond the pause, with a daemon
    assert page.loads == 1
    daemon.close()
    alone = await wait_until(lambda: bench.ctx.daemon.alone_since, "it is alone")
    async with asyncio.timeout(DEADLINE):
        await reaching
    assert alone is not None
    assert time.monotonic() - alone > 0.5


async def test_which_version_the_page_is_is_reported(bench: Bench) -> None:
    await bench.greet()
    page = Page(refusals=9)
    await bench.begin(page)
    version = bench.ctx.document.version = PageVersion(page=7, document=7, served_by="store")
    bench.ctx.reporter.report()
    await wait_until(lambda: bench.reports[-1].version == version, "its version is reported")
