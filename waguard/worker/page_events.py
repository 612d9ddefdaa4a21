"""What the page reports by itself, handed to those whom it concerns."""

import asyncio
from typing import Any, Final

from loguru import logger

from waguard.core.link import Link
from waguard.wire.events import Acquainted, LoggedOut
from waguard.worker.page.page_reports import KINDS, asked, passkey_step, people
from waguard.worker.page.values import word
from waguard.worker.profile_care import ProfileCare
from waguard.worker.running_backfill import RunningBackfill
from waguard.worker.worker_context import WorkerContext

PEOPLE_AT_ONCE: Final = 500  # in one event


class PageEvents:
    """The events of one browser, whichever page it has."""

    def __init__(self, ctx: WorkerContext, care: ProfileCare, backfill: RunningBackfill) -> None:
        self._ctx = ctx
        self._care = care
        self._backfill = backfill
        self._logout_reason: str | None = None
        self.changed = asyncio.Event()
        """The page is to be read."""
        self.to_reload = asyncio.Event()
        """The page is to be loaded again."""
        self.storage_closed = asyncio.Event()

    def handle(self, kind: str, reported: Any) -> None:
        """Handle what the page reports as this kind. Never raises."""
        match kind:
            case "storage_closed":
                logger.debug("the page's storage was closed", database=word(reported))
                self.storage_closed.set()
            case "evaded":
                logger.debug("the page reloaded itself, past the document that it is to have")
                self.to_reload.set()
            case "unusable":  # it has reloaded itself: once more, and then the worker ends
                logger.error("the page is unusable", event="page_unusable", why=word(reported))
                self.to_reload.set()
            case "people":
                self._meet(reported)
            case "loaded":  # by itself, too
                self.page_loads()
            case "settling":
                if self._ctx.reporter.phase == "loading":
                    self._ctx.reporter.enter("settling")
                    self._ctx.reporter.report()
            case _ if kind in KINDS:
                self._ctx.inbound.handle(kind, reported)
            case _:
                self._handle_link(kind, reported)

    def _handle_link(self, kind: str, reported: Any) -> None:
        match kind:
            case "logout_reason":
                self._logout_reason = word(reported)
            case "logout":
                self._care.disown()
                self._ctx.daemon.event(LoggedOut(reason=self._logout_reason))
                self._logout_reason = None
                self.changed.set()
            case "qr_idle":
                self._ctx.watch.idle()
                self._ctx.reporter.report()
            case "passkey":
                if step := passkey_step(reported):
                    logger.debug("the page reports a step of a linking by passkey", step=step.event)
                    self._ctx.watch.passkey_step(step)
                self.changed.set()
            case _:
                self.changed.set()

    def page_loads(self) -> None:
        """Hold messages until the daemon has said from when on they are wanted."""
        ctx = self._ctx
        self._backfill.end()
        ctx.reporter.page_loads()
        ctx.inbound.hold()
        was_connected = ctx.watch.link is Link.CONNECTED
        ctx.watch.page_loads()
        if was_connected:
            ctx.reporter.report()

    def _meet(self, reported: Any) -> None:
        """Before what is reported of them: the daemon keeps the order."""
        ctx = self._ctx
        if found := asked(reported):
            ctx.daemon.event(Acquainted(asked=found))
        news = [pair for pair in people(reported) if ctx.people.learn(*pair)]
        for start in range(0, len(news), PEOPLE_AT_ONCE):
            ctx.daemon.event(Acquainted(pairs=tuple(news[start : start + PEOPLE_AT_ONCE])))
