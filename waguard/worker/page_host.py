"""The page of the moment: opened, loaded again, replaced after a pairing."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from loguru import logger
from msgspec import Struct

from waguard.core.exits import EXIT_BROWSER_GONE, EXIT_BROWSER_NOT_STARTED
from waguard.core.session.page_load import pause
from waguard.errors import WaguardError
from waguard.worker.browser.devtools import DevTools, PageSession, flush_storage
from waguard.worker.ending import WorkerEndError, not_ready
from waguard.worker.first_of import first_of
from waguard.worker.page import wajs
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_errors import PageNotReadyError, PageUnreachableError
from waguard.worker.page.page_loader import PageLoader
from waguard.worker.page_events import PageEvents
from waguard.worker.worker_context import WorkerContext


class OpenPage(Struct, frozen=True):
    """A page (tab) of the browser, and what drives it."""

    session: PageSession
    page: WhatsAppPage
    loader: PageLoader

    async def open(self) -> None:
        """Navigate for the first time; errors as ``PageLoader.open``."""
        await self.page.listen()
        await self.loader.open()


async def first_page(ctx: WorkerContext, devtools: DevTools, events: PageEvents) -> OpenPage:
    """The browser's first page, not navigated yet."""
    try:
        session = await devtools.open_page(ctx.timings.first_page)
    except WaguardError as error:
        raise WorkerEndError(EXIT_BROWSER_NOT_STARTED, error.line()) from None
    try:
        bundle = wajs.of_spec(ctx.spec)
    except WaguardError as error:
        raise not_ready(error) from None
    loader = PageLoader(
        session,
        url=ctx.spec.url,
        bundle=bundle,
        report=events.handle,
        document=ctx.document,
        timings=ctx.timings.load,
    )
    return OpenPage(
        session,
        WhatsAppPage(session, report=events.handle, gate=ctx.gate, timings=ctx.timings),
        loader,
    )


class PageHost:
    """``replaced`` is set when ``page`` and ``session`` are others than before."""

    def __init__(
        self, ctx: WorkerContext, devtools: DevTools, events: PageEvents, first: OpenPage
    ) -> None:
        self._ctx = ctx
        self.devtools = devtools
        self._events = events
        self._open = first
        self._loading = asyncio.Lock()
        """Held by who loads or replaces the page."""
        self.replaced = asyncio.Event()

    @property
    def page(self) -> WhatsAppPage:
        """The page of the moment: it is another one after a pairing."""
        return self._open.page

    @property
    def session(self) -> PageSession:
        """With the page of the moment."""
        return self._open.session

    @property
    def is_loading(self) -> bool:
        """Whether the page is being loaded or replaced: what it showed before counts no more."""
        return self._loading.locked()

    async def open(self) -> None:
        """Have the page ready. Raises ``WorkerEndError``."""
        async with self._loading:
            await self._load_first()

    async def reload_when_asked(self) -> None:
        """Return never. Load the page again, where the daemon wants it, or where its script was ended: what
        it was about to do never ends now, and what waits for that, such as the ack of a send, would wait
        forever."""
        to_reload = self._events.to_reload
        while True:
            await to_reload.wait()
            async with self._loading:
                if not to_reload.is_set():
                    continue  # it was replaced meanwhile
                to_reload.clear()
                logger.debug("the page is reloaded")
                await self._load(self._open.loader.load)
            self._events.changed.set()

    def ask_to_reload(self) -> None:
        """Have the page reloaded a moment later; what it shows until then counts no more."""
        self._events.page_loads()
        self._events.to_reload.set()

    def ensure_loading(self) -> None:
        """Have the page reloaded, unless that is under way: what is shown is not WhatsApp's."""
        if not self.is_loading:
            self.ask_to_reload()

    async def replace(self, flushed: Callable[[], None]) -> None:
        """Have its storage on disk, for which it is closed; call ``flushed``, and open another page, ready.
        Raises ``WorkerEndError``."""
        async with self._loading:
            self.close()
            try:
                await flush_storage(self.devtools, self.session)
            except WaguardError as error:
                raise WorkerEndError(EXIT_BROWSER_GONE, error.line()) from None
            flushed()
            self._open = await first_page(self._ctx, self.devtools, self._events)
            self.replaced.set()
            self._events.to_reload.clear()  # that is what comes now
            await self._load_first()

    def close(self) -> None:
        """Do nothing more with it."""
        self._open.loader.close()

    async def _load_first(self) -> None:
        await self._load(self._open.open)
        self._ctx.reporter.enter("ready")

    async def _load(self, load: Callable[[], Awaitable[None]]) -> None:
        """Load the page; while there is no way to it, report "offline" and try again."""
        loader = self._open.loader
        self._events.page_loads()
        attempt = 0
        while True:
            try:
                await load()
            except WaguardError as error:
                load, attempt = loader.load, attempt + 1
                await self._wait_unreachable(self._unreachable(error), attempt - 1)
            else:
                return

    def _unreachable(self, error: WaguardError) -> PageUnreachableError:
        """Why there is no way to the page: what the session's own proxy does explains it best. Raises
        ``WorkerEndError`` where there is one."""
        proxy = self._ctx.forwarder
        of_page = isinstance(error, PageUnreachableError | PageNotReadyError)
        if of_page and proxy and proxy.failure:
            return PageUnreachableError(proxy.failure)
        if isinstance(error, PageUnreachableError):
            return error
        raise not_ready(error) from None

    async def _wait_unreachable(self, error: PageUnreachableError, attempt: int) -> None:
        """Until it is time to load it again, or that is asked for; ``attempt`` before this one."""
        reporter, to_reload = self._ctx.reporter, self._events.to_reload
        delay = self._delay(error, attempt)
        said, why = "WhatsApp cannot be reached", error.message
        logger.log(reporter.level("WARNING"), said, event="whatsapp_unreachable", why=why)
        reporter.enter("ready")
        self._ctx.watch.unreachable(error.message, error.refusal)
        reporter.report()
        to_reload.clear()  # whatever was asked meanwhile is answered
        wait = self._alone_for(delay) if error.refusal else asyncio.sleep(delay)
        await first_of(to_reload.wait(), wait)
        to_reload.clear()

    def _delay(self, error: PageUnreachableError, attempt: int) -> float:
        """Seconds until the page is loaded again, after so many attempts before this one."""
        if error.refusal is None:
            retries = self._ctx.timings.unreachable_retry
            return retries[min(attempt, len(retries) - 1)]
        jitter = random.random()  # noqa: S311 - no secret
        return pause(attempt, retry_after=error.refusal.retry_after, jitter=jitter)

    async def _alone_for(self, seconds: float) -> None:
        """Return when no daemon has been there for so long: it decides for all sessions when one asks
        WhatsApp again."""
        began = time.monotonic()
        while True:
            now = time.monotonic()
            since = max(began, self._ctx.daemon.alone_since or now)
            if (left := since + seconds - now) <= 0:
                return
            await asyncio.sleep(left)
