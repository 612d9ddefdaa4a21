"""One worker: one session, one profile, one Chromium, one page.

It starts Chromium, keeps WhatsApp's page ready, reports to the daemon what it sees and does what the
daemon asks. It repairs nothing by itself: when Chromium or the page is lost it says so, closes
what is left and exits with a code that says why (``core.exits.EXIT_MEANINGS``).
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from loguru import logger

from waguard.core.exits import (
    EXIT_BROWSER_UNUSABLE,
    EXIT_LEASE_EXPIRED,
    EXIT_MEANINGS,
    EXIT_ORPHANED,
    blame_disk,
)
from waguard.host.files.disk import is_full
from waguard.host.patience import patience
from waguard.profile import owner_mark
from waguard.wire.reports import Heartbeat
from waguard.wire.worker import WorkerSpec
from waguard.worker import browser_start, page_host
from waguard.worker.browser.chromium import Chromium
from waguard.worker.browser.forwarder import Forwarder
from waguard.worker.browser_end import end_with_a_stopped_browser, end_with_the_browser
from waguard.worker.call_handler import CallHandler, PageCalls
from waguard.worker.ending import WorkerEndError
from waguard.worker.first_of import first_of
from waguard.worker.link.listening import Listening
from waguard.worker.link.unstored import UnstoredEvents
from waguard.worker.link_reader import LinkReader
from waguard.worker.page_events import PageEvents
from waguard.worker.page_host import PageHost
from waguard.worker.prober import Prober
from waguard.worker.profile_care import ProfileCare
from waguard.worker.running_backfill import RunningBackfill
from waguard.worker.worker_context import WorkerContext


class SessionWorker:
    """Runs until it is asked to stop, or cannot go on."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        paired_at = owner_mark.paired_at(Path(spec.profile))
        self._unstored = UnstoredEvents(Path(spec.record), spec.generation, paired_at)
        earlier = self._unstored.read()
        self._earlier = len(earlier)
        self._ctx = WorkerContext.of(spec, earlier)
        self._calls = CallHandler(self._ctx.reporter)
        self._closing = contextlib.AsyncExitStack()
        """The ends of what was started, the last one first."""
        self.stop = asyncio.Event()

    async def run(self) -> int:
        """The exit code."""
        daemon, reporter = self._ctx.daemon, self._ctx.reporter
        self._ctx.deadline.move(self._spec.lent_until)
        listening = await Listening.begin(self._spec, daemon, self._calls.answer)
        os.write(sys.stdout.fileno(), b"listening\n")
        reporter.report()
        why: str | None = None
        try:
            code, why = await self._until_the_end(listening)
            reporter.ends(code, why)
            return code
        finally:
            self._ctx.inbound.drain()
            reporter.enter("closing")
            reporter.report()
            await self._closing.aclose()
            self._ctx.inbound.drain()  # the page has reported until its end
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ctx.timings.final_flush):
                    if why:  # a start that failed at once has to be reported to a daemon
                        await daemon.greeted.wait()
                    await daemon.flushed()
            await listening.end()
            self._hand_over()
            listening.remove()

    async def _until_the_end(self, listening: Listening) -> tuple[int, str | None]:
        """Live until the first reason to end: the exit code, and why where it was not asked to."""
        try:
            await first_of(
                self._live(),
                self._answer_stop(),
                self._ctx.daemon.stop_asked.wait(),
                self._orphaned(),
                self._lease_expires(),
                listening.stay_reachable(),
                self._report_earlier(),
            )
        except WorkerEndError as end:
            code = blame_disk(end.code) if is_full(Path(self._spec.profile).parent) else end.code
            said, meaning = "worker ends", EXIT_MEANINGS[code]
            level = self._ctx.reporter.level("ERROR")
            logger.log(level, said, event="worker_ends", why=str(end), meaning=meaning)
            return code, str(end)
        return 0, None

    async def _answer_stop(self) -> None:
        """Report at once that it closes: a daemon that hears no answer kills."""
        await self.stop.wait()
        self._ctx.reporter.enter("closing")
        self._ctx.reporter.report()

    async def _report_earlier(self) -> None:
        """Return never; what the worker before left is kept until it is stored, for this one too may
        be killed."""
        if self._earlier:
            logger.warning(
                "events of an earlier worker are reported",
                event="unstored_reported",
                count=self._earlier,
            )
        await self._ctx.daemon.stored(self._earlier)
        self._unstored.clear()
        await asyncio.Event().wait()

    def _hand_over(self) -> None:
        """Keep what no daemon stored, for this session's next worker."""
        if unstored := self._ctx.daemon.unstored:
            self._unstored.write(unstored)
        else:
            self._unstored.clear()

    async def _orphaned(self) -> None:
        """Return never; raise when no daemon was there for ``orphan_grace`` seconds."""
        # 0 would end it at its start
        grace = max(self._spec.orphan_grace, self._ctx.timings.hello)
        while True:
            alone = self._ctx.daemon.alone_since
            left = grace - (time.monotonic() - alone if alone else 0.0)
            if left <= 0:
                raise WorkerEndError(EXIT_ORPHANED, "no daemon")
            with contextlib.suppress(TimeoutError):
                async with patience(left):  # a daemon that was frozen too gets its time
                    await asyncio.Event().wait()

    async def _lease_expires(self) -> None:
        """Raise while there is time left to close in order, and to keep what no daemon stored."""
        await self._ctx.deadline.near()
        self._ctx.inbound.drain()
        self._hand_over()  # at once: the kernel does not wait for the end
        raise WorkerEndError(EXIT_LEASE_EXPIRED, "the lease was not renewed")

    async def _live(self) -> None:
        ctx = self._ctx
        lock = await browser_start.lock_profile(Path(self._spec.profile), ctx.timings)
        if self._spec.waits:
            await self._may_start()
        care = ProfileCare(self._spec, lock, ctx.daemon.event)
        port = await self._forward(ctx.forwarder) if ctx.forwarder else None
        chromium = await browser_start.start(self._spec, care, port)
        self._closing.push_async_callback(_close, chromium, care)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, chromium.check_stopped)
        chromium.check_stopped()
        ctx.reporter.browser_started(chromium.pid)
        ctx.reporter.enter("loading")
        ctx.reporter.report()
        await self._serve(chromium, care)

    async def _forward(self, forwarder: Forwarder) -> int:
        try:
            await forwarder.start()
        except OSError as error:
            why = f"Chromium cannot be led to its proxy: {error.strerror}"
            raise WorkerEndError(EXIT_BROWSER_UNUSABLE, why) from None
        self._closing.push_async_callback(forwarder.close)
        return forwarder.port

    async def _may_start(self) -> None:
        """Wait until Chromium may be started; heartbeats say meanwhile that the worker lives."""
        daemon, reporter = self._ctx.daemon, self._ctx.reporter
        while not daemon.may_start.is_set():
            daemon.heartbeat(Heartbeat(devtools=None, page=None))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._spec.heartbeat):
                    await daemon.may_start.wait()
        reporter.waits = False
        reporter.report()

    async def _serve(self, chromium: Chromium, care: ProfileCare) -> None:
        ctx = self._ctx
        backfill = RunningBackfill(ctx)
        events = PageEvents(ctx, care, backfill)
        first = await page_host.first_page(ctx, chromium.devtools, events)
        host = PageHost(ctx, chromium.devtools, events, first)
        self._closing.callback(host.close)
        self._closing.callback(backfill.end)
        reader = LinkReader(ctx, care, host, events.changed)
        self._calls.serve(PageCalls(ctx, host, reader, backfill))
        timeout = ctx.timings.browser_exit
        await first_of(
            end_with_the_browser(chromium, host, events.storage_closed, timeout=timeout),
            end_with_a_stopped_browser(chromium),
            Prober(ctx, chromium, host, events.to_reload).run(),
            self._use(host, reader),
            care.keep_copies(),
        )

    async def _use(self, host: PageHost, reader: LinkReader) -> None:
        await host.open()
        await first_of(
            reader.follow(),
            self._ctx.inbound.run(lambda: host.page),
            host.reload_when_asked(),
        )


async def _close(chromium: Chromium, care: ProfileCare) -> None:
    await chromium.close()
    await care.ended(orderly=await chromium.exited == 0)
