"""Real Chromiums, one start slot: never two that start at the same time; and what each takes is shown."""

import asyncio
import json

import pytest

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

NAMES = ("s1", "s2", "s3", "s4")


@pytest.mark.long
async def test_four_sessions_and_one_start_slot(world: World) -> None:
    daemon = world.daemon
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_RESTORE__CONCURRENCY": "1",
        "WAGUARD_WORKER__MEASURE_INTERVAL": "0.5",
        "WAGUARD_LOG__FORMAT": "json",
    }
    await daemon.start()
    await asyncio.gather(*(daemon.create(name) for name in NAMES))

    held, started, most, spawned = set[str](), set[str](), 0, 0
    for line in daemon.log().rpartition("\n")[0].splitlines():  # the last one may be half written
        if not line.startswith("{"):
            continue
        reported = json.loads(line)
        spawned += reported.get("event") == "worker_started"
        has_slot = reported.get("held")  # from Chromium's start until its page needs no core
        if has_slot:
            held.add(reported["session"])
            started.add(reported["session"])
            most = max(most, len(held))
        elif has_slot is False:
            held.discard(reported["session"])
    assert started == set(NAMES)
    assert most == 1
    assert spawned == len(NAMES), "whoever waits for the slot keeps its worker"

    async def measured() -> bool:
        reported = [await daemon.status(name) for name in NAMES]
        return all(s["memory_mb"] and s["cpu_percent"] is not None for s in reported)

    await daemon.until(measured)
    reported = [await daemon.status(name) for name in NAMES]
    assert all(30 < one["memory_mb"] < 1_000 for one in reported)
    assert all(one["waiting"] is None for one in reported)
