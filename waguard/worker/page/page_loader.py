"""WhatsApp's page is made ready: navigation, wa-js, and what else is tried before it is given up.

Theory of operation. ``load event`` proves nothing, so wa-js is injected (``injection``) after each load event; not
ready after a while → reload → give up. WhatsApp reloads itself on a logout, hence after *each* load event.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from loguru import logger

from waguard.core.session.page_load import PORTAL, REFUSED, refusal, spent
from waguard.errors import printable
from waguard.host.patience import patience
from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    DevToolsError,
    DevToolsTimeoutError,
    EvaluationError,
    NavigationError,
    PageSession,
    TargetCrashedError,
)
from waguard.worker.page.document_server import DocumentServer
from waguard.worker.page.injection import Injection
from waguard.worker.page.load_watch import LoadWatch
from waguard.worker.page.page_document import NewDocument, PageDocument
from waguard.worker.page.page_errors import PageNotReadyError, PageUnreachableError
from waguard.worker.page.passkey import HOOK
from waguard.worker.timings import LoadTimings

_TITLE: Final = 80  # characters
# the title; null: the page has WhatsApp's loader or names it
_FOREIGN: Final = """(() => document.readyState !== 'complete' || typeof window.__d === 'function'
  || document.documentElement.outerHTML.includes('WhatsApp') ? null : document.title)()"""
EARLY: Final = (Path(__file__).parent / "early.js").read_text()


class PageLoader:
    """Makes one page ready. ``report(kind, data)`` is called with what becomes of it: loaded, settling, changed,
    evaded, unusable."""

    def __init__(
        self,
        session: PageSession,
        *,
        url: str,
        bundle: str,
        report: Callable[[str, Any], None],
        document: PageDocument,
        timings: LoadTimings,
    ) -> None:
        self._session = session
        self._url = url
        self._report = report
        self._document = document
        self._timings = timings
        self._server = DocumentServer(session, document)
        self._injection = Injection(session, bundle=bundle, report=report, timings=timings)
        self._injecting: set[asyncio.Task[None]] = set()
        """One at most is not cancelled."""
        self._background: set[asyncio.Task[None]] = set()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loading = False
        """Somebody waits for it to become ready."""
        self._refused = False
        """WhatsApp refused the last load: what it sent instead is a document, too."""

    async def open(self) -> None:
        """Navigate and wait until wa-js is ready; once on each object, ``load`` after it.

        Raises ``PageNotReadyError``, ``PageUnreachableError``.
        """
        self._session.keep_to(self._url)
        await self._server.attach()
        await self._session.on_new_document(EARLY + HOOK)
        self._session.on("Page.loadEventFired", lambda _: self._on_load())
        await self.load()

    async def load(self) -> None:
        """Navigate, and again where it did not become ready; raises as ``open``."""
        self._loading, self._refused = True, False
        watch = LoadWatch()
        try:
            async with watch.watching(self._session):
                await self._server.before_load()
                try:
                    await self._load(watch)
                except PageNotReadyError:
                    if new := await self._document.to_keep(self._session, watch.document):
                        await self._keep(new)
                    raise
                if new := await self._document.to_keep(self._session, watch.document):
                    self._in_background(self._keep(new))  # it takes longer than what is left to do
        finally:
            self._loading = False

    async def _keep(self, new: NewDocument) -> None:
        if await new.keep() and self._document.kept(new.version):
            self._report("changed", "kept")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="keep the document")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _load(self, watch: LoadWatch) -> None:
        loads = self._timings.loads
        for load in itertools.count(1):
            self._begin()
            try:
                await self._navigate(watch)
            except NavigationError as error:
                if error.reason.startswith("net::"):
                    raise PageUnreachableError(error.message) from None
                raise PageNotReadyError(error.message) from None
            except (PageNotReadyError, DevToolsTimeoutError, TimeoutError) as error:
                if self._document.serves and (gone := spent(watch.answers)):
                    await self._server.give_up(gone)
                    loads += 1  # the network's document is another page
                    continue
                if refused := refusal(watch.answers):
                    self._refused = True
                    self._document.forget()
                    await self._server.serve_again()
                    self._session.post("Page.stopLoading")  # what hangs keeps its connections
                    raise PageUnreachableError(refused.message, refused) from None
                if foreign := await self._foreign():
                    raise PageUnreachableError(foreign) from None
                why = str(error) or f"{self._url} did not finish loading"
                if load == loads:
                    known = isinstance(error, PageNotReadyError)
                    raise (error if known else PageNotReadyError(why)) from None
                logger.warning("the page is not ready; reloading it", event="page_retried", why=why)
            else:
                return

    async def _foreign(self) -> str | None:
        """In words, that nothing of the page that is there is WhatsApp's; None: something is, or that is unknown."""
        with contextlib.suppress(DevToolsError, EvaluationError):
            title = await self._session.evaluate(_FOREIGN, timeout=self._timings.script)
            if isinstance(title, str):
                return f"{PORTAL}: {printable(title)[:_TITLE] or 'it has no title'}"
        return None

    async def _navigate(self, watch: LoadWatch) -> None:
        timings, failure = self._timings, None
        try:
            await self._session.navigate(self._url, timeout=timings.navigation)
        except NavigationError as error:
            failure = error
        # first: of an answer without a body Chromium says only that it cannot show it
        if (status := watch.answers.status) and status >= REFUSED:
            raise PageNotReadyError(f"HTTP status {status}")
        if failure:
            raise failure
        async with patience(timings.navigation + timings.modules):
            await self._ready_or_unrecoverable(watch)

    async def _ready_or_unrecoverable(self, watch: LoadWatch) -> None:
        ready, unrecoverable = self._ready, asyncio.ensure_future(watch.unrecoverable.wait())
        either: set[asyncio.Future[Any]] = {ready, unrecoverable}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            unrecoverable.cancel()
        if not ready.done():
            self.close()  # what it would wait for cannot come
            raise PageNotReadyError("its scripts cannot be loaded")
        ready.result()

    def close(self) -> None:
        """Stop injecting."""
        for task in self._injecting:
            task.cancel()

    def _begin(self) -> None:
        """Nothing is known of the page that comes."""
        self._document.forget()
        if self._ready.done():  # of the page that is there now
            self._ready = asyncio.get_running_loop().create_future()

    def _on_load(self) -> None:
        self._report("loaded", None)
        self._begin()
        self.close()
        task = asyncio.create_task(self._inject(self._ready), name="inject")
        self._injecting.add(task)
        task.add_done_callback(self._injecting.discard)

    async def _inject(self, ready: asyncio.Future[None]) -> None:
        try:
            await self._injection.make_usable(self._url)
            await self._read_version()
            if self._document.evaded and not self._loading:
                self._report("evaded", None)
            ready.set_result(None)
            self._report("changed", "injected")
        except (DevToolsClosedError, TargetCrashedError):
            return  # the next document is injected, too; that there is none is seen elsewhere
        except (DevToolsError, EvaluationError, PageNotReadyError) as error:
            with contextlib.suppress(DevToolsError, EvaluationError):
                await self._read_version()
            known = isinstance(error, PageNotReadyError)
            if not ready.done():
                ready.set_exception(error if known else PageNotReadyError(str(error)))
                ready.exception()  # whoever waits has seen it; nobody may wait
            # else it is loaded again: at once, or when it is time to ask WhatsApp again
            if known and not self._loading and not self._refused:
                self._report("unusable", str(error))

    async def _read_version(self) -> None:
        injection = self._injection
        await self._document.read_version(
            self._session,
            served=self._server.served,
            wajs=injection.digest,
            missing=injection.missing,
        )
