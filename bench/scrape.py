"""What a scrape of 200 sessions costs: ``python -P -m bench.scrape``. CPU time, median (largest) of 40.

"loop" is what the event loop's own thread spends; the rest is a thread's.
"""

import asyncio
import statistics
import time
from types import SimpleNamespace
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from tests.api.fake_sessions import BLOCKED, HEALTHY, a_view
from waguard.api import metrics
from waguard.api.deps import DEPS
from waguard.api.timings import TIMINGS, Timings
from waguard.core.conditions import Receiver
from waguard.core.metrics.families import COUNTED
from waguard.core.metrics.tally import Tally
from waguard.core.replace import replace
from waguard.ports.webhooks import Queued
from waguard.wire.reports import PageVersion

SESSIONS: Final = 200
ROUNDS: Final = 40
EVENTS: Final = 100_000


def _deps() -> Any:
    """A daemon's parts whose answers are there already."""
    names = [f"webjs_1_{1732240000 + number}_abcdefgh" for number in range(SESSIONS)]
    version = PageVersion(page=1029, document=1029, wajs="a" * 64, wajs_version="4.6.0")
    views = [a_view(session_id=name, version=version) for name in names]
    health = SimpleNamespace(
        conditions=[replace(BLOCKED, session=name) for name in names[:20]],
        problems=HEALTHY.problems,
    )
    receivers = [Receiver(session=name, waiting=1, oldest=time.time()) for name in names]

    async def known(**_: object) -> Any:
        return views

    async def unended() -> Any:
        return {}

    return SimpleNamespace(
        sessions=SimpleNamespace(views=known),
        health=lambda: health,
        outgoing=SimpleNamespace(unended=unended),
        message_health=SimpleNamespace(receivers=receivers, queued=Queued(), dead=0),
        webhooks=SimpleNamespace(queues=SimpleNamespace(held=list)),
        tally=Tally(),
    )


async def scrape() -> None:
    app = web.Application()
    app[DEPS], app[TIMINGS] = _deps(), Timings()
    of_loop, of_all, size = [], [], 0
    for _ in range(ROUNDS):
        request = make_mocked_request("GET", "/metrics", app=app)
        loop, both = time.thread_time(), time.process_time()
        response = await metrics.show(request)
        of_loop.append((time.thread_time() - loop) * 1e3)
        of_all.append((time.process_time() - both) * 1e3)
        assert isinstance(response, web.Response)
        size = len(response.body or b"")  # type: ignore[arg-type]  # bytes here
    print(f"{SESSIONS} sessions, {size / 1e3:.0f} kB")
    for name, took in (("loop", of_loop), ("in all", of_all)):
        print(f"{name:<8} {statistics.median(took):5.1f} ms ({max(took[1:]):.1f})")


def count() -> None:
    """What the counting costs whoever is not scraped."""
    tally = Tally()
    for metric in COUNTED:
        labels, began = metric.series()[0], time.process_time()
        for _ in range(EVENTS):
            tally.add(metric, 0.3, *labels)
        took = (time.process_time() - began) / EVENTS * 1e9
        print(f"{metric.name:<28} {took:5.0f} ns")


if __name__ == "__main__":
    asyncio.run(scrape())
    count()
