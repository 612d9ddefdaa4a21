"""The browser's own downloads: all are denied, but for the one that was asked for."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from waguard.worker.browser.devtools import DevTools
from waguard.worker.browser.errors import DevToolsError
from waguard.worker.browser.page import deadline

_GUID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
DENIED_WITHIN: Final = 5.0  # s


class Download:
    """One download: of ``url``, of ``limit`` bytes at most. ``done`` has its file's name; where the page begins another
    one, which WhatsApp's never does, both are given up: so it cannot fill the disk."""

    def __init__(self, url: str, limit: int, cancel: Callable[[str], None]) -> None:
        self._url = url
        self._limit = limit
        self._cancel = cancel
        self.guid: str | None = None
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def begins(self, params: dict[str, Any]) -> None:
        """Handle ``Browser.downloadWillBegin``."""
        guid = params.get("guid", "")
        if self.guid is None and params.get("url") == self._url and _GUID.fullmatch(guid):
            self.guid = guid
            return
        self._cancel(guid)
        self._fail("the page began another download")

    def moves(self, params: dict[str, Any]) -> None:
        """Handle ``Browser.downloadProgress``."""
        if self.guid is None or params.get("guid") != self.guid or self.done.done():
            return
        size, state = params.get("receivedBytes", 0), params.get("state")
        if size > self._limit or params.get("totalBytes", 0) > self._limit:
            self._fail(f"the file has more than {self._limit} bytes")
        elif state == "completed":
            self.done.set_result(self.guid)
        elif state == "canceled":
            self._fail("the browser gave the download up")

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(DevToolsError(why))


async def save(
    devtools: DevTools,
    url: str,
    click: Callable[[], Awaitable[object]],
    folder: Path,
    *,
    limit: int,
    timeout: float,
) -> Path:
    """Save what is at ``url``, which the page downloads at ``click``; its path in ``folder``. One at a time.

    Raises ``DevToolsError``, also for more than ``limit`` bytes.
    """
    download = Download(
        url, limit, lambda guid: devtools.post("Browser.cancelDownload", {"guid": guid})
    )
    allow = {"behavior": "allowAndName", "downloadPath": str(folder), "eventsEnabled": True}
    devtools.on("Browser.downloadWillBegin", download.begins)
    devtools.on("Browser.downloadProgress", download.moves)
    try:
        async with deadline("a download", timeout):
            await devtools.send("Browser.setDownloadBehavior", allow, timeout=timeout)
            await click()
            saved = folder / await download.done
    finally:
        download.done.cancel()
        ended = not download.done.cancelled() and download.done.exception() is None
        with suppress(DevToolsError):
            await asyncio.shield(_deny(devtools))
        if download.guid and not ended:
            devtools.post("Browser.cancelDownload", {"guid": download.guid})
        devtools.off("Browser.downloadWillBegin", download.begins)
        devtools.off("Browser.downloadProgress", download.moves)
    if not saved.is_file() or saved.is_symlink() or saved.stat().st_size > limit:
        raise DevToolsError("the download left no file of its size")
    return saved


async def _deny(devtools: DevTools) -> None:
    await devtools.send("Browser.setDownloadBehavior", {"behavior": "deny"}, timeout=DENIED_WITHIN)
