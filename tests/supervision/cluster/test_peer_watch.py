"""The watch of all hosts goes on, whatever becomes of what it reports."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.supervision.cluster.engine import Engine, EngineLine
from waguard.core.cluster.records import Found
from waguard.supervision.cluster.engine_calls import EngineCalls
from waguard.supervision.cluster.peer_watch import PeerWatch

pytestmark = pytest.mark.virtual_time


async def test_a_bug_in_who_hears_it_does_not_end_it() -> None:
    heard = []

    def seen(found: Sequence[Found]) -> None:
        heard.append(found)
        if len(heard) < 6:
            raise RuntimeError

    calls = EngineCalls()
    watch = PeerWatch(EngineLine(Engine()), calls, seen, renewed_every=2.0, chance=lambda: 0.5)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(60):
        while len(heard) < 6:
            await asyncio.sleep(0.1)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await calls.end()
