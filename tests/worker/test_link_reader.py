"""What follows for the profile from what the page shows."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from tests.host.processes import worker_spec
from tests.waiting import wait_until
from waguard.core.exits import EXIT_CREDENTIALS_LOST
from waguard.core.link import Link, PageFacts
from waguard.core.profile.before_start import CredentialsLost
from waguard.core.replace import replace
from waguard.wire.calls import RefreshQr
from waguard.worker.browser.devtools import DevToolsError, ElsewhereError, EvaluationError
from waguard.worker.call_handler import PageCalls
from waguard.worker.ending import WorkerEndError
from waguard.worker.link_reader import LinkReader
from waguard.worker.page.page_answers import Reading
from waguard.worker.page_host import PageHost
from waguard.worker.profile_care import ProfileCare
from waguard.worker.running_backfill import RunningBackfill
from waguard.worker.worker_context import WorkerContext

LINKED = Reading(
    facts=PageFacts(authenticated=True, mode="MAIN", info="NORMAL", socket="CONNECTED"),
    code=None,
    me="4915112345678@c.us",
)
CODE = Reading(
    facts=PageFacts(authenticated=False, mode="QR", socket="UNPAIRED", has_code=True),
    code="2@a,b",
    me=None,
)
FRESH = replace(CODE, code="2@c,d")

NO_ANSWER = DevToolsError("it had no answer", method="Runtime.evaluate")


class Bench:
    """The page, its host and its profile, and what is done to them, in order."""

    def __init__(self, folder: Path, presence: str = "") -> None:
        self.ctx = WorkerContext.of(replace(worker_spec(folder), presence=presence))
        self.session, self.presence_fails, self.pings = self, False, True
        self.done: list[str] = []
        self.shows: Reading | Exception = LINKED
        self.paired = self.was_connected = False
        self.changed = asyncio.Event()
        self.paired_at: float | None = None
        self.page = self
        self.refreshes = 0
        self.loads = 0
        self.is_loading = False
        self.flushes = asyncio.Event()
        self.flushes.set()
        it = cast("ProfileCare", self), cast("PageHost", self)
        self.reader = LinkReader(self.ctx, *it, self.changed)
        backfill = RunningBackfill(self.ctx)
        self.calls = PageCalls(self.ctx, cast("PageHost", self), self.reader, backfill)

    async def read(self, *, timeout: float) -> Reading:
        if isinstance(self.shows, Exception):
            raise self.shows
        return self.shows

    async def evaluate(self, expression: str, *, timeout: float) -> None:
        assert "markUnavailable" in expression
        self.done.append("unavailable")
        if self.presence_fails:
            raise NO_ANSWER

    async def ping(self, timeout: float) -> None:
        if not self.pings:
            raise NO_ANSWER

    async def replace(self, flushed: Callable[[], None]) -> None:
        self.done.append(f"flush while {self.ctx.watch.link}")
        await self.flushes.wait()
        flushed()
        self.done.append("replace")

    def ensure_loading(self) -> None:
        self.loads += 1

    async def refresh_qr(self) -> None:
        self.refreshes += 1
        if self.shows is CODE:
            self.shows = FRESH

    def claim(self, *, after_pairing: bool, at: float | None = None) -> None:
        self.paired, self.paired_at = True, at
        self.done.append("claim after a pairing" if after_pairing else "claim")

    def disown(self) -> None:
        self.paired = False
        self.done.append("disown")

    def suspect(self, finding: CredentialsLost) -> None:
        self.done.append(f"suspect: {finding.why}")

    def link_is(self, *, connected: bool) -> None:
        self.was_connected |= connected


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
async def following(bench: Bench) -> AsyncIterator[asyncio.Task[None]]:
    """The reader follows a page that shows a code."""
    bench.shows = CODE
    task = asyncio.create_task(bench.reader.follow())
    await wait_until(lambda: bench.ctx.watch.qr, "it is read")
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_new_credentials_are_on_disk_before_it_is_connected(bench: Bench) -> None:
    bench.shows = CODE
    await bench.reader.read()
    bench.shows = LINKED
    await bench.reader.read()
    assert bench.done == [f"flush while {Link.SYNCING}", "claim after a pairing", "replace"]
    assert (bench.ctx.watch.link, bench.was_connected) == (Link.SYNCING, False)
    assert bench.changed.is_set()
    await bench.reader.read()
    assert (bench.ctx.watch.link, bench.was_connected) == (Link.CONNECTED, True)
    assert len(bench.done) == 3


async def test_new_credentials_are_written_when_a_load_of_the_page_is_over(bench: Bench) -> None:
    """It may take a whole outage, and the session may be unlinked meanwhile."""
    bench.shows = CODE
    await bench.reader.read()
    bench.shows, bench.is_loading = LINKED, True
    await bench.reader.read()
    assert (bench.ctx.watch.link, bench.was_connected, bench.done) == (Link.SYNCING, False, [])
    bench.shows = CODE
    await bench.reader.read()
    assert (bench.ctx.watch.link, bench.done) == (Link.QR_PENDING, [])
    bench.shows, bench.is_loading = LINKED, False
    await bench.reader.read()
    assert bench.done == [f"flush while {Link.SYNCING}", "claim after a pairing", "replace"]


async def test_what_came_since_the_scan_is_from_after_the_pairing(bench: Bench) -> None:
    """A page is connected, and hears of messages, before it is read: the code was there until the scan."""
    bench.shows = CODE
    began = time.time()
    await bench.reader.read()
    scanned = time.time()
    bench.shows = LINKED
    await bench.reader.read()
    assert bench.paired_at is not None
    assert began <= bench.paired_at <= scanned


async def test_a_pairing_that_was_there_before_is_claimed_once(bench: Bench) -> None:
    await bench.reader.read()
    await bench.reader.read()
    assert bench.done == ["claim"]


async def test_a_code_instead_of_a_pairing_ends_the_worker(bench: Bench) -> None:
    bench.shows, bench.paired = CODE, True
    with pytest.raises(WorkerEndError, match="although it was paired") as raised:
        await bench.reader.read()
    assert raised.value.code == EXIT_CREDENTIALS_LOST
    assert bench.done == ["suspect: it shows a QR code although it was paired"]


async def test_a_code_after_it_was_connected_is_a_logout(bench: Bench) -> None:
    await bench.reader.read()
    bench.shows = CODE
    await bench.reader.read()
    assert bench.done == ["claim", "disown"]
    assert bench.ctx.watch.link is Link.QR_PENDING


async def test_a_page_that_does_not_answer_is_no_change(bench: Bench) -> None:
    await bench.reader.read()
    bench.shows = NO_ANSWER
    await bench.reader.read()
    assert bench.ctx.watch.link is Link.CONNECTED


@pytest.mark.parametrize("error", [NO_ANSWER, EvaluationError("TypeError")], ids=type)
async def test_a_page_that_answers_and_cannot_be_read_is_no_longer_connected(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """No probe finds it; the daemon replaces it where that is not over soon."""
    clock = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    async def read_after(seconds: float, shows: Reading | Exception) -> Link:
        clock[0] += seconds
        bench.shows = shows
        await bench.reader.read()
        return bench.ctx.watch.link

    unread = bench.ctx.timings.unread
    assert await read_after(0, LINKED) is Link.CONNECTED
    assert await read_after(100, error) is Link.CONNECTED
    assert await read_after(unread - 1, LINKED) is Link.CONNECTED
    assert await read_after(1, error) is Link.CONNECTED
    bench.pings = False
    assert await read_after(unread, error) is Link.CONNECTED, "its heartbeats say so"
    bench.pings = True
    assert await read_after(1, error) is Link.UNKNOWN
    assert await read_after(1, LINKED) is Link.CONNECTED
    assert await read_after(1, error) is Link.CONNECTED


async def test_chromiums_own_page_is_nobodys_and_is_replaced(bench: Bench) -> None:
    """It stands where a page could not be loaded. A foreign page ends the worker."""
    await bench.reader.read()
    bench.shows = ElsewhereError("null")
    await bench.reader.read()
    assert (bench.loads, bench.ctx.watch.link) == (1, Link.CONNECTED)
    bench.shows = ElsewhereError("https://elsewhere.example")
    with pytest.raises(WorkerEndError):
        await bench.reader.read()
    assert bench.loads == 1


async def test_the_time_in_which_there_was_no_page_is_none_in_which_it_is_not_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    await bench.reader.read()
    for shows in (NO_ANSWER, ElsewhereError("null"), NO_ANSWER):
        bench.shows = shows
        await bench.reader.read()
        clock[0] += bench.ctx.timings.unread
    assert bench.ctx.watch.link is Link.CONNECTED


async def test_presence_is_set_once_after_each_load(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "unavailable")
    bench.shows = CODE
    await bench.reader.read()
    assert bench.done == [], "nobody is linked"
    bench.shows, bench.paired, bench.presence_fails = LINKED, True, True
    bench.ctx.watch.credentials_saved()
    await bench.reader.read()
    await bench.reader.read()
    await bench.reader.read()
    bench.done.clear()
    await bench.reader.read()
    assert bench.done == ["unavailable"], "it is tried again until it is done"
    bench.presence_fails = False
    await bench.reader.read()
    await bench.reader.read()
    assert bench.done == ["unavailable"] * 2
    bench.ctx.reporter.page_loads()
    await bench.reader.read()
    assert bench.done == ["unavailable"] * 3


async def test_a_new_code_is_reported_before_it_is_answered(
    bench: Bench, following: asyncio.Task[None]
) -> None:
    await bench.calls.answer(RefreshQr())
    assert bench.ctx.watch.qr
    assert bench.ctx.watch.qr.raw == FRESH.code
    assert not following.done()


async def test_a_new_code_is_asked_for_while_the_credentials_are_secured(
    bench: Bench, following: asyncio.Task[None]
) -> None:
    """Whoever read the page meanwhile would report "connected" before they are on disk."""
    bench.shows = LINKED
    bench.flushes.clear()
    bench.changed.set()
    await wait_until(lambda: bench.done, "they are flushed")
    calling = asyncio.create_task(bench.calls.answer(RefreshQr()))
    await wait_until(lambda: bench.refreshes, "it is asked for")
    assert (bench.ctx.watch.link, bench.was_connected) == (Link.SYNCING, False)
    assert bench.done == [f"flush while {Link.SYNCING}"]
    bench.flushes.set()
    await calling
    assert bench.done == [f"flush while {Link.SYNCING}", "claim after a pairing", "replace"]
    assert not following.done()


async def test_what_ends_the_worker_ends_it_also_at_a_reading_that_a_call_asks_for(
    bench: Bench, following: asyncio.Task[None]
) -> None:
    bench.shows = ElsewhereError("https://elsewhere.example")
    calling = asyncio.create_task(bench.calls.answer(RefreshQr()))
    with pytest.raises(WorkerEndError):
        await following
    assert bench.refreshes
    assert not calling.done(), "the worker's end is the answer"
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
