"""The DevTools side of a running Chromium: the browser as a whole, and its first page.

The connection below is pyppeteer's, repaired (``connection``); what a worker does with a page
stands in ``page``. The error classes are re-exported: callers import them from here.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Self

from loguru import logger
from pyppeteer.browser import Browser
from pyppeteer.target import Target

from waguard.worker.browser.connection import PipeConnection, PipeSession
from waguard.worker.browser.errors import (
    DevToolsClosedError,
    DevToolsError,
    DevToolsTimeoutError,
    ElsewhereError,
    EvaluationError,
    NavigationError,
    TargetCrashedError,
)
from waguard.worker.browser.identity import UserAgent
from waguard.worker.browser.page import CONSOLE_LIMIT, PageSession, deadline
from waguard.worker.browser.pipe import MAX_MESSAGE

__all__ = [
    "DevTools",
    "DevToolsClosedError",
    "DevToolsError",
    "DevToolsTimeoutError",
    "ElsewhereError",
    "EvaluationError",
    "NavigationError",
    "PageSession",
    "PipeConnection",
    "PipeSession",
    "TargetCrashedError",
    "flush_storage",
]

FLUSHED = 10.0  # s for each of the two steps
FLUSH_PAUSE = 0.5  # s; measured: the storage service has written within 0.3


class DevTools:
    """A browser that answers. ``closed`` is set as soon as it can no longer be reached."""

    def __init__(self, connection: PipeConnection, user_agent: UserAgent) -> None:
        self._connection = connection
        self.user_agent = user_agent
        self._browser: Browser
        self._targets_changed = asyncio.Event()
        self._popups = 0
        self.closed = connection.closed

    @classmethod
    async def connect(
        cls,
        read_fd: int,
        write_fd: int,
        user_agent: UserAgent,
        *,
        timeout: float,
        message_limit: int = MAX_MESSAGE,
    ) -> Self:
        """Take over both descriptors and wait until the browser answers. ``message_limit``: as
        ``PipeConnection.open`` has it."""
        connection = await PipeConnection.open(read_fd, write_fd, limit=message_limit)
        devtools = cls(connection, user_agent)
        try:
            await devtools.version(timeout)
            async with deadline("Target.setDiscoverTargets", timeout):
                browser = await Browser.create(connection, [], False, None)  # noqa: FBT003
            devtools._browser = browser
            connection.on("Target.targetCreated", devtools._close_popup)
            await devtools.send(
                "Browser.setDownloadBehavior", {"behavior": "deny"}, timeout=timeout
            )
        except BaseException:
            await connection.dispose()
            raise
        browser.on(Browser.Events.TargetCreated, lambda _: devtools._targets_changed.set())
        browser.on(Browser.Events.Disconnected, devtools._release_targets)
        return devtools

    @property
    def browser(self) -> Browser:
        """pyppeteer's own object."""
        return self._browser

    async def version(self, timeout: float) -> dict[str, Any]:
        """``Browser.getVersion``: proves that the browser process answers."""
        return await self.send("Browser.getVersion", timeout=timeout)

    async def send(
        self, method: str, params: dict[str, Any] | None = None, *, timeout: float
    ) -> dict[str, Any]:
        """Any DevTools method of the browser."""
        async with deadline(method, timeout):
            return await self._connection.send(method, params)

    def post(self, method: str, params: dict[str, Any]) -> None:
        """Call a method whose answer matters to nobody."""
        sent = self._connection.send(method, params)
        sent.add_done_callback(lambda it: it.cancelled() or it.exception())

    def on(self, event: str, callback: Callable[[dict[str, Any]], object]) -> None:
        """Call back for each event of the browser of that name."""
        self._connection.on(event, callback)

    def off(self, event: str, callback: Callable[[dict[str, Any]], object]) -> None:
        """Undo ``on``."""
        self._connection.remove_listener(event, callback)

    async def open_page(self, timeout: float, *, console_limit: int = CONSOLE_LIMIT) -> PageSession:
        """The browser's first page, with our identity; one is made if there is none. ``console_limit``: as
        ``PageSession`` has it."""
        async with deadline("opening the page", timeout):
            target = self._page_target() or await self._new_target(timeout)
            session = await target.createCDPSession()
            page = PageSession(session, _id(target), console_limit=console_limit)
            await page.prepare(self.user_agent, timeout=timeout)
            return page

    async def close_page(self, page: PageSession, *, timeout: float = 10.0) -> None:
        """Close a page without asking it, and wait until it is gone. The browser stays."""
        async with deadline("closing the page", timeout):
            await self.send("Target.closeTarget", {"targetId": page.target_id}, timeout=timeout)
            await page.ended.wait()

    async def open_blank(self, *, timeout: float = 10.0) -> None:
        """One more page; ``open_page`` gives it when it is the only blank one."""
        async with deadline("opening a page", timeout):
            await self._new_target(timeout)

    async def close_browser(self, *, timeout: float = 5.0) -> None:
        """Ask the browser to end, storage written. Its exit is seen by the one who started it."""
        try:
            await self.send("Browser.close", timeout=timeout)
        except DevToolsClosedError:
            return  # it may end before it answers

    async def disconnect(self) -> None:
        """Close the pipe; a browser that still runs ends by that."""
        await self._connection.dispose()

    def _close_popup(self, reported: dict[str, Any]) -> None:
        """Whatever a page opens: nobody sees it, and it would share the session's profile."""
        target = reported["targetInfo"]
        if target.get("type") != "page" or not target.get("openerId"):
            return
        if not self._popups:  # a page may try it again and again
            logger.warning("the page opens windows; they are closed", event="page_windows")
        self._popups += 1
        self._connection.send("Target.closeTarget", {"targetId": target["targetId"]})
        # as soon as pyppeteer, which heard of it before, waits for its first address: it may never have one
        asyncio.get_running_loop().call_soon(self._release, target["targetId"])

    def _page_target(self) -> Target | None:
        pages = [target for target in self._browser.targets() if target.type == "page"]
        blank = [target for target in pages if target.url == "about:blank"]
        return next(iter([*blank, *pages]), None)

    async def _new_target(self, timeout: float) -> Target:
        made = await self.send("Target.createTarget", {"url": "about:blank"}, timeout=timeout)
        while True:
            self._targets_changed.clear()
            for target in self._browser.targets():
                if _id(target) == made["targetId"]:
                    return target
            await self._targets_changed.wait()

    def _release_targets(self) -> None:
        """End pyppeteer's tasks that wait for a page to show its first address."""
        for target_id in list(self._browser._targets):  # noqa: SLF001
            self._release(target_id)

    def _release(self, target_id: str) -> None:
        target = self._browser._targets.get(target_id)  # noqa: SLF001
        if target and not target._isInitialized:  # noqa: SLF001
            target._initializedCallback(False)  # noqa: FBT003, SLF001


def _id(target: Target) -> str:
    return str(target._targetId)  # noqa: SLF001  # pyppeteer has no public name for it


async def flush_storage(devtools: DevTools, page: PageSession) -> None:
    """Have the page's localStorage on disk: open a blank page, close this one.

    ``page`` is gone then; ``devtools.open_page()`` gives the blank one. Chromium by itself writes
    seconds after a change at first, later once a minute: until then SIGKILL loses it.
    """
    await devtools.open_blank(timeout=FLUSHED)
    await devtools.close_page(page, timeout=FLUSHED)
    await asyncio.sleep(FLUSH_PAUSE)  # there is no event for it
