"""What the page costs the browser: CPU time of its main thread, which a busy machine does not lengthen."""

import asyncio
from typing import Any

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import a_view
from tests.page.browser import Page
from tests.page.test_fleet import a_parked_view, know
from tests.worker.browser_fixtures import LONG
from waguard.ports.process import Usage

pytestmark = [pytest.mark.chromium, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

SESSIONS, SECONDS, SHARE, FIRST_VIEW = 200, 20, 0.05, 0.5


def a_fleet(api: Api) -> None:
    up = [a_view(session_id=f"webjs_4_17322400{it:02}_dddddddd") for it in range(SESSIONS - 12)]
    know(api, *up, *(a_parked_view(f"webjs_4_1732250000_{it:08}") for it in range(12)))


async def busy(shown: Page) -> float:
    """Seconds of CPU time that the main thread has spent so far."""
    found: dict[str, Any] = await shown.session.send("Performance.getMetrics", timeout=LONG)
    return float({it["name"]: it["value"] for it in found["metrics"]}["TaskDuration"])


async def test_two_hundred_sessions_with_an_event_a_second(
    api: Api, shown: Page, record_property: Any
) -> None:
    a_fleet(api)
    # CPU time, not time on the clock
    await shown.session.send("Performance.enable", {"timeDomain": "threadTicks"}, timeout=LONG)
    await shown.open(key=KEY)
    await shown.until(f"$$('#rows tr').length === {SESSIONS}", "all are shown")
    first = await busy(shown)
    names = list(api.sessions.known)
    for number in range(SECONDS):
        name = names[number * 7 % SESSIONS]
        api.sessions.known[name] = a_view(
            session_id=name, usage=Usage(cpu_percent=float(number), memory=200 << 20)
        )
        api.bus.publish("link", name, 1, {"from": "syncing", "to": "connected"})
        await asyncio.sleep(1)
    await shown.until(f"$$('#events li').length === {SECONDS}", "all events came")
    share = (await busy(shown) - first) / SECONDS
    record_property("first_view_cpu", first)
    record_property("share", share)
    print(f"first view {first:.3f} s of CPU time, then {share:.2%} of the main thread")
    assert share <= SHARE
    assert first <= FIRST_VIEW
