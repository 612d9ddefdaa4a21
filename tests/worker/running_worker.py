"""A whole worker with its browser on the stand-in's page, in the test's own loop and without a daemon."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.host.processes import worker_spec
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.lab.standin import Policy, StandIn
from waguard.wire.calls import Reload, Value
from waguard.wire.protocol import Request
from waguard.worker import page_host
from waguard.worker.browser.chromium import find_executable
from waguard.worker.browser.devtools import DevTools, PageSession
from waguard.worker.lifecycle import SessionWorker
from waguard.worker.page_events import PageEvents
from waguard.worker.worker_context import WorkerContext

HEARTBEAT = 0.2  # s; the page is read as often
PATIENCE = 600.0  # s; a test ends before


class RunningWorker:
    """``ended`` is done when the worker is at its end."""

    def __init__(self, standin: StandIn, folder: Path, sessions: list[PageSession]) -> None:
        self.standin = standin
        self.spec = worker_spec(
            folder,
            snapshots=str(folder / "snapshots"),
            quarantine=str(folder / "quarantine"),
            url=standin.url,
            executable=str(find_executable(None, "chromium")),
            extra_args=tuple(standin.browser_args),
            sandbox=os.geteuid() != 0,
            launch_timeout=PATIENCE,
            orphan_grace=PATIENCE,
            heartbeat=HEARTBEAT,
        )
        self._worker = SessionWorker(self.spec)
        self._sessions = sessions
        self.ctx: WorkerContext = self._worker._ctx
        self.watch = self.ctx.watch
        self.ended = asyncio.create_task(self._worker.run())

    @property
    def session(self) -> PageSession:
        """Of the page that was opened last."""
        return self._sessions[-1]

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """The test fails where the worker ends before."""
        await wait_until(lambda: condition() or self.ended.done(), what)
        assert not self.ended.done(), f"it ended before: {what}"

    async def shows(self, link: Link) -> None:
        """Wait for it."""
        await self.until(lambda: self.watch.link is link, f"it is {link}")

    async def shows_a_code(self) -> str:
        """Wait for one that can be scanned."""
        await self.until(lambda: self.watch.qr, "it shows a code")
        assert self.watch.qr
        return self.watch.qr.raw

    async def reload(self) -> None:
        """Have the page loaded again, as its daemon does."""
        reply = await self._worker._calls.answer(Request(id=1, call=Reload()))
        assert reply.outcome == Value()

    async def end(self) -> int:
        """Its exit code."""
        self.ctx.daemon.stop_asked.set()
        return await self.ended


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningWorker]:
    """Not linked; its page shows a code."""
    sessions: list[PageSession] = []
    first_page = page_host.first_page

    async def opened(
        ctx: WorkerContext, devtools: DevTools, events: PageEvents
    ) -> page_host.OpenPage:
        made = await first_page(ctx, devtools, events)
        sessions.append(made.session)
        return made

    monkeypatch.setattr(page_host, "first_page", opened)
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=Policy(sync=0.1)) as standin:
            made = RunningWorker(standin, Path(folder), sessions)
            await made.shows_a_code()
            yield made
            standin.policy.page = "ok"
            await made.end()
