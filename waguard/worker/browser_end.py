"""When a worker's browser, or the page in it, is lost, the worker ends."""

import asyncio
import contextlib
import signal

from waguard.core.exits import EXIT_BROWSER_GONE, EXIT_BROWSER_KILLED, EXIT_STORAGE_CLOSED
from waguard.worker.browser.chromium import Chromium
from waguard.worker.ending import WorkerEndError
from waguard.worker.first_of import first_of
from waguard.worker.page_host import PageHost


async def end_with_the_browser(
    chromium: Chromium, host: PageHost, storage_closed: asyncio.Event, *, timeout: float
) -> None:
    """Return never; raise ``WorkerEndError`` when the browser or the page of the moment is lost.
    ``timeout``: s in which a Chromium that closed its pipe can be seen to have exited."""
    while True:
        host.replaced.clear()
        closed = chromium.devtools.closed
        await first_of(
            closed.wait(),
            host.session.crashed.wait(),
            host.replaced.wait(),
            storage_closed.wait(),
        )
        if closed.is_set():
            raise await _loss_of(chromium, timeout)
        if host.session.crashed.is_set():
            raise WorkerEndError(EXIT_BROWSER_KILLED, "the page crashed")
        if storage_closed.is_set():
            why = "Chromium closed the page's storage: its disk is full, or it is damaged"
            raise WorkerEndError(EXIT_STORAGE_CLOSED, why)


async def end_with_a_stopped_browser(chromium: Chromium) -> None:
    """Return never."""
    await chromium.until_stopped()
    raise WorkerEndError(EXIT_BROWSER_GONE, "Chromium was stopped (SIGSTOP)")


async def _loss_of(chromium: Chromium, timeout: float) -> WorkerEndError:
    """A killed Chromium may have been killed by the kernel for its memory: the daemon wants to know."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await asyncio.wait([chromium.exited])
    if chromium.exited.done() and chromium.exited.result() == -signal.SIGKILL:
        return WorkerEndError(EXIT_BROWSER_KILLED, "Chromium was killed (SIGKILL)")
    return WorkerEndError(EXIT_BROWSER_GONE, "Chromium is gone")
