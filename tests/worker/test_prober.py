"""Whether browser and page answer, and what is done for a page that does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from tests.host.processes import worker_spec
from tests.waiting import wait_until
from waguard.wire.reports import Heartbeat
from waguard.worker import prober as under_test
from waguard.worker.browser.chromium import Chromium
from waguard.worker.browser.devtools import DevToolsTimeoutError
from waguard.worker.link.daemon_link import DaemonLink
from waguard.worker.page_host import PageHost
from waguard.worker.prober import Prober
from waguard.worker.timings import Timings
from waguard.worker.worker_context import WorkerContext

HEARTBEAT = 0.01  # s
SILENT = 1_000.0  # s; nobody waits for so long


class Bench:
    """A browser whose page answers when ``answers`` is set, and a daemon."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        timings = Timings(probe=SILENT, evidence_after=0.0)
        self.ctx = WorkerContext.of(worker_spec(folder, heartbeat=HEARTBEAT), timings=timings)
        self.beats: list[Heartbeat] = []
        monkeypatch.setattr(DaemonLink, "heartbeat", lambda _, beat: self.beats.append(beat))
        at_once = lambda it, **_: it.silent > 0 and not it.helped  # noqa: E731
        monkeypatch.setattr(under_test, "should_end_script", at_once)
        self.answers = asyncio.Event()
        self.pings = self.ended = 0
        self.stopped: str | None = None
        self.to_reload = asyncio.Event()
        self.devtools = self.session = self
        it = cast("Chromium", self), cast("PageHost", self)
        self.prober = Prober(self.ctx, *it, self.to_reload)

    async def version(self, *, timeout: float) -> None:
        """The browser answers."""

    async def ping(self, *, timeout: float) -> None:
        self.pings += 1
        await self.answers.wait()

    async def terminate_execution(self, *, timeout: float) -> None:
        self.ended += 1
        raise DevToolsTimeoutError("no answer", method="Runtime.terminateExecution")

    def stopped_member(self) -> str | None:
        return self.stopped

    async def beat(self, count: int = 3) -> list[Heartbeat]:
        """The next ones."""
        begin = len(self.beats) + 1  # the one that is under way is of before
        await wait_until(lambda: len(self.beats) >= begin + count, "it beats")
        return self.beats[begin:]


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, monkeypatch)
    running = asyncio.create_task(made.prober.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_layer_that_does_not_answer_is_asked_once(bench: Bench) -> None:
    beats = await bench.beat()
    assert bench.pings == 1
    assert {beat.page for beat in beats} == {None}
    assert None not in {beat.devtools for beat in beats}
    bench.answers.set()
    assert (await bench.beat())[-1].page is not None
    assert bench.pings > 1


async def test_a_script_is_ended_once_and_the_page_reloaded_when_it_answers(bench: Bench) -> None:
    bench.ctx.reporter.enter("ready")
    assert (await bench.beat())[-1].hopeless
    assert bench.ended == 1
    assert not bench.to_reload.is_set()
    bench.answers.set()
    await asyncio.wait_for(bench.to_reload.wait(), SILENT)
    assert not (await bench.beat())[-1].hopeless


async def test_a_page_that_is_not_ready_is_left_alone(bench: Bench) -> None:
    assert not (await bench.beat())[-1].hopeless
    assert bench.ended == 0


async def test_a_stopped_process_is_the_evidence_and_ends_no_script(bench: Bench) -> None:
    bench.stopped = "Chromium's process 7 was stopped (SIGSTOP)"
    bench.ctx.reporter.enter("ready")
    assert (await bench.beat())[-1].hopeless
    assert bench.ended == 0
