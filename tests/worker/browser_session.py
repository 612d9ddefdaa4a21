"""One browser on the stand-in's page, linked or not: what a worker has, without the worker."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import wait_until
from waguard.core.link import Link, link_of
from waguard.lab.standin import StandIn
from waguard.worker.browser.chromium import Chromium, ChromiumSpec, Flavour, find_executable, launch
from waguard.worker.browser.devtools import DevToolsError, EvaluationError, PageSession
from waguard.worker.page import wajs
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_answers import Reading
from waguard.worker.page.page_document import PageDocument
from waguard.worker.page.page_loader import PageLoader
from waguard.worker.timings import TIMINGS, LoadTimings

LONG = 60.0  # s; for what works, on a machine that is busy with other things


@dataclass
class BrowserSession:
    """``open`` launches and loads; ``reports`` is what the page's hook reported."""

    standin: StandIn
    profile: Path
    tmpdir: Path
    flavour: Flavour = "chromium"
    reports: list[tuple[str, Any]] = field(default_factory=list)
    document: PageDocument = field(init=False)
    """What is served and kept; nothing, where a test wants nothing else."""
    bundle: str = field(default_factory=lambda: wajs.bundle(None))
    timings: LoadTimings = TIMINGS.load
    chromium: Chromium = field(init=False)
    session: PageSession = field(init=False)
    page: WhatsAppPage = field(init=False)
    loader: PageLoader = field(init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.document = PageDocument(self.standin.url)

    async def open(self) -> None:
        """Launch the browser and make WhatsApp's page ready."""
        self.chromium = await launch(
            ChromiumSpec(
                executable=find_executable(None, self.flavour),
                flavour=self.flavour,
                profile=self.profile,
                tmpdir=self.tmpdir,
                extra_args=tuple(self.standin.browser_args),
                sandbox=os.geteuid() != 0,
            ),
            timeout=LONG,
        )
        await self.load()

    async def load(self) -> None:
        """A page of this browser, ready."""
        self.session = await self.chromium.devtools.open_page(LONG)
        self.page = WhatsAppPage(self.session, report=self._report)
        self.loader = PageLoader(
            self.session,
            url=self.standin.url,
            bundle=self.bundle,
            report=self._report,
            document=self.document,
            timings=self.timings,
        )
        await self.page.listen()
        await self.loader.open()

    async def load_again(
        self, document: PageDocument | None = None, timings: LoadTimings | None = None
    ) -> None:
        """In another page, as a worker does it that is started with another document."""
        self.loader.close()
        await self.chromium.devtools.open_blank(timeout=LONG)
        await self.chromium.devtools.close_page(self.session)
        pages, page = self.chromium.devtools.browser._targets, self.session.target_id
        # one that was never navigated is as blank as the one that comes
        await wait_until(lambda: page not in pages, "pyppeteer knows that it is closed")
        self.document = document or self.document
        self.timings = timings or self.timings
        await self.load()

    def _report(self, kind: str, data: Any) -> None:
        self.reports.append((kind, data))
        self._changed.set()

    async def reading(self) -> tuple[Link, Reading]:
        """The first reading in which the link is settled: connected, or a code on the screen."""
        async with asyncio.timeout(LONG):
            while True:
                self._changed.clear()
                try:
                    reading = await self.page.read(timeout=LONG)
                except (DevToolsError, EvaluationError):
                    pass  # it is just loading itself again
                else:
                    link = link_of(reading.facts)
                    if link is Link.CONNECTED or (link is Link.QR_PENDING and reading.code):
                        return link, reading
                try:
                    async with asyncio.timeout(0.2):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    async def link(self) -> Link:
        """How it stands, once it is settled."""
        return (await self.reading())[0]

    async def pair(self, phone: str) -> None:
        """Scan the code that is on the screen."""
        link, reading = await self.reading()
        assert link is Link.QR_PENDING
        assert reading.code
        self.standin.phone.scan(reading.code, phone=phone)
        async with asyncio.timeout(LONG):
            while await self.link() is not Link.CONNECTED:
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        """End the browser in order, however long a busy machine takes for that."""
        self.loader.close()
        await self.chromium.close(grace=LONG)
