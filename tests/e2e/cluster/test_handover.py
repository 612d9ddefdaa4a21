"""A handover in place of one of several hosts while something that both daemons need does not answer."""

import asyncio
import signal
import time
from functools import partial

import pytest

from tests.e2e.cluster.conftest import ETCD_POSTGRESQL, on
from tests.e2e.cluster.test_hosts import is_shown
from tests.e2e.cluster.trial import LEASE, Trial
from tests.store.servers import Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(600),
]


@on(ETCD_POSTGRESQL)
@pytest.mark.parametrize("known", [False, True], ids=["at once", "when it is known"])
async def test_a_handover_while_the_database_is_away_ends_nothing(
    two: Trial,
    request: pytest.FixtureRequest,
    known: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    first, second = two.hosts
    before = await two.workers(first)
    server: Server = request.getfixturevalue("postgresql")
    with server.frozen():
        if known:
            await first.until(partial(is_shown, first, "database_down"))
        began = time.monotonic()
        assert await first.stop(signal.SIGUSR2) == 0
        handed_over = time.monotonic() - began
        await first.start(ready=False)
        await first.logs("event=worker_greeted", 4)  # by the one that ended, and by the next one
        print(f"handed over {handed_over:.1f} s, greeted {time.monotonic() - began:.1f} s after")
        await asyncio.sleep(LEASE * 1.5)
        assert "event=worker_ends" not in first.log()
    await two.all_connected()
    assert await two.workers(first) == before
    assert "host_declared_dead" not in second.log()
