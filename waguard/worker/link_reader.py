"""The page is read, and what it shows of the link has consequences for the profile."""

import asyncio
import contextlib
import time

from loguru import logger

from waguard.core.exits import EXIT_CREDENTIALS_LOST, EXIT_PAGE_NOT_READY
from waguard.core.link import Link
from waguard.core.profile.before_start import CredentialsLost
from waguard.worker.browser.devtools import DevToolsError, ElsewhereError, EvaluationError
from waguard.worker.ending import WorkerEndError
from waguard.worker.messages.asking import UNAVAILABLE, set_presence
from waguard.worker.page_host import PageHost
from waguard.worker.profile_care import ProfileCare
from waguard.worker.worker_context import WorkerContext


class LinkReader:
    """``changed`` is set when there is something to read."""

    def __init__(
        self, ctx: WorkerContext, care: ProfileCare, host: PageHost, changed: asyncio.Event
    ) -> None:
        self._ctx = ctx
        self._care = care
        self._host = host
        self._changed = changed
        self._next_read = asyncio.Event()
        """Set when the next reading that begins is over."""
        self._unpaired_at: float | None = None
        """Unix time at which the page was last asked and showed that nobody had scanned yet: what comes after it
        may be from after the pairing. A page is connected, and hears of messages, before it is read."""
        self._present_since: int | None = None
        """The load of the page after which its presence was set."""
        self._unread_since: float | None = None
        """Monotonic time since which no reading succeeds; None: the last one did."""

    async def follow(self) -> None:
        """Return never. Read the page at each change and at each heartbeat: events alone are not to be
        trusted."""
        while True:
            self._changed.clear()
            over, self._next_read = self._next_read, asyncio.Event()
            await self.read()
            over.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ctx.spec.heartbeat):
                    await self._changed.wait()

    async def read_again(self) -> None:
        """Have ``follow`` read the page, and wait until it has. Two readings at a time would overtake each other, and
        what ends the worker is raised where it ends it."""
        self._changed.set()
        await self._next_read.wait()

    async def read(self) -> None:
        """Read the page once, for ``follow`` alone, and report what it shows. Raises ``WorkerEndError``."""
        asked_at, began = time.time(), time.monotonic()
        try:
            reading = await self._host.page.read(timeout=self._ctx.timings.read)
        except ElsewhereError as error:
            if error.is_nowhere:
                self._unread_since = None
                self._host.ensure_loading()
                return
            why = f"{error.line()}, which is not WhatsApp's"
            raise WorkerEndError(EXIT_PAGE_NOT_READY, why) from None
        except (DevToolsError, EvaluationError):
            await self._on_unread(began)
            return
        self._unread_since = None
        watch, care = self._ctx.watch, self._care
        watch.apply(reading)
        if watch.link in (Link.QR_PENDING, Link.PASSKEY_REQUIRED):
            self._unpaired_at = asked_at
        if watch.link is Link.CONNECTED and watch.paired_here:
            await self._secure_credentials()
        if watch.link is Link.QR_PENDING and care.paired:
            self._on_unexpected_code()
        connected = watch.link is Link.CONNECTED
        if connected and not care.paired:
            care.claim(after_pairing=False)
        care.link_is(connected=connected)
        self._ctx.reporter.report()
        if connected and self._ctx.spec.presence == UNAVAILABLE:
            await self._set_presence()

    async def _on_unread(self, began: float) -> None:
        """Unknown is not a change, and the heartbeat says that the page does not answer. Where it does answer, nothing
        else shows that it cannot be read."""
        timings = self._ctx.timings
        self._unread_since = began if self._unread_since is None else self._unread_since
        if time.monotonic() - self._unread_since < timings.unread:
            return
        with contextlib.suppress(DevToolsError, EvaluationError):
            await self._host.session.ping(timeout=timings.probe)
            self._ctx.watch.unread()
            self._ctx.reporter.report()

    async def _set_presence(self) -> None:
        """Once for each load of the page; where it fails, at the next reading."""
        loads = self._ctx.reporter.loads
        if self._present_since == loads:
            return
        with contextlib.suppress(DevToolsError, EvaluationError):
            await set_presence(self._host.session, timeout=self._ctx.timings.read)
            self._present_since = loads

    def _on_unexpected_code(self) -> None:
        """A QR code although it was paired, and no logout was reported."""
        if self._care.was_connected:
            self._care.disown()  # it was unlinked before our eyes
            return
        why = "it shows a QR code although it was paired"
        self._care.suspect(CredentialsLost(why))
        raise WorkerEndError(EXIT_CREDENTIALS_LOST, why)

    async def _secure_credentials(self) -> None:
        """Have the new credentials on disk before "connected" is reported.

        Chromium writes localStorage seconds later, or up to half a minute; a crash before that
        loses the pairing. Closing the page writes it at once, so the page is opened again. Where it is being
        loaded again, which can take a whole outage, that comes first: the page may show another link then.
        """
        if self._host.is_loading:
            self._ctx.watch.link = Link.SYNCING
            return
        self._ctx.watch.credentials_saved()
        self._ctx.reporter.report()
        await self._host.replace(self._on_flushed)
        self._changed.set()
        logger.info("credentials are on disk", event="pairing_saved")

    def _on_flushed(self) -> None:
        self._care.claim(after_pairing=True, at=self._unpaired_at)
        self._care.link_is(connected=False)  # the page begins again
