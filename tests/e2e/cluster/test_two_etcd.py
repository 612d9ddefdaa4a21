"""Two etcd and one database: hosts of one do not take those of the other one for dead."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.etcd_servers import Member, etcd
from tests.e2e.cluster.test_hosts import is_over, is_shown
from tests.e2e.cluster.trial import LEASE, Trial, trial
from tests.e2e.conftest import World
from tests.store.conftest import new_database

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(600),
]
KIND = "database_unknown"


@pytest.fixture
def members() -> Iterator[Sequence[Member]]:
    with etcd() as (one,), etcd() as (other,):
        yield one, other


@pytest.fixture
async def two(
    request: pytest.FixtureRequest, world: World, members: Sequence[Member], tmp_path: Path
) -> AsyncIterator[Trial]:
    url = await new_database("postgresql", request, tmp_path)
    settings = {
        "WAGUARD_CLUSTER__ENGINE": "etcd",
        "WAGUARD_CLUSTER__ENDPOINTS": f'["{members[0].endpoint}"]',
    }
    async with trial(world, url, settings, tmp_path, hosts=2) as made:
        await made.spread(2, 0)
        yield made


async def test_a_host_with_another_etcd_owns_nothing_until_a_person_accepts_it(
    two: Trial, members: Sequence[Member]
) -> None:
    first, second = two.hosts
    before = await two.workers(first)
    assert await second.stop() == 0
    endpoints = f'["{members[1].endpoint}"]'
    second.settings = {**second.settings, "WAGUARD_CLUSTER__ENDPOINTS": endpoints}
    await second.start(ready=False)
    await second.until(partial(is_shown, second, KIND))
    await second.logs("event=host_lease_acquired", 2)
    await asyncio.sleep(1.5 * LEASE)  # within which it would declare dead, and claim
    assert await two.workers(first) == before
    assert await first.stop() == 0
    code, found = await second.call("POST", "/api/database/accept", {})
    assert code == 200, found
    await two.all_owned_by(second)
    await second.until(partial(is_over, second, KIND))
    await two.all_connected()
    # it is started again as it was: now it is the one with another etcd
    await first.start(ready=False)
    await first.until(partial(is_shown, first, KIND))
    assert await two.of(first) == []
