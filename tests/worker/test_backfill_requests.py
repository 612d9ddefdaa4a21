"""What the worker does with the daemon's wish to know what was missed."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from tests.host.processes import worker_spec
from waguard.core.messages.backfill import DROPPED
from waguard.profile.lock import ProfileLock
from waguard.wire.calls import CatchUp, Failed, Value
from waguard.wire.events import BackfillGap, Event, Undecryptable
from waguard.worker.browser.devtools import EvaluationError
from waguard.worker.link.daemon_link import LIMITS
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page_events import PageEvents
from waguard.worker.profile_care import ProfileCare
from waguard.worker.running_backfill import RunningBackfill
from waguard.worker.worker_context import WorkerContext

ASKED = CatchUp(since={}, floor=0)


class Page:
    """Lists no chats, as soon as it is let."""

    def __init__(self) -> None:
        self.listed = 0
        self.let = asyncio.Event()
        self.error: Exception | None = None

    async def chats(self) -> list[tuple[str, int]]:
        self.listed += 1
        await self.let.wait()
        if self.error:
            raise self.error
        return []


class Bench:
    def __init__(self, folder: Path) -> None:
        self.ctx = WorkerContext.of(worker_spec(folder))
        self.backfill = RunningBackfill(self.ctx)
        care = ProfileCare(self.ctx.spec, ProfileLock(folder / "profile"), self.ctx.daemon.event)
        self.events = PageEvents(self.ctx, care, self.backfill)
        self.page = Page()

    async def ask(self, asked: CatchUp = ASKED) -> "asyncio.Task[object]":
        page = cast("WhatsAppPage", self.page)
        asking: asyncio.Task[object] = asyncio.create_task(self.backfill.run(page, asked))
        for _ in range(5):
            await asyncio.sleep(0)
        return asking


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_daemon_that_asks_again_waits_for_what_is_being_done(bench: Bench) -> None:
    """Its patience may end before all is read: to begin anew each time would never end."""
    first, again = await bench.ask(), await bench.ask()
    bench.page.let.set()
    assert (await first, await again) == (Value(), Value())
    assert bench.page.listed == 1
    assert await (await bench.ask()) == Value()
    assert bench.page.listed == 2


async def test_another_daemon_asks_for_less(bench: Bench) -> None:
    first = await bench.ask()
    second = await bench.ask(CatchUp(since={}, floor=5))
    failed = await first
    assert isinstance(failed, Failed)
    assert failed.kind == "not_ready"
    bench.page.let.set()
    assert await second == Value()


async def test_what_is_dropped_is_owed_also_what_the_worker_before_dropped(tmp_path: Path) -> None:
    """The daemon that stores the gap may end before it asks for its chat."""
    gap = Event(seq=1, at=0.0, body=BackfillGap(chat="a", why=DROPPED, since=50))
    ctx = WorkerContext.of(worker_spec(tmp_path), [gap])
    for _ in range(LIMITS.events + 1):
        ctx.daemon.event(Undecryptable(id="u", chat="b", sender="b", timestamp=60))
    assert ctx.inbound.owed == {"a": 50, "b": 60}


async def test_a_page_that_is_loaded_again_ends_it(bench: Bench) -> None:
    asking = await bench.ask()
    bench.events.page_loads()
    assert isinstance(await asking, Failed)
    assert bench.ctx.reporter.loads == 1


async def test_a_failure_is_reported_and_the_next_one_begins_again(bench: Bench) -> None:
    bench.page.error = EvaluationError("Error: none")
    bench.page.let.set()
    with pytest.raises(EvaluationError):
        await (await bench.ask())
    bench.page.error = None
    assert await (await bench.ask()) == Value()


async def test_one_that_nobody_waits_for_any_more_goes_on(bench: Bench) -> None:
    asking = await bench.ask()
    asking.cancel()
    await asyncio.wait([asking])
    again = await bench.ask()
    bench.page.let.set()
    assert await again == Value()
    assert bench.page.listed == 1
