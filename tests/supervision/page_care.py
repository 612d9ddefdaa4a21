"""Pages that report, and workers that are heard while the clock moves, for tests."""

from typing import Any

from tests.supervision.bench import Bench
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.sessions import found, heard, until
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.wire.calls import Reload


async def ticks(bench: Bench, seconds: float) -> None:
    """With a worker and a page that are heard."""
    for _ in range(int(seconds)):
        bench.world.clock.advance(1.0)
        session = bench.session()
        heard(session)
        await bench.it.watchdog.watch()


async def reports(bench: Bench, link: str = "connected", **fields: Any) -> None:
    """The worker says so, and it was heard."""
    bench.process().report(link, **fields)
    wanted = {"link": link, **fields}
    await until(
        bench.session(),
        lambda s: (
            s.runner.report is not None
            and all(getattr(s.runner.report, k) == v for k, v in wanted.items())
        ),
    )


def reloads(process: FakeProcess) -> int:
    return sum(isinstance(call, Reload) for call in process.calls)


async def reloaded(process: FakeProcess, times: int) -> None:
    await wait_until(lambda: reloads(process) == times, "the page is loaded anew")


async def another(bench: Bench, than: FakeProcess) -> None:
    await until(
        bench.session(), lambda s: s.runner.process is not than and s.link is Link.CONNECTED
    )


def kinds(bench: Bench) -> list[Kind]:
    return [Kind(condition.type) for condition in found(bench.session())]
